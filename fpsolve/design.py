"""Step grids designed for a target: the times at which a sampler's exact final error is least.

Nothing is estimated from samples: the law of the sampler after its n steps is computed by `fpsolve.kernels`, and its
distance to the law it should have is minimised over the n - 1 times in between.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from fpsolve import _checks, _times, kernels, samplers
from fpsolve._progress import progress as progress_bar
from fpsolve._status import Status
from fpsolve.distances import weighted_tv
from fpsolve.dynamics import Reverse
from fpsolve.grid import Grid
from fpsolve.laws import Law
from fpsolve.samplers import Composed, Method, Sampler, grids
from fpsolve.weights import WeightLike, evaluate

__all__ = ["Design", "error", "named", "steps"]

Array = NDArray[np.float64]
Distance = Callable[[xr.DataArray, xr.DataArray], xr.Dataset]

#: Cells of the grid unless one is given, and how many standard deviations of every law along the way it holds.
CELLS, REACH = 600, 8.0
#: Images of faces, per cell, by which a map of the line is known.
FINER = 3
#: Change of the logarithm of a step by which derivatives are taken.
NUDGE = 1e-4
#: Logarithm of how much longer or shorter than the mean a step may become.
UNEVEN = 5.0
#: Times of named grids that many optimisations begin at.
BEGINNINGS = 3


@dataclass(frozen=True, eq=False)
class Design:
    """A step grid, its error, and what it is better than.

    Attributes
    ----------
    reverse : Reverse
    sampler : Sampler
    times : array, shape (n + 1,)
        Decreasing forward times.
    error, error_bar : float
        Distance of the sampler's law at the last time to p_t there, and what the cells make uncertain of it.
    named : dict of str to float
        Errors of named step grids with as many steps, measured on the same cells; "leading" begins below T.
    stationarity : float
        Largest ``|d log error / d log step|`` at `times`, by central differences: 0 at a smooth minimum.
    tried : int
        Step grids that were tried.
    seconds : float
        Of the processor.
    """

    status: ClassVar[Status] = "estimated"

    reverse: Reverse
    sampler: Sampler
    times: Array
    error: float
    error_bar: float
    named: dict[str, float]
    stationarity: float
    tried: int
    seconds: float

    @property
    def evaluations(self) -> int:
        """Score evaluations of a run on `times`."""
        return int(self.sampler.evaluations * (len(self.times) - 1))

    @property
    def sigmas(self) -> Array:
        """Noise levels ``s/alpha`` at the times, decreasing: what k-diffusion and diffusers' `sigmas` take."""
        alpha = self.reverse.process.scale(0.0, self.times)
        if not np.all(alpha > 0.0):
            raise _checks.error("times", "alpha > 0 at all of them", "alpha = 0 at T", "noise levels are infinite")
        return np.asarray(np.sqrt(self.reverse.process.variance(0.0, self.times)) / alpha)

    @property
    def timesteps(self) -> NDArray[np.int64]:
        """Integer timesteps of a table nearest to the times but the last, decreasing: diffusers' `timesteps`.

        On these the error is another one, see `fpsolve.design.error`. ValueError where two times share one.
        """
        table = getattr(self.reverse.process, "timestep_of", None)
        if table is None:
            got = type(self.reverse.process).__name__
            raise _checks.error("process", "a table with integer timesteps, FromAlphasCumprod", got, "use sigmas")
        found = np.asarray(np.rint(table(self.times[:-1])), dtype=np.int64)
        if not np.all(found[1:] < found[:-1]):
            raise _checks.error("times", "at least a timestep apart", f"timesteps {found.tolist()}", "take fewer steps")
        return found


def error(
    reverse: Reverse,
    sampler: Method,
    times: ArrayLike,
    *,
    start: Law | None = None,
    grid: Grid | None = None,
    weight: WeightLike = None,
    distance: Distance | None = None,
    **options: Any,
) -> xr.Dataset:
    """Return the final error of a sampler on times of one's own, such as those of a scheduler's integer timesteps.

    Parameters
    ----------
    reverse, sampler, start, grid, weight, distance, **options
        As in `steps`.
    times : array, shape (n + 1,)
        Decreasing forward times in (0, T], n >= 2.

    Returns
    -------
    Dataset
        `distance` and `error`.

    Raises
    ------
    ValueError
        As in `steps`; times out of order or range.
    """
    _checks.instances(reverse=(reverse, Reverse))
    ends = _times.decreasing("times", times, reverse.horizon)
    chosen: dict[str, Any] = {"grid": grid, "weight": weight, "distance": distance}
    return _Problem.of(reverse, sampler, len(ends) - 1, start, float(ends[-1]), **chosen, **options).measured(ends)


def named(
    reverse: Reverse, sampler: Method, n: int, *, start: Law | None = None, t_min: float | None = None, **options: Any
) -> dict[str, float]:
    """Return the final error of a sampler on every named step grid, see `fpsolve.samplers.grids`.

    Parameters
    ----------
    reverse, sampler, n, start, t_min, **options
        As in `steps`.

    Returns
    -------
    dict of str to float
        By name, the best first; "karras" is that of rho = 7.
    """
    problem = _Problem.of(reverse, sampler, n, start, t_min, **options)
    return problem.compared(problem.candidates())


def steps(
    reverse: Reverse,
    sampler: Method,
    n: int,
    *,
    start: Law | None = None,
    t_min: float | None = None,
    grid: Grid | None = None,
    weight: WeightLike = None,
    distance: Distance | None = None,
    most: int = 20_000,
    progress: bool | None = None,
    **options: Any,
) -> Design:
    r"""Return the step grid of n steps on which a sampler's final error is least.

    .. math:: \min_{T \ge t_0 > t_1 > \dots > t_n = t_{min}} d(\nu K_1 \cdots K_n, p_{t_{min}})

    with the sampler's kernels K_k and start nu: the sampler's own law, neither a bound nor samples. Minimised over the
    logarithms of the steps in the clock of the dynamics by L-BFGS from the best named grids; the first time is T, or
    free where such a grid begins below T ("leading").

    Parameters
    ----------
    reverse : Reverse
        Target (a law, or your data as a kernel density), process, score. A score with errors is designed for as it is.
    sampler : str or Sampler
        One of `fpsolve.samplers.names`, with its **options, or your own.
    n : int
        Steps >= 2; a step of Heun or EDM asks the score twice (`Design.evaluations`).
    start : Law, optional
        nu, default the prior of the process.
    t_min : float, optional
        Last time > 0, default T/1000.
    grid : Grid, optional
        Cells on which laws are known, in x. Default 600 (48 per axis in 2D) on 8 standard deviations of all laws.
    weight : optional
        V of the weighted total variation, default ``1 + |x|^2``.
    distance : callable, optional
        ``distance(q, p)`` of two DataArrays of cell averages, as in `fpsolve.distances`, in its place.
    most : int
        Step grids to be tried at most.

    Returns
    -------
    Design

    Raises
    ------
    ValueError
        Arguments out of range; what `fpsolve.kernels.sampler_operator` refuses.

    Notes
    -----
    A local minimum: what is said is that it is better than the named grids, and how flat it is there.

    Examples
    --------
    >>> import fpsolve as fp
    >>> target = fp.GaussianMixture([0.4, 0.6], [-1.0, 1.0], stds=[0.3, 0.2])
    >>> found = steps(fp.Reverse(target, fp.VP(), eta=0.0), "ddim", 5)
    >>> found.error < 0.8 * min(found.named.values())
    True
    """
    began, most = time.process_time(), _checks.integer("most", most, minimum=1)
    problem = _Problem.of(reverse, sampler, n, start, t_min, grid=grid, weight=weight, distance=distance, **options)
    candidates = problem.candidates()
    with progress_bar(BEGINNINGS, f"{n} steps of {problem.sampler.name}", enabled=progress) as bar:
        best = np.inf, np.empty(0)
        for name in list(candidates)[:BEGINNINGS]:
            best = min(best, problem.descend(problem.logs(candidates[name]), most // BEGINNINGS), key=lambda b: b[0])
            bar.update(1)
    times = problem.times(best[1])
    found, errors = problem.measured(times), problem.compared(candidates)
    flat, tried = problem.stationarity(best[1]), problem.tried[0]
    seconds = time.process_time() - began
    return Design(
        reverse, problem.sampler, times, float(found.distance), float(found.error), errors, flat, tried, seconds
    )


@dataclass(frozen=True, eq=False)
class _Problem:
    """What is minimised: the error of a sampler as a function of its step ends."""

    reverse: Reverse
    sampler: Sampler
    n: int
    grid: Grid
    start: Law
    t_min: float
    weight: WeightLike
    distance: Distance | None
    tried: list[int]

    @classmethod
    def of(
        cls, reverse: Reverse, sampler: Method, n: int, start: Law | None, t_min: float | None,
        *, grid: Grid | None = None, weight: WeightLike = None, distance: Distance | None = None, **options: Any,
    ) -> _Problem:  # fmt: skip
        _checks.instances(reverse=(reverse, Reverse))
        made = samplers.get(sampler, **options)
        count = _checks.integer("n", n, minimum=2)
        begin = reverse.process.prior(reverse.dim) if start is None else start
        _checks.instances(start=(begin, Law))
        last = 1e-3 * reverse.horizon if t_min is None else _checks.positive("t_min", t_min)
        if not last < reverse.horizon:
            raise _checks.error("t_min", f"a time below T = {_checks.digits(reverse.horizon)}", _checks.digits(last))
        cells = _grid(reverse, begin, last) if grid is None else grid
        _checks.instances(grid=(cells, Grid))
        if distance is not None and not callable(distance):
            remedy = "take one of fpsolve.distances"
            raise _checks.error("distance", "a function of two densities, or None", _checks.shown(distance), remedy)
        return cls(reverse, made, count, cells, begin, last, weight, distance, [0])

    def candidates(self) -> dict[str, Array]:
        """Step ends of the named grids between the same ends, the best first."""
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
            made[name] = np.append(times[:-1], self.t_min)
        errors = {name: self.error(times) for name, times in made.items()}
        return {name: made[name] for name in sorted(errors, key=lambda name: errors[name])}

    def logs(self, times: Array) -> Array:
        """Logarithms of the steps in the clock; where they begin below T, that of what is left out before them."""
        before = [self.reverse.horizon] if times[0] < self.reverse.horizon else []
        clock = self.reverse.clock(np.concatenate([before, times[:-1], [self.t_min]]))
        return np.asarray(np.log(np.maximum(np.abs(np.diff(clock)), 1e-3 * abs(clock[-1] - clock[0]) / self.n)))

    def times(self, logs: Array) -> Array:
        """Step ends whose steps in the clock are in the ratio of ``exp(logs)``; one more begins after its first."""
        shares = np.exp(logs - logs.max())
        begin, end = self.reverse.clock(np.array([self.reverse.horizon, self.t_min]))
        ends = begin + (end - begin) * np.cumsum(shares)[:-1] / shares.sum()
        whole = np.concatenate([[self.reverse.horizon], self.reverse.clock_inverse(ends), [self.t_min]])
        return np.asarray(whole[len(whole) - self.n - 1 :])

    def measured(self, times: Array, grid: Grid | None = None) -> xr.Dataset:
        """Distance and error bar of the sampler's law on these times, on a line on finer cells unless told."""
        finer = self.grid.refine() if self.grid.dim == 1 else self.grid
        grid = finer if grid is None else grid
        operator = kernels.sampler_operator(self.sampler, self.reverse, grid, times[0], times[-1], times=times)
        law = operator.push(grid.cell_average(self.start))
        names = ("x", "y")[: grid.dim]
        labels = dict(zip(names, grid.axes, strict=True))
        right = grid.cell_average(self.reverse.marginal(float(times[-1])))
        own = partial(weighted_tv, weight=self.weight) if self.distance is None else self.distance
        both = [xr.DataArray(values, coords=labels, dims=names) for values in (law, right)]
        return own(*both)

    def error(self, times: Array) -> float:
        """The distance alone; maps that fold the line are compared with the others, and warned of only at the end."""
        self.tried[0] += 1
        quick = self._by_images(times)
        if quick is not None:
            return quick
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return float(self.measured(times, self.grid).distance)

    def compared(self, candidates: dict[str, Array]) -> dict[str, float]:
        """Their errors, measured as that of the design is; the best first."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            errors = {name: float(self.measured(times).distance) for name, times in candidates.items()}
        return {name: errors[name] for name in sorted(errors, key=lambda name: errors[name])}

    def _by_images(self, times: Array) -> float | None:
        """Weighted total variation of a run that is a map of the line, from the images of faces.

        Between two of them the mass of the start is spread evenly, also where the map folds; None for other runs.
        """
        if self.grid.dim == 2 or self.distance is not None:
            return None
        made = Composed(samplers.steps(self.sampler, self.reverse, times))
        known = self._masses
        if not made.deterministic or known is None:
            return None
        images = made.move(self.reverse.score, self._faces)
        low, high = np.minimum(images[1:], images[:-1]), np.maximum(images[1:], images[:-1])
        density = known[0] / np.maximum(high - low, np.finfo(float).tiny)
        ends, changes = np.concatenate([low, high]), np.concatenate([density, -density])
        order = np.argsort(ends)
        ends, heights = ends[order], np.cumsum(changes[order])
        below = np.append(0.0, np.cumsum(heights[:-1] * np.diff(ends)))
        mine = np.interp(self._faces, ends, below)
        parts = np.concatenate([mine[:1], np.diff(mine), below[-1:] - mine[-1:]])
        return float(known[2] @ np.abs(parts - known[1]))

    @cached_property
    def _faces(self) -> Array:
        return np.linspace(*self.grid.bounds[0], FINER * self.grid.shape[0] + 1)

    @cached_property
    def _masses(self) -> tuple[Array, Array, Array] | None:
        """Masses of the start between faces; of p_{t_min} there and beyond either end, with V; None if unknown."""
        faces = self._faces
        last = self.reverse.marginal(self.t_min)
        mine, right = self.start.cell_probabilities(faces), last.cell_probabilities([-np.inf, *faces, np.inf])
        if mine is None or right is None:
            return None
        middles = np.concatenate([faces[:1], 0.5 * (faces[1:] + faces[:-1]), faces[-1:]])
        return mine, right, evaluate(self.weight, middles, 1)

    def descend(self, logs: Array, most: int) -> tuple[float, Array]:
        """The least error from here on, and the logarithms of its steps."""
        from scipy.optimize import minimize

        middle = float(logs.mean())
        found = minimize(
            lambda z: np.log(self.error(self.times(z))), logs, method="L-BFGS-B",
            bounds=[(min(z, middle - UNEVEN), max(z, middle + UNEVEN)) for z in logs],
            options={"maxfun": most, "ftol": 1e-9, "gtol": 1e-4, "eps": NUDGE},
        )  # fmt: skip
        return float(found.fun), np.asarray(found.x)

    def stationarity(self, logs: Array) -> float:
        """Largest derivative of the logarithm of the error by that of a step."""
        nudges = NUDGE * np.eye(len(logs))
        ups = [np.log(self.error(self.times(logs + nudge)) / self.error(self.times(logs - nudge))) for nudge in nudges]
        return float(np.max(np.abs(ups)) / (2.0 * NUDGE))


def _grid(reverse: Reverse, start: Law, t_min: float) -> Grid:
    """Cells around the start and every law along the way."""
    laws = [start, *(reverse.marginal(float(t)) for t in np.geomspace(t_min, reverse.horizon, 9))]
    means = np.stack([np.atleast_1d(law.mean) for law in laws])
    reach = REACH * np.sqrt(np.stack([np.diagonal(np.atleast_2d(law.cov)) for law in laws]))
    box = list(zip((means - reach).min(axis=0).tolist(), (means + reach).max(axis=0).tolist(), strict=True))
    return Grid.uniform(box[0] if reverse.dim == 1 else box, cells=CELLS if reverse.dim == 1 else 48)
