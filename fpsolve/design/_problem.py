"""What is minimised: the error of a sampler as a function of its step ends, and of the noise of its steps."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from inspect import signature
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from fpsolve import _checks, _memory, _times, kernels, samplers
from fpsolve._cells import unresolved
from fpsolve.distances import weighted_tv
from fpsolve.dynamics import Frame, Reverse
from fpsolve.evolution import choose_frame
from fpsolve.grid import Grid
from fpsolve.laws import Law
from fpsolve.samplers import Composed, Method, Sampler, grids
from fpsolve.weights import WeightLike, evaluate

Array = NDArray[np.float64]
Distance = Callable[[xr.DataArray, xr.DataArray], xr.Dataset]
Free: TypeAlias = Literal["eta", "churn"]

#: Cells of the grid unless one is given, and how many standard deviations of every law along the way it holds.
CELLS, REACH = 600, 8.0
#: Of one step: bytes, seconds in which the named grids are measured, and those of a try.
STEP_BYTES, STEP_SECONDS, TRY_SECONDS = 4e3, 5e-3, 2e-4
#: Images of faces, per cell, by which a map of the line is known.
FINER = 3
#: Change of the logarithm of a step by which derivatives are taken.
NUDGE = 1e-4
#: Logarithm of how much longer or shorter than the mean a step may become.
UNEVEN = 5.0
#: Mass beyond the box whose weight is not known any more, and the weight of less, in units of the largest in the box.
LOST, BEYOND = 1e-6, 4.0
#: Most of eta^2, and of churn over the number of steps (Karras et al. 2022, Algorithm 2).
MOST_NOISE: dict[str | None, float] = {"eta": 1.0, "churn": 2.0**0.5 - 1.0}


class Measured(float):
    """An error with its `bar`, what the cells make uncertain of it: a float everywhere else.

    Examples
    --------
    >>> one = Measured(0.25, 1e-3)
    >>> one < 0.3, one.bar, one
    (True, 0.001, 0.25 +- 0.001)
    """

    bar: float

    def __new__(cls, value: float, bar: float) -> Measured:
        made = super().__new__(cls, value)
        made.bar = float(bar)
        return made

    def __repr__(self) -> str:
        return f"{float(self)!r} +- {self.bar:.1g}"


@dataclass(frozen=True)
class PerStep:
    """A function of t that is constant along every step: ``values[k]`` from times[k] on, down to times[k + 1].

    Examples
    --------
    >>> eta = PerStep((1.0, 0.5, 0.1), (0.3, 0.0))
    >>> [eta(t) for t in (1.0, 0.6, 0.5, 0.1)]
    [0.3, 0.3, 0.0, 0.0]
    """

    times: tuple[float, ...]
    values: tuple[float, ...]

    def __call__(self, t: float) -> float:
        """The value of the step at forward time t."""
        later = sum(t <= end for end in self.times[1:-1])
        return self.values[later]

    @property
    def breaks(self) -> tuple[float, ...]:
        """Times at which it may jump."""
        return self.times[1:-1]


@dataclass(frozen=True, eq=False)
class Problem:
    """What is minimised: the error of a sampler as a function of its step ends."""

    reverse: Reverse
    sampler: Sampler
    n: int
    grid: Grid
    start: Law
    t_min: float
    weight: WeightLike
    distance: Distance | None
    free: Free | None
    tried: list[int]
    frame: Frame | None = None

    @classmethod
    def of(
        cls, reverse: Reverse, sampler: Method, n: int, start: Law | None, t_min: float | None,
        *, grid: Grid | None = None, weight: WeightLike = None, distance: Distance | None = None,
        free: Free | None = None, **options: Any,
    ) -> Problem:  # fmt: skip
        _checks.instances(reverse=(reverse, Reverse))
        made = samplers.get(sampler, **options)
        _require_free(made, free)
        count = _checks.integer("n", n, minimum=2)
        begin = reverse.process.prior(reverse.dim) if start is None else start
        _checks.instances(start=(begin, Law))
        last = 1e-3 * reverse.horizon if t_min is None else _checks.positive("t_min", t_min)
        if not last < reverse.horizon:
            raise _checks.error("t_min", f"a time below T = {_checks.digits(reverse.horizon)}", _checks.digits(last))
        picture = choose_frame(reverse, "auto", grid, last)
        cells = _grid(reverse, begin, last, picture) if grid is None else grid
        _checks.instances(grid=(cells, Grid))
        if distance is not None and not callable(distance):
            remedy = "take one of fpsolve.distances"
            raise _checks.error("distance", "a function of two densities, or None", _checks.shown(distance), remedy)
        return cls(reverse, made, count, cells, begin, last, weight, distance, free, [0], picture)

    def cells(self, grid: Grid, t: float) -> Grid:
        """The cells in x at time t of a grid, which is in z where there is a frame."""
        return grid if self.frame is None else self.frame.grid(t, grid)

    @property
    def own_noise(self) -> float:
        """eta^2, or churn over the number of steps, of the sampler as it is."""
        if self.free == "churn":
            edm: Any = self.sampler
            churn = edm.churn
            own = churn(self.reverse.horizon) if callable(churn) else churn
            return min(float(own) / self.n, MOST_NOISE["churn"])
        eta = self.sampler.eta
        return min(float(self.reverse.eta_at(self.reverse.horizon) if eta is None else eta) ** 2, MOST_NOISE["eta"])

    def noisy(self, logs: Array, share: float) -> Array:
        """Variables that begin with a share of noise in every step."""
        shares, size = np.full(self.n, share), len(logs) + self.n
        return np.append(logs, [min(s, self._most_noise(len(logs) + k, size)) for k, s in enumerate(shares)])

    def read(self, z: Array) -> tuple[Array, Array | None]:
        """Step ends, and eta or churn of every step where z goes on with their shares."""
        if len(z) < 2 * self.n:
            return self.times(z), None
        shares = z[-self.n :]
        return self.times(z[: -self.n]), np.sqrt(shares) if self.free == "eta" else self.n * shares

    def with_noise(self, times: Array, noise: Array | None) -> tuple[Reverse, Sampler]:
        """The dynamics and the sampler with these values of eta or churn, step by step."""
        if noise is None:
            return self.reverse, self.sampler
        own: Any = self.sampler
        values = PerStep(tuple(times.tolist()), tuple(noise.tolist()))
        if self.free == "churn":
            return self.reverse, replace(own, churn=values, steps=self.n)
        model = Reverse(self.reverse.target, self.reverse.process, self.reverse.score_model, values)
        return model, _led(own)

    def run(self, times: Array, noise: Array | None) -> Composed:
        """All steps as one."""
        if noise is None:
            return Composed(samplers.steps(self.sampler, self.reverse, times))
        own: Any = _led(self.sampler) if self.free == "eta" else self.sampler.in_steps(self.n)
        parts = []
        for value, (start, end) in zip(noise.tolist(), pairwise(times.tolist()), strict=True):
            told = own if self.free == "eta" else replace(own, churn=value)
            parts.append(samplers.step(told, self.reverse.process, value, start, end))
        return Composed(tuple(parts))

    def candidates(self) -> dict[str, Array]:
        """Step ends of the named grids between the same ends, the best first."""
        _memory.count("n", self.n, STEP_BYTES, "take fewer steps", seconds=STEP_SECONDS)
        process, ends = self.reverse.process, {"t_min": self.t_min}
        made: dict[str, Array] = {"uniform": grids.uniform(self.n, process, **ends)}
        # those of noise levels begin where there is a signal
        first = process.T if process.scale(0.0, process.T) > 0.0 else process.T * (1.0 - 1e-3)
        for name in ("karras", "exponential", "log_snr"):
            made[name] = getattr(grids, name)(self.n, process, t_max=first, **ends)
        for name in ("leading", "trailing", "linspace"):
            times = getattr(grids, name)(self.n, process)
            # the last level may be the last time itself
            times = times if times[-2] > self.t_min * (1.0 + 1e-9) else getattr(grids, name)(self.n + 1, process)[:-1]
            # tables end near 0: with many steps and a late t_min they go past it
            if times[-2] > self.t_min:
                made[name] = np.append(times[:-1], self.t_min)
        errors = {name: self.error(times) for name, times in made.items()}
        return {name: made[name] for name in sorted(errors, key=lambda name: errors[name])}

    def logs(self, times: Array) -> Array:
        """Logarithms of the steps in the clock; where they begin below T, that of what is left out before them."""
        before = [self.reverse.horizon] if times[0] < self.reverse.horizon else []
        clock = self.reverse.clock(np.concatenate([before, times[:-1], [self.t_min]]))
        return np.asarray(np.log(np.maximum(np.abs(np.diff(clock)), 1e-3 * abs(clock[-1] - clock[0]) / self.n)))

    def halved(self, times: Array) -> Array:
        """Step ends of fewer steps with the largest in the clock halved, until there are enough."""
        ends = self.reverse.clock(times)
        while len(ends) <= self.n:
            k = int(np.argmax(np.abs(np.diff(ends))))
            ends = np.insert(ends, k + 1, 0.5 * (ends[k] + ends[k + 1]))
        return np.concatenate([times[:1], self.reverse.clock_inverse(ends[1:-1]), times[-1:]])

    def own_logs(self, begin: ArrayLike) -> Array:
        """The logarithms of a step grid of the user's own; refuse another number of steps or another end."""
        times = _times.decreasing("begin", begin, self.reverse.horizon)
        if len(times) != self.n + 1 or not np.isclose(times[-1], self.t_min, rtol=1e-9, atol=0.0):
            expected = f"{self.n + 1} times that end at t_min = {_checks.digits(self.t_min)}"
            got = f"{len(times)} that end at {_checks.digits(times[-1])}"
            raise _checks.error("begin", expected, got, "give n and t_min of that step grid")
        return self.logs(times)

    def times(self, logs: Array) -> Array:
        """Step ends whose steps in the clock are in the ratio of ``exp(logs)``; one more begins after its first."""
        shares = np.exp(logs - logs.max())
        begin, end = self.reverse.clock(np.array([self.reverse.horizon, self.t_min]))
        ends = begin + (end - begin) * np.cumsum(shares)[:-1] / shares.sum()
        whole = np.concatenate([[self.reverse.horizon], self.reverse.clock_inverse(ends), [self.t_min]])
        return np.asarray(whole[len(whole) - self.n - 1 :])

    def measured(self, times: Array, noise: Array | None = None) -> xr.Dataset:
        """Distance and error bar of the sampler's law on these times, on finer cells than it is minimised on.

        The bar is that of the norm, what the law on half as many cells differs by, mass that leaves the box, and
        what is finer than cells.
        """
        cells = self.grid.refine()
        (coarse, *_), (fine, lost, within) = self._law(times, noise, self.grid), self._law(times, noise, cells)
        ends = self.cells(cells, self.t_min)
        within += self._within(ends.cell_average(self.reverse.marginal(self.t_min)), ends)
        found, rough = self._distance(fine, times), self._distance(coarse, times)
        gap = 2.0 * abs(float(found.distance - rough.distance))
        v = self._right[1]
        if self.distance is None:
            ends = self.cells(self.grid, self.t_min)
            gap = float((v * np.abs(ends.refine().restrict(fine.values) - coarse.values)).sum() * ends.volume)
        beyond = np.inf if lost > LOST else BEYOND * float(np.max(v)) * lost
        reason = {"reason": f"{lost:.2g} of the sampler's law leaves the box: widen the grid"} if lost > LOST else {}
        if self.distance is not None and within > 0.0:
            # weighted mass has no known worth in another distance
            within, reason = np.inf, {"reason": "laws are finer than the cells: refine the grid"} | reason
        found = found.assign(error=found.error + gap + beyond + within)
        return found.assign_attrs(reason)

    def _within(self, law: Array, cells: Grid) -> float:
        """V-weighted size of what is finer than cells."""
        return unresolved(law, evaluate(self.weight, cells)) * cells.volume

    def _law(self, times: Array, noise: Array | None, grid: Grid) -> tuple[xr.DataArray, float, float]:
        """The sampler's law on the cells of a grid, the mass that it lost on the way, and the most finer than cells."""
        made = self.run(times, noise)
        cells = self.cells(grid, self.reverse.horizon)
        law = cells.cell_average(self.start)
        lost, within = abs(1.0 - float(law.sum() * cells.volume)), self._within(law, cells)
        for step in [made] if made.deterministic else made.parts:
            ends = self.cells(grid, step.t_to)
            part = kernels.sampler_operator(step, self.reverse, cells, step.t_from, step.t_to, to_grid=ends)
            lost += float(part.defects @ np.abs(law.ravel()) * cells.volume)
            law, cells = part.push(law), ends
            within = max(within, self._within(law, cells))
        return self._labelled(law, cells), lost, within

    def _labelled(self, values: Array, grid: Grid) -> xr.DataArray:
        names = ("x", "y")[: grid.dim]
        return xr.DataArray(values, coords=dict(zip(names, grid.axes, strict=True)), dims=names)

    def _distance(self, law: xr.DataArray, times: Array) -> xr.Dataset:
        grid = self.grid if law.shape == self.grid.shape else self.grid.refine()
        ends = self.cells(grid, float(times[-1]))
        right = self._labelled(ends.cell_average(self.reverse.marginal(float(times[-1]))), ends)
        own = partial(weighted_tv, weight=self.weight) if self.distance is None else self.distance
        return own(law, right)

    def error(self, times: Array, noise: Array | None = None) -> float:
        """The distance alone; maps that fold the line are compared with the others, and warned of only at the end."""
        self.tried[0] += 1
        quick = self._by_images(times, noise)
        if quick is not None:
            return quick
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            law = self._law(times, noise, self.grid)[0]
            if self.distance is not None:
                return float(self._distance(law, times).distance)
            right, v = self._right
            return float((v * np.abs(law.values - right)).sum() * self.cells(self.grid, self.t_min).volume)

    def compared(self, candidates: dict[str, Array]) -> dict[str, Measured]:
        """Their errors, measured as that of the design is; the best first."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            found = {name: self.measured(times) for name, times in candidates.items()}
        errors = {name: Measured(float(one.distance), float(one.error)) for name, one in found.items()}
        return {name: errors[name] for name in sorted(errors, key=lambda name: errors[name])}

    def _by_images(self, times: Array, noise: Array | None) -> float | None:
        """Weighted total variation of a run that is a map of the line, from the images of faces.

        Between two of them the mass of the start is spread evenly, also where the map folds; None for other runs.
        """
        if self.grid.dim == 2 or self.distance is not None:
            return None
        made = self.run(times, noise)
        known = self._masses
        if not made.deterministic or known is None:
            return None
        images = made.move(self.reverse.score, self._faces[0])
        low, high = np.minimum(images[1:], images[:-1]), np.maximum(images[1:], images[:-1])
        density = known[0] / np.maximum(high - low, np.finfo(float).tiny)
        ends, changes = np.concatenate([low, high]), np.concatenate([density, -density])
        order = np.argsort(ends)
        ends, heights = ends[order], np.cumsum(changes[order])
        below = np.append(0.0, np.cumsum(heights[:-1] * np.diff(ends)))
        mine = np.interp(self._faces[1], ends, below)
        parts = np.concatenate([mine[:1], np.diff(mine), below[-1:] - mine[-1:]])
        return float(known[2] @ np.abs(parts - known[1]))

    @cached_property
    def _right(self) -> tuple[Array, Array]:
        """p_{t_min} and V on the cells."""
        cells = self.cells(self.grid, self.t_min)
        return np.asarray(cells.cell_average(self.reverse.marginal(self.t_min))), evaluate(self.weight, cells)

    @cached_property
    def _faces(self) -> tuple[Array, Array]:
        """Fine faces at T and at t_min."""
        ends = (self.cells(self.grid, t).bounds[0] for t in (self.reverse.horizon, self.t_min))
        first, last = (np.linspace(low, high, FINER * self.grid.shape[0] + 1) for low, high in ends)
        return first, last

    @cached_property
    def _masses(self) -> tuple[Array, Array, Array] | None:
        """Masses of the start between faces; of p_{t_min} there and beyond either end, with V; None if unknown."""
        first, faces = self._faces
        last = self.reverse.marginal(self.t_min)
        mine, right = self.start.cell_probabilities(first), last.cell_probabilities([-np.inf, *faces, np.inf])
        if mine is None or right is None:
            return None
        middles = np.concatenate([faces[:1], 0.5 * (faces[1:] + faces[:-1]), faces[-1:]])
        return mine, right, evaluate(self.weight, middles, 1)

    def descend(self, begin: Array, most: int) -> tuple[float, Array]:
        """The least error from here on, and where: logarithms of steps, and shares of noise where it begins with."""
        from scipy.optimize import minimize

        logs = begin[: len(begin) - self.n] if len(begin) >= 2 * self.n else begin
        middle = float(logs.mean())
        ends = [(min(z, middle - UNEVEN), max(z, middle + UNEVEN)) for z in logs]
        found = minimize(
            lambda z: np.log(self.error(*self.read(z))), begin, method="L-BFGS-B",
            bounds=ends + [(0.0, self._most_noise(k, len(begin))) for k in range(len(logs), len(begin))],
            options={"maxfun": most, "ftol": 1e-9, "gtol": 1e-4, "eps": NUDGE},
        )  # fmt: skip
        return float(found.fun), np.asarray(found.x)

    def _most_noise(self, k: int, size: int) -> float:
        """Largest share of noise z[k] of so many variables: above T no score is asked, so there is no churn from T."""
        from_T = k == self.n and size == 2 * self.n
        return 0.0 if self.free == "churn" and from_T else MOST_NOISE[self.free]

    def stationarity(self, z: Array) -> float:
        """Largest derivative of the logarithm of the error by that of a step, or by a share of noise in its range."""
        worst, noisy = 0.0, len(z) - self.n if len(z) >= 2 * self.n else len(z)
        for k, nudge in enumerate(NUDGE * np.eye(len(z))):
            most = self._most_noise(k, len(z)) if k >= noisy else np.inf
            if most == 0.0:
                continue
            at_low, at_high = k >= noisy and z[k] < NUDGE, z[k] > most - NUDGE
            ends = z if at_high else z + nudge, z if at_low else z - nudge
            up, down = (np.log(self.error(*self.read(end))) for end in ends)
            slope = float(up - down) / (NUDGE if at_low or at_high else 2.0 * NUDGE)
            worst = max(worst, max(-slope, 0.0) if at_low else max(slope, 0.0) if at_high else abs(slope))
        return worst


def _led(sampler: Any) -> Sampler:
    """The sampler with the eta of the dynamics in place of its own."""
    led: Sampler = replace(sampler, eta=None) if sampler.eta is not None else sampler
    return led


def _require_free(sampler: Sampler, free: Free | None) -> None:
    """Refuse noise to be free where the sampler has none of the kind."""
    if free is None:
        return
    _checks.one_of("free", free, ("eta", "churn"), "or None: the times alone")
    known = signature(type(sampler)).parameters
    if free not in known and not (free == "eta" and sampler.eta is None):
        having = [name for name, kind in samplers.SAMPLERS.items() if free in signature(kind).parameters]
        raise _checks.error("free", f"a sampler with {free}: {', '.join(having)}", repr(sampler.name))


def _grid(reverse: Reverse, start: Law, t_min: float, picture: Frame | None) -> Grid:
    """Cells around the start and every law along the way, in z of a frame."""
    times = np.geomspace(t_min, reverse.horizon, 9)
    laws = [(reverse.horizon, start), *((t, reverse.marginal(float(t))) for t in times)]
    means = np.stack([np.atleast_1d(law.mean) for _, law in laws])
    reach = REACH * np.sqrt(np.stack([np.diagonal(np.atleast_2d(law.cov)) for _, law in laws]))
    if picture is not None:
        scales = np.stack([picture.scale(t) for t, _ in laws])
        means, reach = (means - np.stack([picture.center(t) for t, _ in laws])) / scales, reach / scales
    box = list(zip((means - reach).min(axis=0).tolist(), (means + reach).max(axis=0).tolist(), strict=True))
    return Grid.uniform(box[0] if reverse.dim == 1 else box, cells=CELLS if reverse.dim == 1 else 48)
