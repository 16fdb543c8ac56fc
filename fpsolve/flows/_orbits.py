"""Orbits of the probability flow and of autonomous flows, with the potential along them; and basins of attraction:
which stationary point an orbit ends in, for every cell of a grid.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fpsolve import _checks, _memory
from fpsolve._checks import FloatArray
from fpsolve._messages import described
from fpsolve.dynamics import Reverse
from fpsolve.flows._stationary import StationaryPoints, field_of, log_potential
from fpsolve.grid import Grid
from fpsolve.scores import Field, ProductScore, as_points, evaluate

if TYPE_CHECKING:
    import xarray as xr


Velocity: TypeAlias = Callable[[float, FloatArray], FloatArray]

#: The integrator's own limit on the relative tolerance.
SMALLEST_RTOL = 2.3e-14
AXES = ["x", "y"]


def orbits(
    flow: Any,
    points: Any,
    *,
    duration: float | None = None,
    t_min: float | None = None,
    count: int = 101,
    rtol: float = 1e-9,
    atol: float = 1e-11,
) -> xr.Dataset:
    r"""Return orbits from given points, of the probability flow or of an autonomous flow.

    .. math:: dY/dr = -a(t) Y + \tfrac12 g(t)^2 s(t, Y), \quad t = T - r \qquad \text{or} \qquad dY/dr = S(Y).

    Parameters
    ----------
    flow : Reverse, ProductScore or callable ``S(x)``
        Reverse dynamics give their probability flow, whatever their eta; a product-form score gives the autonomous
        flow of its field, as a callable does.
    points : array_like
        Where the orbits begin: shape ``(n,)`` in 1D, ``(n, 2)`` in 2D.
    duration : float, optional
        Time > 0 for which an autonomous flow runs, see `ProductScore.duration`.
    t_min : float, optional
        Forward time at which the probability flow ends; it begins at T.
    count : int, default 101
        Number of saved times, equally spaced, ends included.
    rtol, atol : float
        Tolerances of every single orbit (Dormand and Prince's method of order 8).

    Returns
    -------
    Dataset
        `position` (orbit, r) in 1D, (orbit, r, axis) in 2D; `log_potential` (orbit, r) where the field knows it (for
        reverse dynamics with a product-form score too); coordinate `r`, and `t` (r) for reverse dynamics.

    Raises
    ------
    ValueError
        `duration` for reverse dynamics or `t_min` for others, points of another dimension, an orbit that the
        integrator cannot follow.

    References
    ----------
    Song et al. 2021, arXiv:2011.13456 (probability flow); Hairer, Noersett and Wanner 1993,
    doi:10.1007/978-3-540-78862-1 (the integrator).

    Examples
    --------
    >>> import fpsolve as fp
    >>> found = fp.flows.orbits(lambda x: -x, [1.0, 2.0], duration=1.0, count=2)
    >>> found.position.values[:, -1]
    array([0.36787944, 0.73575888])
    """
    import xarray as xr

    begin, span, velocity, field, dim = prepared(flow, duration, t_min)
    at = _checks.finite_array("points", points)
    if at.ndim not in (1, 2) or at.size == 0 or (at.ndim == 2 and at.shape[1] != 2):
        raise _checks.error("points", "an array of shape (n,) in 1D or (n, 2) in 2D", f"shape {at.shape}")
    if dim is not None:
        _checks.same_dim("points", at.ndim, "the flow", dim)
    _memory.require("count", 24.0 * _checks.integer("count", count, minimum=2) * at.size, "take fewer times")
    times = np.linspace(0.0, span, count)
    rtol, atol = _checks.positive("rtol", rtol), _checks.non_negative("atol", atol)
    found = integrate(velocity, at, times, rtol=rtol, atol=atol)
    data: dict[str, Any] = {"position": (("orbit", "r") if at.ndim == 1 else ("orbit", "r", "axis"), found)}
    potential = None if field is None else log_potential(field, found)
    if potential is not None:
        data["log_potential"] = (("orbit", "r"), potential)
    coords: dict[str, Any] = {"r": times} | ({} if at.ndim == 1 else {"axis": AXES})
    if begin is not None:
        coords["t"] = ("r", begin - times)
    return described(
        xr.Dataset(data, coords=coords, attrs={"status": "estimated", "rtol": rtol, "atol": atol, "method": "DOP853"})
    )


def end_points(flow: Any, points: Any, **options: Any) -> FloatArray:
    """Return where orbits end, the shape of `points`; the arguments are those of `orbits`.

    Examples
    --------
    >>> import fpsolve as fp
    >>> fp.flows.end_points(lambda x: -x, [1.0, 2.0], duration=1.0)
    array([0.36787944, 0.73575888])
    """
    return np.asarray(orbits(flow, points, count=2, **options)["position"].isel(r=-1).values)


def integrate(
    velocity: Velocity,
    points: FloatArray,
    times: FloatArray,
    *,
    rtol: float = 1e-9,
    atol: float = 1e-11,
    method: str = "DOP853",
) -> FloatArray:
    """Return positions at `times` (increasing, the first that of `points`), the time axis after that of the points.

    All points share the steps. The integrator controls the root mean square over all of them, so its tolerances are
    divided by the square root of their number: every orbit keeps its own.
    """
    from scipy.integrate import solve_ivp

    share = np.sqrt(max(1, len(points)))
    result = solve_ivp(
        lambda r, y: velocity(float(r), y.reshape(points.shape)).ravel(),
        (times[0], times[-1]), points.ravel(), method=method, t_eval=times,
        rtol=max(rtol / share, SMALLEST_RTOL), atol=atol / share,
    )  # fmt: skip
    if not result.success:
        stop = f"a stop at r = {result.t[-1]:g}: {result.message}"
        raise _checks.error("flow", "one whose orbits can be followed", stop, "raise rtol")
    return np.asarray(np.moveaxis(result.y.reshape(*points.shape, times.size), -1, 1))


def velocity_of(flow: Any) -> tuple[Velocity, Field | None]:
    """Return the right-hand side ``f(r, x)`` of a flow and, where the score has one, its field."""
    if not isinstance(flow, Reverse):
        field = field_of(flow)
        return lambda r, x: evaluate(field, x), field
    process, horizon, score = flow.process, flow.horizon, flow.score

    def velocity(r: float, x: FloatArray) -> FloatArray:
        t = max(horizon - r, 0.0)
        return np.asarray(-process.drift_rate(t) * x + 0.5 * process.diffusion(t) ** 2 * score(t, x))

    model = flow.score_model
    return velocity, model.field if isinstance(model, ProductScore) else None


def prepared(
    flow: Any, duration: float | None, t_min: float | None
) -> tuple[float | None, float, Velocity, Field | None, int | None]:
    """Return T (None for an autonomous flow), the time the flow runs, its velocity, field and dimension."""
    velocity, field = velocity_of(flow)
    if isinstance(flow, Reverse):
        if duration is not None:
            raise _checks.error("duration", "t_min for a Reverse, which runs from T", "duration", "give t_min")
        last = _checks.interval("t_min", t_min, 0.0, flow.horizon, ends="()")
        return flow.horizon, flow.horizon - last, velocity, field, flow.dim
    if t_min is not None:
        raise _checks.error("t_min", "duration for an autonomous flow", "t_min", "see score.duration(t_min)")
    return None, _checks.positive("duration", duration), velocity, field, getattr(field, "dim", None)


#: Label of the cells whose orbit was not captured in time.
UNDECIDED = -1
CELLS = {1: 400, 2: 80}
#: An orbit is captured within this share of the distance from its attracting point to the next stationary one.
CAPTURE = 0.02
#: The longest run, in units of the slowest rate at a stationary point: a deviation of e^-20 grows to size one.
PATIENCE = 20.0
#: Orbits are looked at after this time, in units of the median rate, then at intervals that grow: captured ones cost
#: no more.
FIRST_LOOK, GROWTH = 1.0, 1.5


def basins(
    flow: Any, points: StationaryPoints, *, box: Any = None, cells: int | None = None, rtol: float = 1e-4
) -> xr.Dataset:
    """Return which attracting point the orbit from every cell centre ends in.

    An orbit counts as captured when it is within 2 percent of the distance from an attracting point to the next
    stationary one; it is followed for 20 over the slowest rate at a stationary point. Orbits that start next to the
    border between two basins may stay undecided.

    Parameters
    ----------
    flow : ProductScore or callable ``S(x)``
    points : StationaryPoints
        What `stationary_points` found.
    box : (low, high) or two such pairs, optional
        Default the box of `points`.
    cells : int, optional
        Cells per axis, default 400 in 1D and 80 in 2D.
    rtol : float, default 1e-4
        Tolerance of the orbits, relative and absolute.

    Returns
    -------
    Dataset
        `basin` (x[, y]): the position in ``points.at`` of the attracting point, -1 where it is undecided; `share`
        (attractor): the share of the box in each basin, `attractor` those positions; the attribute `undecided` is the
        share that is in none.

    Raises
    ------
    ValueError
        No attracting point, a box of another dimension.

    Examples
    --------
    >>> import fpsolve as fp
    >>> field = lambda x: x - x**3
    >>> found = fp.flows.basins(field, fp.flows.stationary_points(field, (-2, 2)), cells=8)
    >>> found.basin.values
    array([0, 0, 0, 0, 2, 2, 2, 2])
    """
    import xarray as xr

    _checks.instance("points", points, StationaryPoints, "stationary points", "flows.stationary_points finds them")
    rtol = _checks.positive("rtol", rtol)
    field, dim = field_of(flow), points.at.ndim
    grid = Grid.uniform(points.box if box is None else box, cells=1)
    _checks.same_dim("box", grid.dim, "the stationary points", dim)
    grid = Grid(grid.bounds, (CELLS[dim] if cells is None else _checks.integer("cells", cells),) * dim)
    attracting = np.flatnonzero(np.array(points.kind) == "attracting")
    if not attracting.size:
        raise _checks.error("points", "at least one attracting point", "none", "widen the box of stationary_points")
    label = _followed(field, grid.x.reshape(-1, dim), points, attracting, rtol)
    share = np.array([np.mean(label == k) for k in attracting])
    names = ("x", "y")[:dim]
    coords = {name: (name, axis) for name, axis in zip(names, grid.axes, strict=True)}
    return described(
        xr.Dataset(
            {"basin": (names, label.reshape(grid.shape)), "share": ("attractor", share)},
            coords=coords | {"attractor": attracting},
            attrs={"status": "estimated", "undecided": float(np.mean(label == UNDECIDED)), "rtol": rtol},
        )
    )


def _followed(
    field: Any, starts: FloatArray, points: StationaryPoints, attracting: NDArray[np.intp], rtol: float
) -> NDArray[np.intp]:
    """Follow orbits piece by piece until captured; return labels (n,)."""
    dim, velocity = starts.shape[1], velocity_of(field)[0]
    all_points = points.at.reshape(-1, dim)
    # the capture radius of every attracting point
    size = max(high - low for low, high in points.box)
    apart = np.linalg.norm(all_points[:, None] - all_points[attracting], axis=-1)
    apart[attracting, np.arange(attracting.size)] = size
    targets, radius = all_points[attracting], np.asarray(CAPTURE * apart.min(axis=0))
    slowest = float(np.abs(points.eigenvalues.real).min())
    limit = PATIENCE / max(slowest, 1e-300)
    piece = FIRST_LOOK / float(np.median(np.abs(points.eigenvalues.real)))
    label = np.full(len(starts), UNDECIDED, dtype=np.intp)
    active, x, elapsed = np.arange(len(starts)), starts, 0.0
    while active.size and elapsed < limit:
        near = np.linalg.norm(x[:, None] - targets, axis=-1) / radius
        closest = near.argmin(axis=1)
        captured = near.min(axis=1) <= 1.0
        label[active[captured]] = attracting[closest[captured]]
        active, x = active[~captured], x[~captured]
        if active.size:
            ends = np.array([0.0, piece])
            x = integrate(velocity, as_points(x), ends, rtol=rtol, atol=rtol, method="RK45")[:, -1].reshape(-1, dim)
            elapsed, piece = elapsed + piece, GROWTH * piece
    return label
