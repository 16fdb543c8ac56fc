"""The cases that the reference values belong to."""

import numpy as np

import fpsolve as fp

__all__ = ["ou_mixture", "rotated_five"]


def ou_mixture() -> fp.Reverse:
    """0.5 N(-2, 0.3^2) + 0.5 N(2, 0.5^2) under the Ornstein-Uhlenbeck process, T = 3."""
    target = fp.GaussianMixture(weights=[0.5, 0.5], means=[-2.0, 2.0], stds=[0.3, 0.5])
    return fp.Reverse(target, fp.OrnsteinUhlenbeck(T=3.0))


def rotated_five() -> fp.Reverse:
    """Five Gaussians on a circle, each turned differently, so not separable in any coordinates; OU, T = 3."""
    angles = 2 * np.pi * np.arange(5) / 5
    means = 2.0 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    c, s = np.cos(angles + 0.4), np.sin(angles + 0.4)
    turns = np.moveaxis(np.array([[c, -s], [s, c]]), -1, 0)
    covs = turns @ np.diag([0.5**2, 0.3**2]) @ turns.transpose(0, 2, 1)
    target = fp.GaussianMixture(weights=[0.1, 0.15, 0.2, 0.25, 0.3], means=means, covs=covs)
    return fp.Reverse(target, fp.OrnsteinUhlenbeck(T=3.0))
