"""The public functions: what is designed, and what it is better than."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from fpsolve import _checks, _memory, _times
from fpsolve._messages import Status
from fpsolve._messages import progress as progress_bar
from fpsolve.design._problem import MOST_NOISE, TRY_SECONDS, Distance, Free, Measured, Problem
from fpsolve.dynamics import Reverse
from fpsolve.grid import Grid
from fpsolve.laws import Law
from fpsolve.samplers import Method, Sampler
from fpsolve.weights import WeightLike

Array = NDArray[np.float64]

#: Named grids that optimisations of few steps begin at; of more they begin at the best and at a design of half as many.
BEGINNINGS = 3
#: Steps at least that are begun from a design of half as many, and tries per step that it is worth.
FEWEST, WORTH = 4, 100
#: Share of the most noise that may be, with which noise is begun too.
SOME_NOISE = 0.25


@dataclass(frozen=True, eq=False)
class Design:
    """A step grid, its error, and what it is better than.

    Attributes
    ----------
    reverse : Reverse
    sampler : Sampler
        With the noise that was found, where it was free: an eta(t) of `reverse`, a churn(t) of the sampler.
    times : array, shape (n + 1,)
        Decreasing forward times.
    error, error_bar : float
        Distance of the sampler's law at the last time to p_t there, and what the cells make uncertain of it.
    named : dict of str to float
        Errors of named step grids with as many steps, measured on the same cells, each with its `bar`; "leading" begins
        below T, and tables that go below `t_min` are left out.
    stationarity : float
        Largest ``|d log error / d log step|`` at `times`, by central differences: 0 at a smooth minimum. Where noise is
        free also the derivatives by ``eta^2`` or ``churn/n``, but those that point out of their range.
    tried : int
        Step grids that were tried.
    seconds : float
        Of the processor.
    noise : array, shape (n,), or None
        eta or churn of every step, where it was free.
    """

    status: ClassVar[Status] = "estimated"

    reverse: Reverse
    sampler: Sampler
    times: Array
    error: float
    error_bar: float
    named: dict[str, Measured]
    stationarity: float
    tried: int
    seconds: float
    noise: Array | None = None

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


def _beginnings(problem: Problem, candidates: dict[str, Array], most: int) -> list[Array]:
    """The best named grids, or the best of them and a design of half as many steps, the largest halved.

    Few long steps are placed well from anywhere; what is best for them is near what is best for more.
    """
    named = [problem.logs(times) for times in candidates.values()]
    if problem.n < FEWEST or most < WORTH * problem.n:
        return named[:BEGINNINGS]
    fewer = replace(problem, n=(problem.n + 1) // 2)
    begun = _beginnings(fewer, fewer.candidates(), most // 4)
    _, logs = min((fewer.descend(one, most // len(begun)) for one in begun), key=lambda found: found[0])
    return [named[0], problem.logs(problem.halved(fewer.times(logs)))]


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
    return Problem.of(reverse, sampler, len(ends) - 1, start, float(ends[-1]), **chosen, **options).measured(ends)


def named(
    reverse: Reverse, sampler: Method, n: int, *, start: Law | None = None, t_min: float | None = None, **options: Any
) -> dict[str, Measured]:
    """Return the final error of a sampler on every named step grid, see `fpsolve.samplers.grids`.

    Parameters
    ----------
    reverse, sampler, n, start, t_min, **options
        As in `steps`.

    Returns
    -------
    dict of str to float
        By name, the best first; "karras" is that of rho = 7, and tables that go below `t_min` are left out. Every error
        has a `bar`: what the norm, half as many cells and mass beyond the box make uncertain of it.
    """
    problem = Problem.of(reverse, sampler, n, start, t_min, **options)
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
    free: Free | None = None,
    begin: ArrayLike | None = None,
    most: int = 20_000,
    progress: bool | None = None,
    **options: Any,
) -> Design:
    r"""Return the step grid of n steps on which a sampler's final error is least.

    .. math:: \min_{T \ge t_0 > t_1 > \dots > t_n = t_{min}} d(\nu K_1 \cdots K_n, p_{t_{min}})

    with the sampler's kernels K_k and start nu: the sampler's own law, neither a bound nor samples. Minimised over the
    logarithms of the steps in the clock of the dynamics by L-BFGS, from the best named grids and from what is best with
    half as many steps, the largest halved; the first time is T, or free where a grid begins below T ("leading").

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
    free : {"eta", "churn"}, optional
        What is minimised over too, step by step: eta in [0, 1] of samplers that have it, or the churn of "edm" (none
        in a step from T, above which no score is asked). A try then takes some milliseconds per step.
    begin : array, shape (n + 1,), optional
        A step grid of your own to begin from too, decreasing to `t_min`: what is found has at most its error.
    most : int
        Step grids to be tried, about: the named ones, the last derivatives and a design of half as many steps, with a
        quarter as many tries, come on top.

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
    chosen: dict[str, Any] = {"grid": grid, "weight": weight, "distance": distance, "free": free}
    problem = Problem.of(reverse, sampler, n, start, t_min, **chosen, **options)
    candidates = problem.candidates()
    shares: tuple[float, ...] = () if free is None else (problem.own_noise, SOME_NOISE * MOST_NOISE[free])
    own = [] if begin is None else [problem.own_logs(begin)]
    beginnings = _beginnings(problem, candidates, most // 4) + own
    # a derivative of each at least
    least = min(float(most), len(beginnings) * (problem.n + 2.0))
    _memory.say_if_long(f"a search over {problem.n} steps", TRY_SECONDS * problem.n * least)
    # half of the tries for the times alone
    each = most // len(beginnings) if free is None else most // (2 * len(beginnings))
    with progress_bar(len(beginnings) + len(shares), f"{n} steps of {problem.sampler.name}", enabled=progress) as bar:
        best = np.inf, np.empty(0)
        for logs in beginnings:
            best = min(best, problem.descend(logs, each), key=lambda b: b[0])
            bar.update(1)
        ends = [z if free is None else problem.noisy(z, shares[0]) for z in (best[1], *own)]
        # from the noise it has, and from some: eta = 0 may be a minimum of its own
        for share in shares:
            ends.append(problem.descend(problem.noisy(best[1], share), most // 4)[1])
            bar.update(1)
    found, z = min(((problem.measured(*problem.read(z)), z) for z in ends), key=lambda pair: float(pair[0].distance))
    (times, noise), errors = problem.read(z), problem.compared(candidates)
    flat, tried = problem.stationarity(z), problem.tried[0]
    reverse, method = problem.with_noise(times, noise)
    if "reason" in found.attrs:
        warnings.warn(f"The error bar is infinite: {found.attrs['reason']}.", stacklevel=2)
    seconds, value = time.process_time() - began, float(found.distance)
    return Design(reverse, method, times, value, float(found.error), errors, flat, tried, seconds, noise)
