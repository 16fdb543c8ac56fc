"""Probabilities of intervals from a cumulative distribution function, without cancellation in either tail."""

from collections.abc import Callable

import numpy as np

from fpsolve._checks import FloatArray


def symmetric_interval_probabilities(cdf: Callable[[FloatArray], FloatArray], z: FloatArray) -> FloatArray:
    """Return ``P(z_i < Z <= z_{i+1})`` for a law symmetric about 0.

    ``F(z_{i+1}) - F(z_i)`` loses all digits in the upper tail, where both are nearly 1; there the reflected
    ``F(-z_i) - F(-z_{i+1})`` is used.

    Parameters
    ----------
    cdf : callable
        F, accurate in the lower tail.
    z : ndarray of shape (..., n + 1)
        Standardised faces, increasing along the last axis.

    Returns
    -------
    ndarray of shape (..., n)
        Probability masses.
    """
    lower, upper = cdf(z), cdf(-z)
    above = z[..., :-1] > 0.0
    return np.where(above, upper[..., :-1] - upper[..., 1:], lower[..., 1:] - lower[..., :-1])
