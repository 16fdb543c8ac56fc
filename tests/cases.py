"""The cases of the verification tables, in one place, and how many random ones a test looks at."""

import os

import numpy as np
import pytest

import fpsolve as fp

#: ``FPSOLVE_NIGHTLY=1 python -m pytest``: whole samples of random cases, and examples that hypothesis never drew.
NIGHTLY = bool(os.environ.get("FPSOLVE_NIGHTLY"))


#: What a part of is run every time.
nightly = pytest.mark.skipif(not NIGHTLY, reason="in the nightly command: FPSOLVE_NIGHTLY=1")


def sample(whole, part):
    """How many random cases a test looks at: a part of them, but in the nightly command."""
    return whole if NIGHTLY else part


def ou_mixture():
    """Two-component mixture under OU, T = 3: the reference case of the documentation."""
    target = fp.GaussianMixture(weights=[0.5, 0.5], means=[-2.0, 2.0], stds=[0.3, 0.5])
    return fp.Reverse(target, fp.OrnsteinUhlenbeck(T=3.0))


def two_mode_vp():
    """0.3 N(-1.5, 0.3^2) + 0.7 N(0.8, 0.4^2) under the linear VP process."""
    target = fp.GaussianMixture(weights=[0.3, 0.7], means=[-1.5, 0.8], stds=[0.3, 0.4])
    return fp.Reverse(target, fp.VP())


def rotated_five():
    """Five Gaussians on a circle, each rotated differently: not separable in any coordinates."""
    angles = 2 * np.pi * np.arange(5) / 5
    means = 2.0 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    covs = []
    for angle in angles + 0.4:
        c, s = np.cos(angle), np.sin(angle)
        turn = np.array([[c, -s], [s, c]])
        covs.append(turn @ np.diag([0.5**2, 0.3**2]) @ turn.T)
    target = fp.GaussianMixture(weights=[0.1, 0.15, 0.2, 0.25, 0.3], means=means, covs=np.array(covs))
    return fp.Reverse(target, fp.OrnsteinUhlenbeck(T=3.0))


def starts_1d(reverse):
    return {
        "exact": reverse.marginal(reverse.process.T),
        "shifted": fp.Gaussian(1.5, std=0.5),
        "prior": fp.Gaussian(0.0, std=1.0),
    }


def tv(p, q, grid):
    """Half the L1 distance of cell averages."""
    axes = tuple(range(-grid.dim, 0))
    return 0.5 * np.abs(p - q).sum(axis=axes) * grid.volume


def position_grid(run, at):
    """The grid in x of a 1D run at a saved time, in the fixed and in the scaled frame."""
    x = run.x.values if run.x.ndim == 1 else run.x.values[at]
    h = (x[-1] - x[0]) / (len(x) - 1)
    return fp.Grid.uniform((x[0] - h / 2, x[-1] + h / 2), cells=len(x))
