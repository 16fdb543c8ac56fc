"""The linear schedule beta(t), its curved generalisation, and their means over short and long intervals."""

import numpy as np

from fpsolve import _checks
from fpsolve._checks import FloatArray

# terms of psi: 1/19! is below rounding for |z| < 1
_SERIES = 18


def check_schedule(beta_min: float, beta_max: float, T: float) -> None:
    """Refuse rates and final times that make no schedule."""
    _checks.non_negative("beta_min", beta_min)
    _checks.positive("beta_max", beta_max)
    _checks.positive("T", T)


def ramp(t: FloatArray, curvature: float, T: float) -> FloatArray:
    """Return (e^{ct} - 1)/(e^{cT} - 1), which is t/T at c = 0."""
    if _is_linear(curvature, T):
        return t / T
    risen: FloatArray = np.expm1(curvature * t) / np.expm1(curvature * T)
    return risen


def mean_ramp(s: FloatArray, t: FloatArray, curvature: float, T: float) -> FloatArray:
    """Return the mean of the ramp over [s, t].

    The mean of e^{cu} - 1 is written as ``expm1(cs) + e^{cs} psi(c(t - s))``, ``psi(z) = (e^z - 1 - z)/z``:
    both terms have the sign of c, so nothing cancels.
    """
    if _is_linear(curvature, T):
        return 0.5 * (s + t) / T
    risen = np.expm1(curvature * s) + np.exp(curvature * s) * _psi(curvature * (t - s))
    mean: FloatArray = risen / np.expm1(curvature * T)
    return mean


def _is_linear(curvature: float, T: float) -> bool:
    # below this the ramp equals t/T to rounding, and expm1(c t) may underflow
    return abs(curvature) * T < 1e-17


def _psi(z: FloatArray) -> FloatArray:
    """Return (e^z - 1 - z)/z, by its series ``sum_{k >= 1} z^k/(k + 1)!`` near 0."""
    small = np.abs(z) < 1.0
    near = np.where(small, z, 0.0)
    series = np.zeros_like(near)
    for k in range(_SERIES, 0, -1):
        # Horner in the ratios z/(k + 1) of successive terms
        series = (1.0 + series) * near / (k + 1)
    far = np.where(small, 1.0, z)
    return np.where(small, series, np.expm1(far) / far - 1.0)
