"""The Poincare constant of a law on the line, from the gap of a reversible chain on a fine grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fpsolve._checks import digits, error, instances, interval, same_dim
from fpsolve.bounds._closed import is_mixture
from fpsolve.laws import Law

Array = NDArray[np.float64]

_CELLS, _MOST_CELLS, _ITERATIONS = 4000, 40_000, 500
#: Cells per standard deviation of the narrowest component, where that takes more.
_PER_WIDTH = 20
#: Smallest density, relative to the largest, that still counts; a deeper valley makes the constant infinite.
_DEEPEST = 1e-250
#: Half-widths of a box that make sense, and the cells in it that must hold the law.
_REACHES, _LEAST_INSIDE = (1e-3, 1e6), 3


def spectral_gap_constant(law: Law, reach: float = 12.0) -> float:
    r"""Return the Poincare constant of a law in 1D on a box: one over the spectral gap of its Langevin dynamics.

    Inverse power iteration on ``-(p f')'/p``: each round solves ``p f' = int_x^inf g p`` (g of mean zero) by sums that
    do not cancel, so a gap of 1e-12 has as many correct digits as one of 1. An estimate, second order in the cell
    width; for tails heavier than exponential the true constant is infinite, and this one grows with `reach`.

    Parameters
    ----------
    law : Law
        In 1D, with a variance.
    reach : float
        Half-width of the box in standard deviations, from 1e-3 to 1e6: around every component of a Gaussian mixture,
        those of small weight included, around the mean of any other law.

    Returns
    -------
    float
        C in ``Var f <= C E |f'|^2``; inf where the density between two modes underflows.

    Raises
    ------
    ValueError
        A law in 2D, a reach so large that hardly a cell holds the law.

    Examples
    --------
    >>> import fpsolve as fp
    >>> round(spectral_gap_constant(fp.Gaussian(1.0, std=0.5)), 5)
    0.25
    """
    instances(law=(law, Law))
    same_dim("law", law.dim, "the line", 1)
    # beyond the tails of a law there is nothing to see, and within a small part of it there is no law
    low, high = _box(law, interval("reach", reach, *_REACHES, remedy="about 12 holds a law with its tails"))
    needed = int(_PER_WIDTH * (high - low) / law.smallest_std) if law.smallest_std > 0.0 else 0
    points = np.linspace(low, high, 2 * min(max(_CELLS, needed), _MOST_CELLS) + 1)
    logs = law.log_density(points)
    with np.errstate(under="ignore"):
        values = np.exp(logs - np.max(logs))
    p, between = values[1::2], values[2:-1:2]
    inside = np.flatnonzero(p > _DEEPEST)
    if inside.size < _LEAST_INSIDE:
        got = f"{inside.size} of {p.size} cells of a box of {digits(high - low)}"
        raise error("reach", f"a box in which at least {_LEAST_INSIDE} cells hold the law", got, "take a smaller one")
    p, between = p[inside[0] : inside[-1] + 1], between[inside[0] : inside[-1]]
    if np.any(between <= _DEEPEST):
        return float("inf")
    width = points[2] - points[0]
    return _inverse_power(p / p.sum(), between / (p.sum() * width**2))


def _box(law: Law, reach: float) -> tuple[float, float]:
    mixture = law.components if is_mixture(law) else None
    if mixture is None:
        mean, half = float(np.asarray(law.mean)), reach * float(np.sqrt(np.asarray(law.cov)))
        return mean - half, mean + half
    means, half_widths = mixture.component_means[:, 0], reach * np.sqrt(mixture.component_covs[:, 0, 0])
    return float(np.min(means - half_widths)), float(np.max(means + half_widths))


def _inverse_power(p: Array, conductance: Array) -> float:
    """Largest eigenvalue of the inverse of the chain with stationary law p and the given conductances."""
    f, constant = np.arange(p.size, dtype=float), 0.0
    for _ in range(_ITERATIONS):
        # behind a deep valley f is as large as the constant: divided before it is squared
        f = (f - p @ f) / np.max(np.abs(f))
        f /= np.sqrt(p @ np.square(f))
        mass = p * f
        left, right = np.cumsum(mass)[:-1], np.cumsum(mass[::-1])[::-1][1:]
        # the two sums are opposite; the one with fewer terms to cancel is the smaller part of the mass
        flux = np.where(np.cumsum(p)[:-1] < 0.5, -left, right)
        f = np.append(0.0, np.cumsum(flux / conductance))
        size = float(np.max(np.abs(f)))
        before, constant = constant, size * float(np.sqrt(p @ np.square((f - p @ f) / size)))
        if abs(constant - before) < 1e-13 * constant:
            break
    return constant
