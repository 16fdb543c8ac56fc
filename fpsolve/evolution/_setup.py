"""The border of `evolve`: request checked, time range, frame, save times, coarsest level.

What a slow score model costs a run: measured once, said before it starts.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve import _checks, _memory, _times
from fpsolve._checks import error
from fpsolve.dynamics import BaseDynamics, Frame, Reverse, RunClock, identity, short
from fpsolve.evolution._march import StepPlan, default_saves, plan_by_count, plan_on_nodes
from fpsolve.evolution._methods import Method, narrowness
from fpsolve.evolution._problem import MAX_CUT, Interval, Problem, Start, hull, law_boxes, on_the_way
from fpsolve.grid import Grid
from fpsolve.laws import Law, PointMass
from fpsolve.settings import dump

Array = NDArray[np.float64]

#: The scaled frame pays when the marginals' standard deviation changes by more than this along the run.
FRAME_RATIO = 4.0
#: Or where the pull a x, at the law's distance from 0, is so many times stronger than the noise g^2/2 on its width:
#: with little noise at small t, as in sub-VP and rectified flows, cells of the fixed frame smear; in the scaled one the
#: pull is gone. Measured at tol = 1e-5 on N(2, 0.3^2), N(0, 0.3^2) and two modes under VP, sub-VP and rectified flows:
#: 4 to 38 times fewer cells above this; below from twice as many to 5 times fewer, where either frame is quick.
FRAME_PULL = 16.0
#: Clock per step of the coarsest level.
CLOCK_STEP = 0.25
#: Steps of the coarsest level where the dynamics has no clock of its own.
PLAIN_STEPS = 48
#: A box wider than so many standard deviations of the narrowest law can never be filled with cells.
WIDEST = 1e8
#: Shortest and longest run.
TIMES = (1e-100, 1e100)
#: Characters of a law as JSON in the attributes of a run, at most.
LONGEST = 64_000
#: Share of `tol` that a side of the box may cut off where tails are heavy.
TAIL_SHARE = 0.005

#: Steps per stretch between kinks that were found, at least: two on a quarter of them.
FEW = 8
#: Steps whose times take memory worth a question.
MANY = 10**6


def check_request(
    dynamics: BaseDynamics,
    starts: Mapping[str, Start] | Law,
    grid: Grid | None,
    tol: float | None,
    steps: int | None,
) -> dict[str, Start]:
    """The starts as a dict; ValueError for contradictory requests and mixed dimensions."""
    _checks.instances(dynamics=(dynamics, BaseDynamics))
    if grid is not None:
        _checks.instances(grid=(grid, Grid))
    if (tol is None) == (steps is None):
        raise error(
            "tol",
            "exactly one of tol and steps",
            "both" if tol is not None else "neither",
            "give tol, or grid and steps",
        )
    if tol is not None:
        _checks.positive("tol", tol)
    if steps is not None:
        if _checks.integer("steps", steps, minimum=1) > MANY:
            _memory.require("steps", 450.0 * steps, "take fewer steps")
        if grid is None:
            raise error("grid", "a Grid together with steps", "None", "give grid=Grid.uniform(...) or use tol")
    named = _named(starts)
    dim = getattr(dynamics, "dim", None if grid is None else grid.dim)
    for name, start in named.items():
        own = start.dim if isinstance(start, Law) else np.ndim(start)
        dim = own if dim is None else dim
        if own != dim or (grid is not None and grid.dim != dim):
            raise error(
                f"starts[{name!r}]",
                f"a law of dimension {dim}, like the dynamics and the grid",
                f"dimension {own}" if own != dim else f"a grid of dimension {grid.dim if grid else dim}",
                "do not mix 1D and 2D",
            )
    return named


def _named(starts: Mapping[str, Start] | Law) -> dict[str, Start]:
    """The starts by label, each one that a grid can hold."""
    if not isinstance(starts, Law | Mapping):
        got = f"a {type(starts).__name__}"
        raise error("starts", "a law, or a mapping of labels to laws", got, 'label them: {"prior": law}')
    named: dict[str, Start] = {"start": starts} if isinstance(starts, Law) else dict(starts)
    if not named:
        raise error("starts", "at least one law", "none")
    for label, start in named.items():
        _checks.label("starts", label)
        if isinstance(start, PointMass):
            remedy = "use a narrow Gaussian, or closed_form and kernels, which start from points"
            raise error(f"starts[{label!r}]", "a law with a density", repr(start), remedy)
        if not isinstance(start, Law):
            remedy = "give a law, or finite cell averages"
            averages = named[label] = _checks.finite_array(f"starts[{label!r}]", start, remedy=remedy)
            if averages.size and averages.max() <= 0.0:
                got = "zeros" if averages.min() == 0.0 else "none of them"
                raise error(f"starts[{label!r}]", "a density or a signed difference, > 0 in some cells", got)
    return named


def dimension(starts: Mapping[str, Start]) -> int:
    """Dimension of the starts, which are of one."""
    start = next(iter(starts.values()))
    return start.dim if isinstance(start, Law) else start.ndim


def time_range(dynamics: BaseDynamics, t_min: float | None, t_max: float | None) -> tuple[float, float]:
    """First and last forward time of the run."""
    if dynamics.reversed_time:
        horizon = _representable("T of the process", dynamics.horizon)
        if t_max is not None or t_min is None:
            raise error(
                "t_min",
                f"the end of a reverse run, in (0, {_checks.digits(horizon)}), and no t_max",
                "t_max" if t_max is not None else "None",
            )
        return horizon, _checks.interval(
            "t_min", t_min, 0.0, horizon, ends="()", remedy="the score is singular at 0, stop shortly before"
        )
    if t_min is not None or t_max is None:
        raise error(
            "t_max",
            "the end of a run from 0 up, and no t_min (that is for reverse dynamics)",
            "t_min" if t_min is not None else "None",
        )
    return 0.0, _representable("t_max", _times.one("t_max", t_max, 0.0, dynamics.horizon, ends="(]"))


def _representable(name: str, t: float) -> float:
    """Return a time whose powers are numbers; ValueError for others, which no clock can divide into steps."""
    low, high = TIMES
    if not low <= t <= high:
        got, remedy = _checks.digits(t), "measure time in another unit; a steady state comes from steady_state"
        raise error(name, f"a time from {low:g} to {high:g}, whose powers are numbers", got, remedy)
    return t


def choose_frame(dynamics: BaseDynamics, frame: str, grid: Grid | None, last: float) -> Frame | None:
    """The scaled frame where it is asked for, or pays."""
    _checks.one_of("frame", frame, ("auto", "fixed", "scaled"))
    if not isinstance(dynamics, Reverse):
        if frame == "scaled":
            raise error("frame", "'fixed' or 'auto' for dynamics that are not Reverse", "'scaled'")
        return None
    if frame == "fixed" or (frame == "auto" and grid is not None):
        return None
    if not np.all(np.isfinite(dynamics.target.cov)):
        if frame == "scaled":
            raise error(
                "frame",
                "a target of finite variance for the scaled frame",
                "an infinite one",
                "use frame='fixed'",
            )
        return None
    picture = Frame(dynamics)
    times = np.geomspace(last, dynamics.held_from, 33)
    scales = picture.scale(times)
    if frame == "auto" and np.all(scales.max(axis=0) / scales.min(axis=0) <= FRAME_RATIO):
        reach = np.abs(picture.center(times)) + scales
        pull = np.abs(dynamics.process.drift_rate(times))[:, None] * reach * scales
        spread = 0.5 * np.square(dynamics.process.diffusion(times))[:, None]
        return picture if np.any(pull > FRAME_PULL * spread) else None
    return picture


def save_times(save_at: ArrayLike, first: float, last: float, steps: int | None = None, estimate: bool = True) -> Array:
    """The user's save times with both ends, in the order of the run."""
    low, high = min(first, last), max(first, last)
    given = _checks.finite_array("save_at", save_at).ravel()
    if given.size:
        given = _times.saves("save_at", save_at, low, high)
    times = np.unique(np.append(given, [low, high]))
    need = (2 if estimate else 1) * (len(times) - 1)
    if steps is not None and steps < need:
        raise error(
            "steps",
            f"at least {need} for {len(times)} save times"
            + (" and a companion run on half the steps" if estimate else ""),
            str(steps),
            "take more steps or fewer save times",
        )
    return times[::-1] if first > last else times


def saves_or_default(clock: RunClock, save_at: ArrayLike | None, count: int) -> Array:
    """The user's save times or `count` of them, and those at which coefficients jump or have kinks."""
    saves = default_saves(clock, count) if save_at is None else save_times(save_at, clock.first, clock.last)
    return with_breaks(clock, saves)


def with_breaks(clock: RunClock, saves: Array) -> Array:
    """Save times and the times along the run at which coefficients jump or have kinks, where steps have to end."""
    jumps, ends = clock.breaks, (clock.first, clock.last)
    if not jumps:
        return saves
    # a save time that is a jump up to rounding is one
    times = np.unique([*_times.snapped(saves, jumps, max(ends)), *jumps, *ends])
    return times[::-1] if clock.first > clock.last else times


def counted_plan(clock: RunClock, steps: int, save_at: ArrayLike | None, estimate: bool, saves: int = 50) -> StepPlan:
    """Exactly `steps` steps, through the user's save times or with save times on their nodes."""
    if save_at is None and not clock.breaks:
        return plan_on_nodes(clock, steps, saves)
    if save_at is None:
        times = default_saves(clock, max(2, min(saves, steps // 4)))
    else:
        times = save_times(save_at, clock.first, clock.last, steps, estimate)
    through = with_breaks(clock, times)
    if clock.hidden.times and steps < FEW * (len(through) - 1):
        # so few steps do not meet what nobody announced; the third level sees what it does
        through = with_breaks(clock.announced, times)
    # fewer steps than stretches between breaks resolve nothing, and are said to
    return plan_by_count(clock, through if steps >= len(through) - 1 else times, steps)


def base_level(
    dynamics: BaseDynamics, problem: Problem, method: Method, grid: Grid | None, tol: float
) -> tuple[Grid, float]:
    """The coarsest grid of an adaptive run and the clock of its steps.

    `dynamics` is the one in x, whose laws decide on the box; the problem's may live in the scaled frame.
    """
    clock_step = CLOCK_STEP if dynamics.reversed_time else float(problem.clock.at(problem.clock.last)) / PLAIN_STEPS
    if grid is not None:
        return grid, clock_step
    # whatever the tolerance, starts that the box does not hold would be refused
    bounds = _bounds(dynamics, problem, min(TAIL_SHARE * tol, MAX_CUT))
    coarsest = method.coarsest(len(bounds), narrowness(dynamics, problem), tol)
    low, high = coarsest.cells
    finest = _finest(dynamics, problem)
    cells = []
    for (lo, hi), width in zip(bounds, finest, strict=True):
        if not hi - lo < WIDEST * max(width, np.finfo(float).tiny):
            _require_near(problem, (lo, hi), width)
            raise error(
                "weight",
                "one whose tails beyond a box that cells can fill are small",
                f"one that needs a box of [{lo:.3g}, {hi:.3g}] around laws of standard deviation {width:.3g}",
                "the weighted norm of such tails may be infinite: take a weaker weight, or give a grid",
            )
        wish = (hi - lo) / (coarsest.width * width) if width > 0 else high
        cells.append(int(min(max(wish, low), high)) // 2 * 2)
    return Grid.uniform(
        bounds[0] if len(bounds) == 1 else bounds, cells=cells[0] if len(cells) == 1 else cells
    ), clock_step


def wider(grid: Grid) -> Grid:
    """Half as wide again, with cells of about the same size."""
    bounds = [(1.25 * low - 0.25 * high, 1.25 * high - 0.25 * low) for low, high in grid.bounds]
    return Grid(tuple(bounds), tuple(3 * n // 4 * 2 for n in grid.shape))


def _require_near(problem: Problem, box: Interval, width: float) -> None:
    """Refuse starts that need a box by themselves which cells cannot fill, whatever the weight."""
    for label, start in problem.starts.items():
        if not isinstance(start, Law):
            continue
        reach = float(np.max(np.abs(np.ravel(start.mean)) + np.sqrt(np.diag(np.atleast_2d(start.cov)))))
        # far or wide starts make the box, where tails in the weighted norm need many standard deviations more
        if np.isfinite(reach) and reach > (box[1] - box[0]) / 1000.0:
            raise error(
                f"starts[{label!r}]",
                f"a law within {WIDEST:g} widths, of {width:.3g}, of the narrowest law on the way",
                f"one with positions of {reach:.3g}, so that cells cannot fill the box",
                "take a narrower or nearer start, or give a grid",
            )


def _bounds(dynamics: BaseDynamics, problem: Problem, allowance: float) -> tuple[Interval, ...]:
    """The box in the solver's coordinate: of the starts, of the laws along the way, and of what is between them."""
    laws = [s for s in problem.starts.values() if isinstance(s, Law)]
    if len(laws) < len(problem.starts):
        raise error("grid", "a Grid where a start is given as an array", "None")

    times = problem.saves[np.unique(np.linspace(0, len(problem.saves) - 1, 9).astype(int))].tolist()
    along = [(t, law) for t in times for law in dynamics.laws_at(t, laws)]
    placed = [*along, *((times[0], law) for law in laws)]
    boxes = law_boxes([law for _, law in placed], problem.weight, allowance)
    if problem.frame is not None:
        centers, scales = ([f(t) for t, _ in placed] for f in (problem.frame.center, problem.frame.scale))
        boxes = [
            tuple(((lo - m) / s, (hi - m) / s) for (lo, hi), m, s in zip(box, center, scale, strict=True))
            for box, center, scale in zip(boxes, centers, scales, strict=True)
        ]
    on_line, starts = boxes[: len(along)], boxes[len(along) :]
    home = [box for box, (t, _) in zip(on_line, along, strict=True) if t == times[0]]
    between = [on_the_way(start, there) for start in starts for there in home]
    return hull([*boxes, *between])


def _finest(dynamics: BaseDynamics, problem: Problem) -> list[float]:
    """Smallest standard deviation of the laws along the way, per axis of the solver's coordinate; 0 if unknown."""
    laws = [s for s in problem.starts.values() if isinstance(s, Law)]
    t, dim = float(problem.saves[-1]), laws[0].dim
    found = [_widths(law) for law in dynamics.laws_at(t, laws)]
    scale = np.ones(dim) if problem.frame is None else problem.frame.scale(t)
    return [float(width / s) for width, s in zip(np.min(found, axis=0) if found else np.zeros(dim), scale, strict=True)]


def _widths(law: Law) -> Array:
    """Smallest standard deviation of a law along every axis, of a component in the plane with the other axis fixed."""
    mixture = law.components
    if law.dim == 1 or mixture is None:
        return np.full(law.dim, law.smallest_std)
    return np.asarray(1.0 / np.sqrt(np.diagonal(np.linalg.inv(mixture.component_covs), axis1=1, axis2=2).max(axis=0)))


def describe(dynamics: BaseDynamics, starts: Mapping[str, Start], **inputs: Any) -> dict[str, str | float | int]:
    """Every input as text, for the attributes of the Dataset."""
    from fpsolve import __version__

    kind, *parts = identity(dynamics).items()
    attrs: dict[str, str | float | int] = dict([kind, ("version", __version__), ("seed", "none"), *parts])
    attrs["starts"] = json.dumps({k: short(s) if isinstance(s, Law) else "array" for k, s in starts.items()})
    return attrs | _exactly(dynamics, starts) | {k: "none" if v is None else v for k, v in inputs.items()}


def _exactly(dynamics: BaseDynamics, starts: Mapping[str, Start]) -> dict[str, str]:
    """What `fpsolve.settings.build` makes the same laws and process of, as JSON; left out where no file can hold it."""
    parts = {name: getattr(dynamics, name) for name in ("target", "process", "law") if hasattr(dynamics, name)}
    written = {f"{name}_json": _written(part) for name, part in parts.items()}
    tables = {label: _written(start) for label, start in starts.items() if isinstance(start, Law)}
    known = [f"{json.dumps(label)}: {text}" for label, text in tables.items() if 0 < len(text) < LONGEST // len(tables)]
    written["starts_json"] = f"{{{', '.join(known)}}}" if known else ""
    return {name: text for name, text in written.items() if 0 < len(text) < LONGEST}


def _written(value: object) -> str:
    """An object as JSON; "" where no file can hold it."""
    text = ""
    with suppress(ValueError):
        text = json.dumps(dump(value))
    return text


#: Runs that are expected to take longer say so.
SECONDS = 10.0
#: Levels that a run with `tol` needs at least, each with twice the steps and cells per axis.
LEVELS = 3


def announce(dynamics: BaseDynamics, problem: Problem, grid: Grid, steps: int, *, adaptive: bool) -> str:
    """Say to standard error what a run on `grid` with `steps` steps will cost where its score is slow; the sentence.

    With `adaptive` the grid is the coarsest of `LEVELS`, else the finest, with runs on half and a quarter of it.
    """
    if not isinstance(dynamics, Reverse) or dynamics.exact or dynamics.noiseless:
        return ""
    cells, growth, each = math.prod(grid.shape), 2.0 ** (grid.dim + 1), math.inf
    share = sum((growth if adaptive else 1.0 / growth) ** k for k in range(LEVELS))
    # a face of every axis per cell and step
    count = cells * steps * share * grid.dim
    # twice where it is slow: what a score does only once, or remembers of its points, is no matter of the steps
    for t in (float(problem.saves[len(problem.saves) // 2]), float(problem.saves[-1])):
        points = problem.position_grid(grid, t).x
        began = time.perf_counter()
        # what it refuses is refused where the run asks for it
        with suppress(ValueError):
            dynamics.score(t, points)
        each = min(each, (time.perf_counter() - began) / cells)
        if count * each < SECONDS:
            return ""
    more = f", and {growth:g} times as much for every further level" if adaptive else ""
    said = (
        f"evolve: the score takes {1e6 * each:.2g} microseconds per point, {count:.3g} points {count * each:.0f} s"
        f"{more}; fpsolve.scores.tabulate asks it once on a grid, e.g. at 48 times, and measures what that costs."
    )
    print(said, file=sys.stderr)
    return said
