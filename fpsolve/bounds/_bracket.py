"""The Poincare constant of a law on the line, enclosed up to a factor of nine: Muckenhoupt's criterion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fpsolve import _checks
from fpsolve.bounds._line import Line
from fpsolve.laws import Law

Array = NDArray[np.float64]

#: Nats between neighbouring points at most, points between two nodes at most, and the depth below the peak.
_NATS, _BETWEEN, _DEPTH = 0.1, 1000, 690.0


@dataclass(frozen=True)
class Bracket:
    """``lower <= C <= upper`` for the Poincare constant C; both infinite where tails are heavier than exponential."""

    lower: float
    upper: float


def poincare_bracket(law: Law) -> Bracket:
    r"""Return a lower and an upper bound of the Poincare constant of a law on the line.

    With m the median and

    .. math:: B = \sup_{x > m} \int_x^\infty p \int_m^x \frac1p \quad \text{(or the same to the left, if larger)},
              \qquad \tfrac12 B \le C \le 4 B .

    The integrals are taken by quadrature over the whole line, wherever the law has components; the supremum from below
    and from above, so that the spacing of the points is covered.

    Parameters
    ----------
    law : Law
        In 1D.

    Raises
    ------
    ValueError
        A law in 2D.

    References
    ----------
    Muckenhoupt 1972, doi:10.4064/sm-44-1-31-38; Ane et al. 2000, Sur les inegalites de Sobolev logarithmiques, 6.2.

    Examples
    --------
    >>> import fpsolve as fp
    >>> found = poincare_bracket(fp.Gaussian(0.3, std=0.5))  # C = 0.25
    >>> bool(found.lower < 0.25 < found.upper), round(found.upper / found.lower, 1)
    (True, 8.5)
    """
    _checks.same_dim("law", law.dim, "the line", 1)
    if law.tail is not None and law.tail.power < 1.0:
        return Bracket(np.inf, np.inf)
    x, log_p = _points(law)
    if not np.all(np.isfinite(log_p)):
        return Bracket(np.inf, np.inf)
    mass, inverse = _pieces(x, log_p), _pieces(x, -log_p)
    below = np.logaddexp.accumulate(mass)
    middle = int(np.searchsorted(below, below[-1] - np.log(2.0)))
    sides = [_supremum(mass[middle:], inverse[middle:]), _supremum(mass[:middle][::-1], inverse[:middle][::-1])]
    low, high = (max(side[k] for side in sides) for k in (0, 1))
    with np.errstate(over="ignore"):
        return Bracket(float(0.5 * np.exp(low)), float(4.0 * np.exp(high)))


def _points(law: Law) -> tuple[Array, Array]:
    """Points between which log p changes little, from one end of the mass to the other, and log p there."""
    x = Line.of(law).x
    log_p = law.log_density(x)
    kept = np.flatnonzero(log_p > np.max(log_p) - _DEPTH)
    # a valley that underflows stays: its depth is what makes the constant large
    x, log_p = x[kept[0] : kept[-1] + 1], log_p[kept[0] : kept[-1] + 1]
    if not np.all(np.isfinite(log_p)):
        return x, log_p
    counts = np.clip(np.ceil(np.abs(np.diff(log_p)) / _NATS), 1, _BETWEEN).astype(int)
    fine = [np.linspace(a, b, n, endpoint=False) for a, b, n in zip(x[:-1], x[1:], counts, strict=True)]
    # between neighbouring doubles there is nothing: the same point comes twice
    points = np.unique(np.append(np.concatenate(fine), x[-1]))
    return points, law.log_density(points)


def _pieces(x: Array, logs: Array) -> Array:
    """log of the integrals of ``e^f`` between neighbouring points, exact where f is linear there."""
    rise = np.abs(np.diff(logs))
    mean = np.where(rise > 1e-6, np.log(-np.expm1(-np.maximum(rise, 1e-6)) / np.maximum(rise, 1e-6)), -0.5 * rise)
    return np.asarray(np.log(np.diff(x)) + np.maximum(logs[1:], logs[:-1]) + mean)


def _supremum(mass: Array, inverse: Array) -> tuple[float, float]:
    """log of ``sup int_x^inf p int_m^x 1/p`` from below and from above, from pieces ordered outwards."""
    if mass.size == 0:
        return -np.inf, -np.inf
    outer = np.logaddexp.accumulate(mass[::-1])[::-1]
    inner = np.logaddexp.accumulate(inverse)
    return float(np.max(outer[1:] + inner[:-1], initial=-np.inf)), float(np.max(outer + inner))
