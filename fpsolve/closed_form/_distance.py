"""Weighted total variation between two starts, at any time, by quadrature."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fpsolve._checks import FloatArray, positive
from fpsolve.closed_form._absolute import absolute_integrals
from fpsolve.closed_form._fields import all_landmarks
from fpsolve.closed_form._mixture import chunks
from fpsolve.closed_form._pairs import Pair, pair
from fpsolve.closed_form._panels import ORDER, Panels, resolve
from fpsolve.closed_form._plane import tensor_panels
from fpsolve.closed_form._solve import ReverseLike, check, require_law
from fpsolve.closed_form._weights import weight_values
from fpsolve.laws import Law, PointMass

_LEFT_OUT = 50.0  # nats below int V (q_a + q_b): 2e-22
_INNER = 1e-12


@dataclass(frozen=True)
class Distance:
    """A number and a bound on its error, both in the unit of V.

    Parameters
    ----------
    value : float
        ``int V |q_a - q_b| dx``.
    error : float
        Difference of the last two quadrature levels, plus the rounding of the signed difference and the accuracy of
        the densities themselves, 1e-12 of the value.
    """

    value: float
    error: float


def weighted_tv(
    reverse: ReverseLike, start_a: Law, start_b: Law, t: float, weight: Any = None, *, rtol: float | None = None
) -> Distance:
    """Return ``int V(x) |q_a(x) - q_b(x)| dx`` at time t between the reverse dynamics from two starts.

    Plain total variation is half of it with V = 1. For eta = 1 the signed difference comes from
    ``nu_a - nu_b`` under one integral, so that distances far below the densities keep their digits.

    Parameters
    ----------
    reverse : Reverse
        Dynamics with the exact score.
    start_a, start_b : Law
        Starts at T.
    t : float
        Forward time in (0, T].
    weight : callable, optional
        V(x) >= 1 of points ``(...)`` in 1D, ``(..., 2)`` in 2D; default ``1 + |x|^2``. Kinks of V other than at
        0 cost accuracy, which the error tells.
    rtol : float, keyword only
        Levels are added until they agree to this, three times at most. Default 1e-9 in 1D, 1e-6 in 2D.

    Returns
    -------
    Distance
        Value and error.

    Raises
    ------
    ValueError
        Where no closed form is available, see `density`; for a V that is not >= 1 and finite.

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.Gaussian(0.0, std=0.5), fp.OrnsteinUhlenbeck(T=1.0))
    >>> starts = fp.Gaussian(1.0, std=1.0), fp.Gaussian(-1.0, std=1.0)
    >>> round(weighted_tv(reverse, *starts, t=1.0, weight=fp.UnitWeight()).value, 10)  # 4 Phi(1) - 2
    1.3653789843
    """
    require_law("start_a", start_a)
    require_law("start_b", start_b)
    t = check(reverse, start_a, t)
    check(reverse, start_b, t)
    level = positive("rtol", (1e-9 if start_a.dim == 1 else 1e-6) if rtol is None else rtol)
    densities = pair(reverse, start_a, start_b, t, _INNER)
    edges = _edges(reverse, [start_a, start_b], t)
    integrate = _on_line if start_a.dim == 1 else _on_plane
    return integrate(densities, weight, edges, level)


def _on_line(densities: Pair, weight: Any, edges: tuple[FloatArray, ...], rtol: float) -> Distance:
    def columns(x: FloatArray) -> tuple[FloatArray, FloatArray]:
        log_sum = densities(x)[0]
        return (log_sum + np.log(weight_values(weight, x, 1)))[:, None], np.abs(log_sum)[:, None]

    def level(panels: Panels) -> tuple[float, float]:
        log_sum, ratio, noise = densities(panels.nodes)
        v = weight_values(weight, panels.nodes, 1) * np.exp(log_sum)
        half = 0.5 * (panels.high - panels.low)
        value = half @ absolute_integrals((v * ratio).reshape(-1, ORDER))
        return float(value), float(np.exp(panels.log_weights) @ (v * noise))

    panels = resolve(columns, edges[0], 1e-11, negligible=_LEFT_OUT)
    before, error = level(panels)[0], np.inf
    for _ in range(3):
        panels = panels.halved()
        value, rounding = level(panels)
        error, before = abs(value - before) + rounding + _INNER * value, value
        if error <= rtol * value:
            break
    return Distance(before, error)


def _on_plane(densities: Pair, weight: Any, edges: tuple[FloatArray, ...], rtol: float) -> Distance:
    """Integrate along the lines of either axis, split at sign changes, and across them by Gauss nodes.

    The integrals along lines have square-root-like kinks where a line touches the zero set: convergence is
    algebraic, and the two directions disagree by about the error.
    """

    def along(axis: int, x: FloatArray, lines: FloatArray) -> tuple[FloatArray, FloatArray]:
        axes = (x, lines) if axis == 0 else (lines, x)
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        values = densities(*axes)[0] + np.log(weight_values(weight, points, 2))
        values = values if axis == 0 else values.T
        return values[:, None, :], np.abs(values).min(axis=1, keepdims=True)

    panels = tensor_panels(along, (edges[0], edges[1]), 1e-9)
    before, error = _plane_level(densities, weight, panels)[0], np.inf
    for _ in range(2):
        panels = panels[0].halved(), panels[1].halved()
        value, other, rounding = _plane_level(densities, weight, panels)
        error, before = max(abs(value - before), abs(value - other)) + rounding + _INNER * value, value
        if error <= rtol * value:
            break
    return Distance(before, error)


def _plane_level(densities: Pair, weight: Any, panels: tuple[Panels, Panels]) -> tuple[float, float, float]:
    """Return the mean of the integrals along either axis, one of them, and the integral of the rounding."""
    first, second = panels
    log_sum, ratio, noise = densities(first.nodes, second.nodes)
    points = np.stack(np.meshgrid(first.nodes, second.nodes, indexing="ij"), axis=-1)
    v = weight_values(weight, points, 2) * np.exp(log_sum)
    weights = np.exp(first.log_weights), np.exp(second.log_weights)
    g = v * ratio
    along_first = _lines(g.T, first) @ weights[1]
    along_second = _lines(g, second) @ weights[0]
    mean = 0.5 * (along_first + along_second)
    return float(mean), float(along_first), float(weights[0] @ (v * noise) @ weights[1])


def _lines(g: FloatArray, panels: Panels) -> FloatArray:
    """Return ``int |g|`` along the last axis, per row."""
    out = np.empty(len(g))
    half = 0.5 * (panels.high - panels.low)
    for rows in chunks(len(g), g.shape[1]):
        blocks = g[rows].reshape(-1, ORDER)
        out[rows] = absolute_integrals(blocks).reshape(-1, half.size) @ half
    return out


def _edges(reverse: ReverseLike, starts: list[Law], t: float) -> tuple[FloatArray, ...]:
    """Return landmarks of the densities at t: those of the target as it arrives there, of the starts, and 0."""
    alpha = float(reverse.process.scale(0.0, t))
    std = float(np.sqrt(reverse.process.variance(0.0, t)))
    with_density = [start for start in starts if not isinstance(start, PointMass)]
    edges = []
    for axis, marks in enumerate(all_landmarks(reverse.target)):
        centre = alpha * float(np.atleast_1d(reverse.target.mean)[axis])
        own = [all_landmarks(start)[axis] for start in with_density]
        # 0 is where the package's weights have their kink
        edges.append(np.concatenate([alpha * marks, centre + std * np.array([-4.0, -1.0, 1.0, 4.0]), [0.0], *own]))
    return tuple(edges)
