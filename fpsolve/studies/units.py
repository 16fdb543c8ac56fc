"""How studies look at processes: in their own units, by their own clock, so that what suits one suits all.

In its own units every process is the Ornstein-Uhlenbeck process on the clock ``tau = log(1 + sigma^2/alpha^2)/2``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fpsolve._checks import FloatArray
from fpsolve.processes import OwnUnits, Process
from fpsolve.samplers import Composed, GaussianStep, MapStep, Sampler, Score, Step

#: Where nothing of the data is left at T, processes end at this noise level ``sigma/alpha``, about that of VP.
LAST_LEVEL = 150.0
#: Nodes of the clock's table.
NODES = 20_001
#: How to read lengths and weights.
NOTE = (
    "Lengths at time t are in units of sqrt(alpha(t)^2 + sigma(t)^2), the standard deviation at t of data of standard "
    "deviation 1, and so are V, boxes, starts and score errors; total variation does not depend on them."
)


def own_units(process: Process) -> Process:
    """Return a process as studies look at it: in its own units, and ending where something is left of the data.

    Examples
    --------
    >>> import fpsolve as fp
    >>> own_units(fp.VP()), own_units(fp.EDM())
    (VP(beta_min=0.1, beta_max=20.0, T=1.0, sigma=1.0, curvature=0.0), OwnUnits(process=EDM(...), T=80.0))
    """
    if process.plain is not process:
        return process
    high = float(process.T)
    if process.scale(0.0, high) == 0.0:
        high = time_at(process, LAST_LEVEL)
    t = high * np.array([0.01, 0.1, 0.5, 1.0])
    lengths = np.square(process.scale(0.0, t)) + process.variance(0.0, t)
    # in its own units already
    return process if high == process.T and np.abs(lengths - 1.0).max() < 1e-9 else OwnUnits(process, high)


def time_at(process: Process, level: float) -> float:
    """Return the time of a noise level, to six digits; T where it is not reached.

    Examples
    --------
    >>> import fpsolve as fp
    >>> time_at(fp.EDM(), 3.0), time_at(fp.EDM(), 100.0)
    (3.0, 80.0)
    """
    low, high = 0.0, float(process.T)
    if process.scale(0.0, high) > 0.0 and _level(process, high) <= level:
        return high
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if _level(process, middle) > level else (middle, high)
    return float(f"{low:.6g}")


def _level(process: Process, t: Any) -> Any:
    return np.sqrt(process.variance(0.0, t)) / process.scale(0.0, t)


def level_time(old: Process, new: Process) -> Callable[[float], float]:
    """Return the map from times of one process to those of the same ``sigma/alpha`` of another, the ends kept.

    Examples
    --------
    >>> import fpsolve as fp
    >>> level_time(fp.VP(), fp.EDM())(1.0)
    80.0
    """

    nodes = np.geomspace(1e-6, 1.0, 20_001) * new.T
    levels = _level(new, nodes)

    def mapped(t: float) -> float:
        if t in (0.0, old.T):
            return new.T if t else 0.0
        # four digits: nobody reads more, and the same level may be the end itself
        return float(f"{np.interp(_level(old, t), levels, nodes):.4g}")

    return mapped


def called(process: Process) -> str:
    """Return the name of a process.

    Examples
    --------
    >>> import fpsolve as fp
    >>> called(own_units(fp.EDM()))
    'EDM'
    """
    return type(process.plain).__name__


def by_clock(process: Process, t_min: float, shares: ArrayLike, *, offset: float = np.inf) -> FloatArray:
    """Return times from T (share 0) to t_min (share 1), even in tau, or in log(tau + offset).

    Examples
    --------
    >>> import fpsolve as fp
    >>> by_clock(fp.OrnsteinUhlenbeck(T=3.0), 1.0, [0.0, 0.5, 1.0]).round(6).tolist()
    [3.0, 2.0, 1.0]
    """
    nodes = np.unique(np.r_[np.geomspace(t_min, process.T, NODES), np.linspace(t_min, process.T, NODES)])
    tau = 0.5 * np.log1p(np.square(_level(process, nodes)))
    clock = tau if np.isinf(offset) else np.log(tau + offset)
    share = np.asarray(shares, dtype=np.float64)
    times = np.interp(clock[-1] + share * (clock[0] - clock[-1]), clock, nodes)
    return np.where(share == 0.0, process.T, np.where(share == 1.0, t_min, times))


def seen(sampler: Sampler, process: Process) -> Sampler:
    """Return a sampler whose steps are those of the process itself, looked at in its own units.

    Multistep methods are written in data and noise levels, which are the same in all units.
    """
    return sampler if process.plain is process or sampler.memory else InOwnUnits(sampler)


class InOwnUnits(Sampler):
    """Steps of a sampler in x, as steps in ``y = x/c(t)``."""

    def __init__(self, sampler: Sampler) -> None:
        self.sampler = sampler
        # of the object, not of the class
        for name in ("name", "order", "evaluations", "from_noise"):
            setattr(self, name, getattr(sampler, name))

    @property
    def eta(self) -> float | None:
        """That of the sampler."""
        return self.sampler.eta

    @property
    def deterministic(self) -> bool:
        """That of the sampler."""
        return self.sampler.deterministic

    def in_steps(self, n: int) -> Sampler:
        """Return the sampler for a run of n steps."""
        return InOwnUnits(self.sampler.in_steps(n))

    def step(self, process: Process, eta: float, t_from: float, t_to: float) -> Step:
        """Return the step, see `Sampler.step`."""
        return _looked_at(self.sampler.step(process.plain, eta, t_from, t_to), process)


def _looked_at(made: Step, process: Any) -> Step:
    """A step in x as one in ``y = x/c(t)``."""
    if isinstance(made, Composed):
        return Composed(tuple(_looked_at(part, process) for part in made.parts))
    longer = process if made.t_top <= process.T else process.longer(made.t_top)

    def unit(t: float) -> float:
        return float(longer.length(t))

    first, top, last = unit(made.t_from), unit(made.t_top), unit(made.t_to)
    ends = made.t_from, made.t_to
    if isinstance(made, GaussianStep):
        return GaussianStep(*ends, made.linear * first / last, made.score / (first * last), made.std / last)

    def move(score: Score, y: FloatArray) -> FloatArray:
        return made.move(lambda t, x: score(t, x / unit(t)) / unit(t), top * y) / last

    return MapStep(
        *ends, move, made.t_top, scale_before=made.scale_before * first / top, std_before=made.std_before / top,
        std_after=made.std_after / last,
    )  # fmt: skip
