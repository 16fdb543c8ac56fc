"""Particles under reverse dynamics, chunk by chunk."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fpsolve import __version__, _checks, _memory, _messages, _runs, _times, samplers
from fpsolve.dynamics import identity, short
from fpsolve.grid import Grid
from fpsolve.laws import Law
from fpsolve.particles import _cloud
from fpsolve.particles._cloud import Tally
from fpsolve.samplers import Composed, Memory, Method, Step

if TYPE_CHECKING:
    import xarray as xr

    from fpsolve.particles._score import Scoring

Array = npt.NDArray[np.float64]
Clock = Callable[[Array], Array]

#: Particles moved together unless told otherwise; with the seed it fixes the random numbers.
CHUNK = 2**18
#: Bytes of a step: its formulas, as an object.
STEP_BYTES = 600.0
#: Evaluations of the score in a second, about: of a mixture of two.
MOVES = 3e7
#: Of one step, however few the particles.
STEP_SECONDS = 1e-4
#: Bytes of positions kept without being asked for.
POSITION_LIMIT = 256 * 2**20


@dataclass(frozen=True, eq=False)
class _Plan:
    """Everything settled before the first particle moves."""

    steps: tuple[Step, ...]
    saved_after: dict[int, int]  # number of steps done -> index of the saved time
    saved: Array
    scoring: Scoring


def simulate(
    reverse: Any,
    start: Law,
    *,
    n: int,
    seed: int,
    steps: int | None = None,
    times: npt.ArrayLike | None = None,
    t_min: float | None = None,
    method: Method = "euler-maruyama",
    save_at: npt.ArrayLike | None = None,
    histogram: Grid | xr.Dataset | None = None,
    positions: bool | None = None,
    tabulate: bool | None = None,
    chunk: int = CHUNK,
    progress: bool | None = None,
    **options: Any,
) -> xr.Dataset:
    r"""Simulate particles under reverse dynamics and keep a cloud of them at the saved times.

    .. math:: y_{k+1} = H_k(c_k y_k + s_k Z_k) + s'_k Z'_k

    with the steps of a sampler, see `fpsolve.samplers`: most have no noise before the map H, and some none at all.

    Parameters
    ----------
    reverse : Reverse
        Target, process, score and eta.
    start : Law
        Initial law at t = T.
    n : int
        Number of particles.
    seed : int
        Seed; chunk k draws from child k of ``numpy.random.SeedSequence(seed)``. The result depends on the
        seed and on ``chunk``, on nothing else: machine load, ``save_at`` of inner times aside, histogram
        and progress do not matter.
    steps : int, optional
        Number of steps, uniform on the dynamics' clock (uniform in t where it has none) and bent so that
        every saved time ends a step. Exactly one of ``steps`` and ``times``.
    times : array, optional
        Forward times of the step ends, strictly decreasing, used as they are; the first is where the start
        law sits.
    t_min : float, optional
        Last forward time. Default: the smallest saved time, or 1e-2 T without ``save_at``.
    method : str or Sampler
        One of `fpsolve.samplers.names`, default "euler-maruyama", or a sampler of one's own.
    save_at : array, optional
        Forward times to keep, default T and ``t_min``; ``run.t`` makes a cloud that `compare` can use at
        every time.
    histogram : Grid or run, optional
        Count particles on these cells at every saved time and do not keep positions: nothing then grows
        with n. With a run (what `evolve` returned) its own cells are used, also where they move, and its
        times are saved.
    positions : bool, optional
        Keep positions. Default: without ``histogram``, up to 256 MB; True keeps them whatever the size.
    tabulate : bool, optional
        Interpolate the score from a table made at every step (cubic splines, exact evaluation outside of
        it). Default: only for the exact score, where particles times mixture components exceed 4e6, and
        where the error measured at 64 particles is below 1e-3 of the rms score.
    chunk : int
        Particles moved together, default 2^18.
    progress : bool, optional
        Progress bar; default on a terminal or in a notebook.
    **options
        Of the sampler, see `fpsolve.samplers.get`: `eta` in place of the one of `reverse`, `churn` and others.

    Returns
    -------
    xarray.Dataset
        ``position(t, particle[, axis])``; or ``count(t, x[, y])`` and ``outside``; always ``mean(t,
        axis)``, ``cov(t, axis, other_axis)``, and ``function_mean(t, function)`` of fixed test functions
        with their frame ``centre``, ``width``. ``t`` is forward time, decreasing. Attributes: n, seed,
        chunk, method with its settings, steps, evaluations (of the score, per particle), t_min, eta, start,
        ``score_table`` (how many steps used one), ``score_table_error`` (largest error seen, in units of the
        score), ``score_table_shift`` (sum over the steps of how far it moves a particle: how far it can have
        moved one that forgets nothing), version, wall_time_s.

    Raises
    ------
    ValueError
        ``steps`` and ``times`` both or neither, t_min outside (0, T), a saved time outside [t_min, T], more
        than 256 MB of positions not asked for, 1D mixed with 2D, a score of the wrong shape or not finite
        (with its t), particles that leave every bound (with the t: too few steps).

    References
    ----------
    Maruyama (1955), doi:10.1007/BF02846028. Anderson (1982), doi:10.1016/0304-4149(82)90051-5. Song et al.
    (2021), arXiv:2011.13456.

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.Gaussian(1.0, std=0.7), fp.VP())
    >>> cloud = simulate(reverse, fp.VP().prior(), n=2000, steps=50, seed=0)
    >>> dict(cloud.position.sizes)
    {'t': 2, 'particle': 2000}
    >>> abs(float(cloud["mean"][-1, 0]) - 1.0) < 0.1
    True
    """
    # compiled functions, which take a while to load
    from fpsolve.particles import _score

    began = time.perf_counter()
    # refuse what the loop could only fail on later
    if not all(hasattr(reverse, name) for name in ("target", "process", "eta", "score")):
        raise _checks.error("reverse", "a Reverse dynamics", type(reverse).__name__, "wrap it with fp.Reverse")
    _checks.instances(start=(start, Law))
    _checks.same_dim("start", start.dim, "reverse", reverse.dim)
    _checks.integer("n", n)
    _checks.integer("chunk", chunk)
    sampler = samplers.get(method, "method", **options)
    for name, value in (("positions", positions), ("tabulate", tabulate)):
        _checks.flag(name, value, optional=True)
    if histogram is not None and not (isinstance(histogram, Grid) or "t" in getattr(histogram, "coords", ())):
        raise _checks.error("histogram", "a Grid, or a run with its cells and times", repr(histogram)[:60])
    if save_at is None and histogram is not None and hasattr(histogram, "coords"):
        save_at = histogram.coords["t"].values
    knots, saved = _knots(reverse, steps, times, t_min, save_at)
    position = {float(t): k for k, t in enumerate(knots)}
    saved_after = {position[float(t)]: i for i, t in enumerate(saved)}
    scoring = _score.choose(reverse, min(n, chunk), tabulate)
    plan = _Plan(samplers.steps(sampler, reverse, knots), saved_after, saved, scoring)
    tally = _tally(reverse, plan, n, histogram, positions)
    each = sampler.evaluations * float(n) / MOVES + STEP_SECONDS
    _memory.say_if_long("particles.simulate", each * len(plan.steps))
    table_error = _run(plan, tally, start, seed, chunk, progress)
    # what the cloud says of its dynamics: those of `reverse`, with the eta to which the method tends
    said = identity(reverse)
    if sampler.eta is not None:
        said["eta"] = sampler.eta
    churned = sampler.eta == 0.0 and not all(step.deterministic for step in plan.steps)
    if churned or any(isinstance(step, Composed) for step in plan.steps):
        # noise besides that of any eta: a churn, a correction
        said.pop("eta", None)
    attrs = {
        "seed": int(seed),
        "chunk": int(chunk),
        "method": sampler.name,
        "settings": repr(sampler.in_steps(len(plan.steps))),
        "steps": len(plan.steps),
        "evaluations": len(plan.steps) * sampler.evaluations,
        "t_min": float(knots[-1]),
        **said,
        "start": short(start),
        **_table_report(plan, table_error),
        "version": __version__,
        "wall_time_s": time.perf_counter() - began,
    }
    return _cloud.dataset(tally, plan.saved, float(reverse.process.T), attrs)


def _knots(reverse: Any, steps: int | None, times: Any, t_min: float | None, save_at: Any) -> tuple[Array, Array]:
    """Step ends and saved times, both decreasing."""
    T = float(reverse.process.T)
    if _checks.exactly_one(steps=steps, times=times) == "times":
        if t_min is not None:
            raise _checks.error("t_min", "no t_min beside times", t_min, "the last of the times is t_min")
        # the user's own step times (checked) and the saved times among them (the same up to rounding)
        knots = _times.decreasing("times", times, T, wanted="at least two strictly decreasing")
        if save_at is None:
            return knots, knots[[0, -1]]
        wanted = _checks.finite_array("save_at", save_at).ravel()
        nearest = _times.places(wanted, knots, T)
        if wanted.size == 0 or np.any(nearest < 0):
            missing = ", ".join(map(_checks.digits, wanted[nearest < 0])) if wanted.size else "none"
            remedy = "add the missing ones to times, or give steps instead of times"
            raise _checks.error("save_at", "some of the given times", missing, remedy)
        return knots, knots[np.unique(nearest)]
    if t_min is None:
        low = T if save_at is None else float(np.min(_checks.finite_array("save_at", save_at), initial=T))
        t_min = 1e-2 * T if _times.same(low, T, T) else low
    t_min = _checks.interval("t_min", t_min, 0.0, T, ends="()")
    saved = np.array([T, t_min])
    if save_at is not None:
        saved = _times.saves("save_at", save_at, t_min, T, wanted="between t_min = {} and T = {}")[::-1]
    _memory.require("steps", STEP_BYTES * _checks.integer("steps", steps), "take fewer steps")
    return step_times(T, t_min, _checks.integer("steps", steps), saved, getattr(reverse, "clock", None)), saved


def step_times(T: float, t_min: float, steps: int, saved: Array, clock: Clock | None) -> Array:
    """Decreasing forward times ``T = t_0 > ... > t_steps = t_min`` that pass through every saved time.

    The saved times cut [t_min, T] into segments. Each gets a share of the ``steps`` in proportion to its
    length on the clock (at least one), and its knots are uniform on the clock. Without inner saved times
    that is simply uniform on the clock.
    """
    ends = np.unique(np.concatenate([saved, [t_min, T]]))[::-1]
    if steps < ends.size - 1:
        expected = f"at least {ends.size - 1}, one for each interval between saved times"
        raise _checks.error("steps", expected, steps, "take more steps or save fewer times")
    ticks = ends if clock is None else np.asarray(clock(ends), dtype=np.float64)
    if not (np.all(np.isfinite(ticks)) and np.all(np.diff(ticks) < 0)):
        raise _checks.error("clock", "finite values that increase with forward time", f"{ticks} at t = {ends}")
    # knot numbers nearest to ``fraction * steps`` that leave at least one step to every segment
    fraction = (ticks[0] - ticks) / (ticks[0] - ticks[-1])
    segment = np.arange(fraction.size)
    wanted = np.rint(fraction * steps).astype(np.int64) - segment
    free = np.clip(np.maximum.accumulate(wanted), 0, steps - segment[-1])
    knot = np.asarray(free + segment, dtype=np.int64)
    even = np.interp(np.arange(steps + 1), knot, ticks)
    times = even if clock is None else _invert(clock, even, t_min, T)
    times[knot] = ends
    return times


def _invert(clock: Clock, ticks: Array, low: float, high: float) -> Array:
    """Times at which the clock shows ``ticks``, by bisection (60 halvings: to rounding)."""
    below, above = np.full(ticks.shape, low), np.full(ticks.shape, high)
    for _ in range(60):
        middle = 0.5 * (below + above)
        late = np.asarray(clock(middle)) > ticks
        above = np.where(late, middle, above)
        below = np.where(late, below, middle)
    return np.asarray(0.5 * (below + above), dtype=np.float64)


def _tally(reverse: Any, plan: _Plan, n: int, histogram: Any, positions: bool | None) -> Tally:
    """Empty totals: frames of the marginals, cells from the grid or run, positions if they are kept."""
    process = reverse.process
    frames = [
        _cloud.frame_of_target(reverse.target, float(process.scale(0.0, t)), float(process.variance(0.0, t)))
        for t in plan.saved.tolist()
    ]
    keep = histogram is None if positions is None else positions
    size = 8 * n * reverse.dim * len(plan.saved)
    if keep and positions is None and size > POSITION_LIMIT:
        remedy = "give histogram=grid (or a run), save fewer times, or insist with positions=True"
        raise _checks.error("n", "at most 256 MB of positions", f"{size / 2**20:.0f} MB", remedy)
    remedy = "give histogram=grid (or a run), or save fewer times"
    _memory.require("n", float(size if keep else 0), remedy)
    cells = () if histogram is None else _counting_cells(histogram, plan.saved)
    if cells:
        _checks.same_dim("histogram", cells[0].dim, "reverse", reverse.dim)
    centre, width = (np.stack([frame[i] for frame in frames]) for i in range(2))
    counted = sum(16.0 * np.prod(grid.shape, dtype=float) for grid in cells)
    _memory.require("histogram", counted, "take fewer cells, or save fewer times")
    return Tally(reverse.dim, n, centre, width, cells, keep)


def _counting_cells(histogram: Any, saved: Array) -> tuple[Grid, ...]:
    """Cells at every saved time: a grid's, or those of a run at the same times."""
    if not hasattr(histogram, "coords"):
        return (histogram,) * len(saved)
    index = _times.places(saved, histogram.coords["t"].values, float(saved[0])).tolist()
    if min(index) < 0:
        raise _checks.error("save_at", "times saved in the run given as histogram", saved.tolist(), "leave save_at out")
    return tuple(_runs.grid_at(histogram, i) for i in index)


def _run(plan: _Plan, tally: Tally, start: Any, seed: int, chunk: int, progress: bool | None) -> Array:
    """Move all chunks; returns the largest table error seen at every step (NaN where no table was used)."""
    firsts = range(0, tally.n, chunk)
    seed = _checks.integer("seed", seed, minimum=0)
    table_error = np.full(len(plan.steps), np.nan)
    bar: _messages.Progress[Any] = _messages.progress(len(firsts) * len(plan.steps), "particles", progress)
    with bar:
        for k, first in enumerate(firsts):
            # child k of `spawn`, made when it is needed: there may be many
            rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(k,)))
            x = np.asarray(start.sample(min(chunk, tally.n - first), rng), dtype=np.float64)
            table_error = np.fmax(table_error, _move(plan, tally, first, x, rng, bar))
    return table_error


def _move(
    plan: _Plan, tally: Tally, first: int, x: Array, rng: np.random.Generator, bar: _messages.Progress[Any]
) -> Array:
    """Take one chunk from T to t_min."""
    table_error = np.full(len(plan.steps), np.nan)
    memory: Memory = ()
    if 0 in plan.saved_after:
        tally.add(plan.saved_after[0], first, x)
    for k, step in enumerate(plan.steps):
        errors: list[float] = []

        def score(t: float, y: Array, errors: list[float] = errors) -> Array:
            values, error = plan.scoring(t, y)
            errors.append(error)
            return values

        x, memory = step.advance(score, x, rng, memory)
        table_error[k] = np.fmax.reduce(errors, initial=np.nan)
        if not np.all(np.isfinite(x)):
            reached = f"infinite or NaN ones at t = {step.t_to:g}"
            raise _checks.error("steps", "steps fine enough for finite positions", reached, "take more steps")
        if k + 1 in plan.saved_after:
            tally.add(plan.saved_after[k + 1], first, x)
        bar.update()
    return table_error


def _table_report(plan: _Plan, table_error: Array) -> dict[str, str | float]:
    used = np.flatnonzero(np.isfinite(table_error))
    shifts = [_shift(plan.steps[k], table_error[k], plan.scoring.reverse.dim) for k in used]
    return {
        "score_table": f"{used.size} of {table_error.size} steps",
        "score_table_error": float(np.max(table_error[used], initial=0.0)),
        "score_table_shift": float(np.sum(shifts)),
    }


def _shift(step: Step, error: float, dim: int) -> float:
    """How far a score that is wrong by `error` moves a particle in a step, the slope of the score aside."""
    x = np.zeros((1,) if dim == 1 else (1, 2))
    moved = step.move(lambda t, y: np.full(y.shape, error), x) - step.move(lambda t, y: np.zeros(y.shape), x)
    return float(np.abs(moved.flat[0]))
