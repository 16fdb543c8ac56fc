"""Cell averages of the oracle's densities, and distances between two starts by quadrature of closed forms, with an
error.

The difference of two densities stands under one integral, without cancellation; weights have values of their own here,
without the package's evaluation of them.
"""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from fpsolve import _memory
from fpsolve._callables import answer_of
from fpsolve._checks import FloatArray, error, integer, positive, same_dim, values_at
from fpsolve._messages import Status
from fpsolve.closed_form._fields import Field, Smoothed, all_landmarks, bayes_of_field, field_of, smoothed, transition
from fpsolve.closed_form._mixture import EMPTY, ORDER, Mixture, Panels, absolute_integrals, as_mixture, chunks, resolve
from fpsolve.closed_form._plane import tensor_panels
from fpsolve.closed_form._solve import ReverseLike, Transport, check, require_law, solve
from fpsolve.laws import Law, PointMass
from fpsolve.weights import ExponentialWeight


def weight_values(weight: Any, x: FloatArray, dim: int) -> FloatArray:
    """Return V at points ``(...)`` (1D) or ``(..., 2)`` (2D), checked to be finite and >= 1; None is ``1 + |x|^2``."""
    squares = x**2 if dim == 1 else (x**2).sum(axis=-1)
    if weight is None:
        return np.asarray(1.0 + squares)
    if not callable(weight):
        raise error("weight", "a callable V(x) or None", weight)
    # an overflow becomes inf, which is refused below
    with np.errstate(over="ignore"):
        values = weight(x, dim=dim) if takes_dim(weight) else answer_of("weight", weight, x)
    checked = values_at("weight", values, squares.shape)
    if checked.size and checked.min() < 1.0 - 1e-12:
        raise error("weight", "V >= 1", f"a smallest value of {checked.min():.6g}", "use 1 + V")
    return checked


def log_weight(weight: Any, x: FloatArray, dim: int) -> FloatArray:
    """Return log V; that of an exponential weight where V itself overflows too: a density brings it down again."""
    if type(weight) is ExponentialWeight:
        return np.asarray(weight.rate * (np.abs(x) if dim == 1 else np.linalg.norm(x, axis=-1)))
    return np.log(weight_values(weight, x, dim))


def takes_dim(weight: Any) -> bool:
    """Say whether a weight wants to be told the dimension, as the package's own do."""
    try:
        return "dim" in inspect.signature(weight).parameters
    except (TypeError, ValueError):  # some compiled callables have no signature
        return False


_EPS = float(np.finfo(np.float64).eps)


class Pair(Protocol):
    """``log(q_a + q_b)``, ``(q_a - q_b)/(q_a + q_b)`` and a bound on the latter's rounding error, on axes."""

    def __call__(self, *axes: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]: ...


@dataclass(frozen=True, eq=False)
class Sum:
    """The function ``nu_a + nu_b``."""

    first: Field
    second: Field

    @property
    def dim(self) -> int:
        """Dimension, 1 or 2."""
        return self.first.dim

    def log_at(self, x: FloatArray) -> FloatArray:
        """Return the log of the sum at points (n,) or (n, 2)."""
        return np.logaddexp(self.first.log_at(x), self.second.log_at(x))

    def log_on_axes(self, *axes: FloatArray) -> FloatArray:
        """Return the log of the sum on a tensor grid."""
        return np.logaddexp(self.first.log_on_axes(*axes), self.second.log_on_axes(*axes))


def pair(reverse: ReverseLike, start_a: Law, start_b: Law, t: float, rtol: float) -> Pair:
    """Return the two densities at t as one `Pair`.

    Where the transition is a kernel against which any function can be integrated, ``nu_a - nu_b`` goes under
    one integral, so that a difference far below the densities keeps its digits; otherwise (probability flow,
    point masses, t = T) the densities are subtracted in logarithms.
    """
    together = None
    if t < reverse.process.T and not any(isinstance(start, PointMass) for start in (start_a, start_b)):
        together = _together(reverse, start_a, start_b, t, rtol)
    if together is not None:
        # nodes are rounded: what they miss a narrow start far out by does not cancel between the two
        far = max(float(np.abs(np.concatenate(all_landmarks(law))).max()) / _width(law) for law in (start_a, start_b))
        return _integrated(together, log_ratio(start_a, start_b), 8.0 * _EPS * far)
    fields = solve(reverse, start_a, t, rtol), solve(reverse, start_b, t, rtol)
    known = log_ratio(start_a, start_b) if t == reverse.process.T else None
    return _subtracted(*fields, known)


def _together(reverse: ReverseLike, start_a: Law, start_b: Law, t: float, rtol: float) -> Smoothed | None:
    """Return ``q_a + q_b`` as one integral, or None where the transition is not such a kernel."""
    nu, edges = Sum(field_of(start_a), field_of(start_b)), all_landmarks(start_a, start_b)
    target = as_mixture(reverse.target)
    if target is not None and len(target.log_weights) == 1:
        step = transition(target, reverse.process, reverse.eta, t)
        known = smoothed(nu, edges, step, rtol) if step.noisy else None
        if known is not None:
            return known
    if reverse.eta == 1.0:
        return bayes_of_field(reverse.target, reverse.process, nu, edges, t, rtol)
    return None


def _width(law: Law) -> float:
    """A standard deviation of what is narrowest in a law."""
    return float(law.smallest_std or np.sqrt(np.min(np.diag(np.atleast_2d(law.cov)))))


def _integrated(together: Smoothed, ratio: Callable[..., tuple[FloatArray, FloatArray]], floor: float) -> Pair:
    def factors(*axes: FloatArray) -> FloatArray:
        half, noise = ratio(*axes)
        share = np.tanh(half)
        return np.stack([share, noise + floor * np.abs(share)])

    def values(*axes: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        log_sum, averages = together.log_and_averages(axes, factors)
        return log_sum, averages[0], averages[1]

    return values


def _subtracted(first: Field, second: Field, known: Callable[..., tuple[FloatArray, FloatArray]] | None) -> Pair:
    def values(*axes: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        a, b = (np.maximum(field.log_on_axes(*axes), EMPTY) for field in (first, second))
        half, noise = _half_difference(a, b) if known is None else known(*axes)
        return np.logaddexp(a, b), np.tanh(half), noise

    return values


def log_ratio(start_a: Law, start_b: Law) -> Callable[..., tuple[FloatArray, FloatArray]]:
    """Return ``(log nu_a - log nu_b)/2`` on axes and a bound on its rounding error.

    For two Gaussians from the differences of their parameters, so that nearly equal ones keep their digits.
    """
    a, b = as_mixture(start_a), as_mixture(start_b)
    if a is not None and b is not None and len(a.log_weights) == len(b.log_weights) == 1:
        return lambda *axes: _gaussian_half_ratio(a, b, axes)
    fields = field_of(start_a), field_of(start_b)
    return lambda *axes: _half_difference(*(np.maximum(field.log_on_axes(*axes), EMPTY) for field in fields))


def _half_difference(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    size, larger = np.minimum(np.abs(a), np.abs(b)), np.abs(np.maximum(a, b))
    half = 0.5 * (a - b)
    # beyond a difference of 40 the tanh is +-1, but what is averaged has the rounding of the larger density still
    return half, _EPS * (1.0 + np.where(np.abs(half) > 40.0, larger, size))


def _gaussian_half_ratio(a: Mixture, b: Mixture, axes: tuple[FloatArray, ...]) -> tuple[FloatArray, FloatArray]:
    """Return half of ``-[u_a^T P_a u_a - u_b^T P_b u_b]/2 - log(det C_a/det C_b)/2``, u offsets, P precisions.

    With ``u_a - u_b = m_b - m_a`` and ``P_a - P_b = -P_a (C_a - C_b) P_b`` every term is proportional to a
    difference of parameters.
    """
    p_a, p_b = np.linalg.inv(a.covs[0]), np.linalg.inv(b.covs[0])
    change = a.covs[0] - b.covs[0]
    log_det = float(np.log1p(np.linalg.eigvals(p_b @ change).real).sum())
    shift, middle = b.means[0] - a.means[0], 0.5 * (a.means[0] + b.means[0])
    x = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    off, matrix = x - b.means[0], -p_a @ change @ p_b
    terms = (x - middle) @ (p_a @ shift), 0.5 * ((off @ matrix.T) * off).sum(axis=-1)
    half = -0.5 * (terms[0] + terms[1] + 0.5 * log_det)
    size = np.abs(terms[0]) + np.abs(terms[1]) + abs(log_det)
    return half, 2.0 * _EPS * size


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

    status: ClassVar[Status] = "estimated"

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
    # landmarks of the densities at t: those of the target as it arrives there, of the starts, and 0
    alpha = float(reverse.process.scale(0.0, t))
    std = float(np.sqrt(reverse.process.variance(0.0, t)))
    with_density = [start for start in (start_a, start_b) if not isinstance(start, PointMass)]
    edges = []
    for axis, marks in enumerate(all_landmarks(reverse.target)):
        centre = alpha * float(np.atleast_1d(reverse.target.mean)[axis])
        own = [all_landmarks(start)[axis] for start in with_density]
        # 0 is where the package's weights have their kink
        edges.append(np.concatenate([alpha * marks, centre + std * np.array([-4.0, -1.0, 1.0, 4.0]), [0.0], *own]))
    integrate = _on_line if start_a.dim == 1 else _on_plane
    return integrate(densities, weight, tuple(edges), level)


def _on_line(densities: Pair, weight: Any, edges: tuple[FloatArray, ...], rtol: float) -> Distance:
    def columns(x: FloatArray) -> tuple[FloatArray, FloatArray]:
        log_sum = densities(x)[0]
        return (log_sum + log_weight(weight, x, 1))[:, None], np.abs(log_sum)[:, None]

    def level(panels: Panels) -> tuple[float, float]:
        log_sum, ratio, noise = densities(panels.nodes)
        v = np.exp(log_sum + log_weight(weight, panels.nodes, 1))
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
        values = densities(*axes)[0] + log_weight(weight, points, 2)
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
    v = np.exp(log_sum + log_weight(weight, points, 2))
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


_NODES_AT_ONCE = 2**22  # 34 MB per array


class GridLike(Protocol):
    """What is read of a grid."""

    @property
    def dim(self) -> int: ...
    @property
    def face_axes(self) -> tuple[FloatArray, ...]: ...


def cell_averages(
    reverse: ReverseLike, start: Law, t: float, grid: GridLike, *, order: int = 6, rtol: float = 1e-12
) -> FloatArray:
    """Return the averages of the density at t over the cells of a grid.

    Gauss-Legendre quadrature of the point values of `density` in every cell; exact differences of the CDF at
    t = T and for the probability flow in 1D, where the start has exact cell probabilities.

    Parameters
    ----------
    reverse : Reverse
        Dynamics with the exact score.
    start : Law
        Start at T.
    t : float
        Forward time in (0, T].
    grid : Grid
        Anything with `dim` and `face_axes` (increasing faces per axis).
    order : int, keyword only
        Gauss nodes per cell and axis, default 6: 1e-12 where a cell is at most as wide as the narrowest
        standard deviation; 4 where it is at most a quarter of it.
    rtol : float, keyword only
        Relative accuracy of the point values.

    Returns
    -------
    ndarray of shape (nx,) or (nx, ny)
        Cell averages (densities per unit length or area, not masses).

    Raises
    ------
    ValueError
        Where no closed form is available, see `density`.

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.Gaussian(0.0, std=0.5), fp.OrnsteinUhlenbeck(T=1.0))
    >>> grid = fp.Grid.uniform((-6, 6), cells=48)
    >>> q = cell_averages(reverse, fp.Gaussian(1.0, std=1.0), 0.1, grid)
    >>> round(float(q.sum() * grid.volume), 12)
    1.0
    """
    require_law("start", start)
    if not hasattr(grid, "face_axes"):
        raise error("grid", "a Grid, or any object with face_axes", type(grid).__name__, "make one by Grid.uniform")
    t = check(reverse, start, t)
    same_dim("grid", grid.dim, "the start", start.dim)
    _memory.require("grid", 16.0 * math.prod(len(axis) for axis in grid.face_axes), "take fewer cells")
    field = solve(reverse, start, t, positive("rtol", rtol))
    faces = tuple(np.asarray(axis, dtype=np.float64) for axis in grid.face_axes)
    masses = _exact_masses(field, start, faces, at_start=t == reverse.process.T)
    if masses is not None:
        widths = [np.diff(axis) for axis in faces]
        return masses / (widths[0] if len(widths) == 1 else np.outer(*widths))
    # the nodes are eigenvalues of a matrix
    nodes = integer("order", order)
    _memory.require("order", 170.0 * float(nodes) ** 2, "take fewer nodes in every cell")
    return _quadrature(field, faces, nodes)


def _exact_masses(field: Field, start: Law, faces: tuple[FloatArray, ...], *, at_start: bool) -> FloatArray | None:
    if isinstance(start, PointMass):
        return None
    if at_start:
        return start.cell_probabilities(*faces)
    if isinstance(field, Transport):
        return start.cell_probabilities(field.origin(faces[0]))
    return None


def _quadrature(field: Field, faces: tuple[FloatArray, ...], order: int) -> FloatArray:
    """Return Gauss-Legendre cell averages, some rows of cells at a time."""
    nodes, weights = np.polynomial.legendre.leggauss(order)
    axes = [0.5 * (f[:-1] + f[1:])[:, None] + 0.5 * np.diff(f)[:, None] * nodes for f in faces]
    rest = [axis.ravel() for axis in axes[1:]]
    rows = max(1, _NODES_AT_ONCE // (order * (rest[0].size if rest else 1)))
    blocks: list[Any] = []
    for first in range(0, len(axes[0]), rows):
        part = axes[0][first : first + rows]
        values = np.exp(field.log_on_axes(part.ravel(), *rest)).reshape(len(part), order, -1)
        means = np.einsum("ioj,o->ij", values, 0.5 * weights)
        blocks.append(means[:, 0] if not rest else means.reshape(len(part), -1, order) @ (0.5 * weights))
    return np.concatenate(blocks)
