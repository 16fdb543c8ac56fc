"""Densities carried by a flow, by characteristics: every point is followed back to where it came from."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fpsolve import _checks, _memory, weights
from fpsolve._checks import FloatArray
from fpsolve._messages import Status, UnresolvedWarning
from fpsolve.dynamics import Reverse
from fpsolve.evolution import covering_box
from fpsolve.flows._orbits import integrate, prepared
from fpsolve.grid import Grid
from fpsolve.laws import Law
from fpsolve.scores import as_points, jacobian
from fpsolve.weights import WeightLike

#: Weighted mass that the boxes of the quadratures leave out, and intervals of the trapezoidal rules per axis.
TAIL = 1e-9
CELLS = {1: 4096, 2: 96}
#: The kinks of min(q, p) make the error of a rule erratic: its last change may be smaller, so a quarter of the one
#: before, what is left of it where kinks decide, is the least that is taken.
SAFETY = 2.0
KINKED = 0.25
#: Change of log q/p within an interval from which on the rule does not see its slope.
STEEP = 1.0


@dataclass(frozen=True)
class FlowDistance:
    """A weighted total variation with its error.

    Attributes
    ----------
    value : float
        ``int V |q - p|``; a difference of integrals, so it may be negative by as much as its error.
    error : float
        Twice the change of the three integrals when the rules are halved, or twice a quarter of the change before; in
        1D at least what peaks and edges of q between two nodes may hide; and the weighted mass beyond their boxes and
        where orbits are not worth following.
        Infinite where nodes are further apart than the smallest standard deviation of the start or of the law.
    overlap : float
        ``int V min(q, p)``.
    """

    status: ClassVar[Status] = "estimated"

    value: float
    error: float
    overlap: float


def log_density(
    flow: Any,
    start: Law,
    x: Any,
    *,
    duration: float | None = None,
    t_min: float | None = None,
    rtol: float = 1e-8,
) -> FloatArray:
    r"""Return the log density at the end of a flow that began with a law, without a grid.

    .. math:: \log q(x) = \log \nu(y) - \int \operatorname{div} v(r, x(r)) dr

    along the orbit that ends in x, y where it began. Nothing is smeared, however far the flow contracts.

    Parameters
    ----------
    flow, duration, t_min
        As in `orbits`.
    start : Law
        nu, at the beginning.
    x : array_like of shape (n,) or (n, 2)
        Where to evaluate, at the end.
    rtol : float, default 1e-8
        Tolerance of every orbit and of the integral along it.

    Returns
    -------
    array of shape (n,)
        Point values, with respect to length or area.

    Raises
    ------
    ValueError
        As in `orbits`; a start of another dimension.

    Examples
    --------
    >>> import numpy as np
    >>> import fpsolve as fp
    >>> value = fp.flows.log_density(np.negative, fp.Gaussian(0.0, std=1.0), [0.5], duration=1.0)
    >>> abs(float(value[0] - fp.Gaussian(0.0, std=np.exp(-1.0)).log_density(0.5))) < 1e-8
    True
    """
    _checks.instances(start=(start, Law))
    at = _checks.finite_array("x", x)
    _checks.same_dim("x", at.ndim, "the start", start.dim)
    begin, span, velocity, field, dim = prepared(flow, duration, t_min)
    if dim is not None:
        _checks.same_dim("start", start.dim, "the flow", dim)
    divergence = _divergence(flow, field)
    size = start.dim
    together = getattr(field, "with_jacobian", None) if begin is None else None

    def backwards(r: float, states: FloatArray) -> FloatArray:
        points = np.ascontiguousarray(states[:, :size])
        both = None if together is None else together(as_points(points))
        if both is None:
            both = velocity(span - r, as_points(points)), divergence(span - r, points)
        else:
            both = both[0], np.trace(both[1], axis1=1, axis2=2)
        return np.concatenate([-both[0].reshape(points.shape), both[1][:, None]], axis=1)

    states = np.concatenate([at.reshape(-1, size), np.zeros((len(at), 1))], axis=1)
    rtol = _checks.positive("rtol", rtol)
    ends = integrate(backwards, states, np.array([0.0, span]), rtol=rtol, atol=1e-2 * rtol)[:, -1]
    return np.asarray(start.log_density(as_points(ends[:, :size])) - ends[:, size])


def distance(
    flow: Any,
    start: Law,
    law: Law,
    *,
    duration: float | None = None,
    t_min: float | None = None,
    weight: WeightLike = None,
    cells: int | None = None,
    rtol: float = 1e-7,
) -> FlowDistance:
    r"""Return the weighted total variation between a law and what a flow makes of another one.

    .. math:: \int V |q - p| = \int V dq + \int V dp - 2 \int V \min(q, p).

    The first integral is taken where the flow begins, ``E V(x(span))`` over the start, the others where `law` lives,
    with q by characteristics (`log_density`). So a density that the flow has contracted to spikes, which no grid would
    resolve, does no harm: the spikes are cut off at p.

    Parameters
    ----------
    flow, duration, t_min
        As in `orbits`.
    start : Law
        What the flow begins with.
    law : Law
        p, what its end is compared with.
    weight : weight, callable or None
        V >= 1, default ``1 + |x|^2``.
    cells : int, optional
        Even number of intervals of the trapezoidal rules per axis, default 4096 in 1D and 96 in 2D.
    rtol : float, default 1e-7
        Tolerance of every orbit.

    Returns
    -------
    FlowDistance

    Raises
    ------
    ValueError
        As in `log_density`.

    Warns
    -----
    UnresolvedWarning
        The start or the law has features narrower than the intervals: the error is infinite then.

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.Gaussian(0.5, std=0.3), fp.VP())
    >>> found = distance(reverse, reverse.marginal(1.0), reverse.marginal(0.1), t_min=0.1, cells=64)
    >>> found.value < 1e-5
    True
    """
    _checks.instances(start=(start, Law), law=(law, Law))
    _checks.same_dim("start", start.dim, "the law", law.dim)
    count = CELLS[law.dim] if cells is None else _checks.integer("cells", cells, minimum=8)
    _memory.require("cells", 700.0 * float(count) ** law.dim, "take fewer cells")
    _memory.say_if_long("flows.distance", 1e-5 * float(count) ** law.dim)
    if count % 2:
        raise _checks.error("cells", "an even number, to be halved", count)
    here, there = (_nodes(one, weight, count) for one in (law, start))
    v = weights.evaluate(weight, here.points, law.dim)
    log_p = law.log_density(here.points)
    # where V p adds up to next to nothing, so does V min(q, p)
    order = np.argsort(v * np.exp(log_p))
    kept = order[np.cumsum((v * np.exp(log_p))[order]) * here.volume > TAIL]
    log_q = log_p.copy()
    log_q[kept] = log_density(flow, start, here.points[kept], duration=duration, t_min=t_min, rtol=rtol)
    _, span, velocity, _, _ = prepared(flow, duration, t_min)
    ends = integrate(velocity, there.points, np.array([0.0, span]), rtol=rtol, atol=1e-2 * rtol)[:, -1]
    carried = weights.evaluate(weight, ends, law.dim) * start.density(there.points)
    parts = [there.sums(carried), here.sums(v * np.exp(log_p)), here.sums(v * np.exp(np.minimum(log_p, log_q)))]
    fine, coarse, coarser = np.array(parts).T
    factors = np.array([1.0, 1.0, -2.0])
    change = np.maximum(np.abs(fine - coarse), KINKED * np.abs(coarse - coarser))
    error = SAFETY * float(np.abs(factors) @ change)
    if law.dim == 1:
        error = max(error, 2.0 * here.volume * _hidden(log_q - log_p, v * np.exp(log_p)))
    error += 6.0 * TAIL
    short = _unresolved({"start": (there, start), "law": (here, law)})
    if short:
        warnings.warn(short, UnresolvedWarning, stacklevel=2)
        error = np.inf
    return FlowDistance(float(factors @ fine), error, float(fine[2]))


def _unresolved(rules: dict[str, tuple[_Nodes, Law]]) -> str:
    """Which law is narrower than the intervals of its rule, in a sentence; "" if none is.

    Rules on nodes that miss a feature agree that there is none.
    """
    for name, (nodes, law) in rules.items():
        if 0.0 < law.smallest_std < nodes.spacing:
            needed = 2 * math.ceil(0.5 * max(nodes.shape) * nodes.spacing / law.smallest_std)
            return (
                f"{name}: intervals of {nodes.spacing:.3g} do not resolve a smallest standard deviation of "
                f"{law.smallest_std:.3g}, so the error is unknown; take cells = {needed} or more"
            )
    return ""


def _hidden(ratio: FloatArray, share: FloatArray) -> float:
    """How much of V p under q/p may lie between nodes that do not see it, per interval: what a flow has contracted.

    Peaks: between two nodes q/p is at most where the lines through the nodes before and after meet, if its logarithm
    is concave on these three intervals. Edges: where q/p crosses one by more than `STEEP` in its logarithm within an
    interval the rule is off by up to half of the change, and two edges may cancel in the change of a halved rule.

    Parameters
    ----------
    ratio : array, shape (n,)
        log q - log p at the nodes.
    share : array, shape (n,)
        V p.
    """
    left, right = ratio[1:-2], ratio[2:-1]
    rise, fall = left - ratio[:-3], right - ratio[3:]
    peaked = (rise > 0.0) & (fall > 0.0)
    rise, fall, left, right = (array[peaked] for array in (rise, fall, left, right))
    at = np.clip((right - left + fall) / (rise + fall), 0.0, 1.0)
    peak = np.exp(np.minimum(0.0, np.minimum(left + rise * at, right + fall * (1.0 - at))))
    seen = np.exp(np.minimum(0.0, np.maximum(left, right)))
    most = np.maximum(share[1:], share[:-1])
    hidden = most[1:-1][peaked] * np.maximum(peak - seen, 0.0)
    low, high = np.minimum(ratio[1:], ratio[:-1]), np.maximum(ratio[1:], ratio[:-1])
    edges = (low < 0.0) & (high > 0.0) & (high - low > STEEP)
    return float(hidden.sum() - 0.5 * (most * np.expm1(low))[edges].sum())


@dataclass(frozen=True, eq=False)
class _Nodes:
    """Nodes of a trapezoidal rule on a box, flattened."""

    points: FloatArray
    shape: tuple[int, ...]
    volume: float
    spacing: float

    def sums(self, values: FloatArray) -> list[float]:
        """Return the rule and those on every second and fourth node; the integrands vanish at the ends."""
        table = values.reshape(self.shape)
        every = ((n, table[(slice(None, None, n),) * table.ndim]) for n in (1, 2, 4))
        return [float(part.sum() * self.volume * float(n) ** table.ndim) for n, part in every]


def _nodes(law: Law, weight: WeightLike, cells: int) -> _Nodes:
    box = covering_box([law], weight, TAIL)
    grid = Grid.uniform(box if law.dim == 2 else box[0], cells=cells)
    axes = grid.face_axes
    points = axes[0] if law.dim == 1 else np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    return _Nodes(points, tuple(axis.size for axis in axes), grid.volume, max(grid.spacing))


def _divergence(flow: Any, field: Any) -> Any:
    """Return ``div v(r, x)`` at points (n, d) as a function."""
    if not isinstance(flow, Reverse):
        return lambda r, x: np.trace(jacobian(field, x), axis1=1, axis2=2)
    process, horizon, score = flow.process, flow.horizon, flow.score
    known = getattr(flow.score_model, "divergence", None)

    def divergence(r: float, x: FloatArray) -> FloatArray:
        t = max(horizon - r, 0.0)
        if known is not None:
            trace = known(t, as_points(x))
        else:
            trace = np.trace(jacobian(lambda z: score(t, z), x), axis1=1, axis2=2)
        return np.asarray(-process.drift_rate(t) * x.shape[1] + 0.5 * process.diffusion(t) ** 2 * trace)

    return divergence
