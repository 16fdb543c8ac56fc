"""What a sampler and one step of it are, with the numbers apart from any loop: noise, a deterministic map, noise.

x -> c x + s0 Z -> H(c x + s0 Z) -> H(c x + s0 Z) + s1 Z'

Particles draw from a step, transition kernels take its map and standard deviations cell by cell: the formulas of a
method are written once, in its class. Runs of steps are steps: one that remembers earlier ones, and several as one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fpsolve import _checks
from fpsolve.processes import Process

Array = npt.NDArray[np.float64]
Score = Callable[[float, Array], Array]
Map = Callable[[Score, Array], Array]
#: What a multistep method remembers of the steps before; empty in the first.
Memory = tuple[Any, ...]


class Step(ABC):
    """One step of a sampler from forward time `t_from` down to `t_to`; `GaussianStep` and `MapStep` are made ready.

    Attributes
    ----------
    t_from, t_to : float
        Forward times, ``t_from > t_to``.
    t_top : float
        Where the map begins, after the noise before it: ``t_from`` without any.
    scale_before, std_before : float
        c and s0: what is done to x before the map (1 and 0 for most methods, the churn of EDM otherwise).
    std_after : float
        s1 >= 0, in units of x.
    deterministic : bool
        Whether the step adds no noise.
    """

    t_from: float
    t_to: float

    @property
    def t_top(self) -> float:
        """``t_from``: nothing happens before the map."""
        return self.t_from

    @property
    def scale_before(self) -> float:
        """1: nothing happens before the map."""
        return 1.0

    @property
    def std_before(self) -> float:
        """0: nothing happens before the map."""
        return 0.0

    @property
    def std_after(self) -> float:
        """0: no noise."""
        return 0.0

    @property
    def deterministic(self) -> bool:
        """Whether the step adds no noise."""
        return self.std_before == 0.0 == self.std_after

    @property
    def back(self) -> Map | None:
        """``back(score, x)``, the inverse of `move` on a line where the step knows it; None: it is solved for."""
        return None

    @abstractmethod
    def move(self, score: Score, x: Array) -> Array:
        """H(x): where the deterministic part of the step takes x, of the shape of x."""

    def draw(self, score: Score, x: Array, rng: np.random.Generator) -> Array:
        """Return one random move of every particle x, shape (n,) or (n, 2).

        Examples
        --------
        >>> step = GaussianStep(1.0, 0.9, linear=2.0, score=0.5, std=0.0)
        >>> step.draw(lambda t, x: -x, np.array([1.0, 2.0]), np.random.default_rng(0))
        array([1.5, 3. ])
        """
        if self.std_before > 0.0 or self.scale_before != 1.0:
            x = self.scale_before * x + self.std_before * rng.standard_normal(x.shape)
        moved = self.move(score, x)
        return moved + self.std_after * rng.standard_normal(x.shape) if self.std_after > 0.0 else moved

    def follow(self, score: Score, x: Array, memory: Memory) -> tuple[Array, Memory]:
        """Return where x goes without any noise, and what the next step of the run remembers."""
        return self.move(score, self.scale_before * x), memory

    def advance(self, score: Score, x: Array, rng: np.random.Generator, memory: Memory) -> tuple[Array, Memory]:
        """Return one random move of every particle, and what the next step of the run remembers."""
        return self.draw(score, x, rng), memory


@dataclass(frozen=True)
class GaussianStep(Step):
    """Transition ``x -> N(A x + B s(t_from, x), C^2 I)``, from forward time ``t_from`` down to ``t_to``.

    Parameters
    ----------
    t_from, t_to : float
        Forward times, ``t_from > t_to``; the score is taken at ``t_from``, the start of the step.
    linear : float
        ``A``, dimensionless.
    score : float
        ``B``, in units of x squared.
    std : float
        ``C >= 0``, in units of x.

    Examples
    --------
    >>> step = GaussianStep(1.0, 0.9, linear=2.0, score=0.5, std=0.1)
    >>> step.move(lambda t, x: -x, np.array([1.0])), step.deterministic
    (array([1.5]), False)
    """

    t_from: float
    t_to: float
    linear: float
    score: float
    std: float

    @property
    def std_after(self) -> float:
        """``C``."""
        return self.std

    def move(self, score: Score, x: Array) -> Array:
        """``A x + B s(t_from, x)``."""
        return np.asarray(self.linear * x + self.score * score(self.t_from, x), dtype=np.float64)

    def draw(self, score: Score, x: Array, rng: np.random.Generator) -> Array:
        """Return ``A x + B s + C Z``; Z is drawn where C is 0 too, so that later draws are not those of another eta."""
        moved = self.move(score, x)
        moved += self.std * rng.standard_normal(x.shape)
        return moved


@dataclass(frozen=True)
class MapStep(Step):
    """A step by any map ``function(score, x)``, with noise before it, after it, on both sides or none.

    Parameters
    ----------
    t_from, t_to : float
        Forward times, ``t_from > t_to``.
    function : callable ``function(score, x)``
        H, of the shape of x; it asks ``score(t, x)`` where and as often as it needs.
    top : float, optional
        Forward time from which H goes down, where noise comes first; default ``t_from``.
    scale_before, std_before, std_after : float
        c, s0 and s1; default 1, 0 and 0.
    back : callable ``back(score, x)``, optional
        The inverse of H on a line, where it is known.

    Examples
    --------
    >>> step = MapStep(1.0, 0.9, lambda score, x: x + 0.1 * score(0.95, x))
    >>> step.move(lambda t, x: -x, np.array([1.0])), step.deterministic
    (array([0.9]), True)
    """

    t_from: float
    t_to: float
    function: Map
    top: float | None = None
    scale_before: float = 1.0
    std_before: float = 0.0
    std_after: float = 0.0
    back: Map | None = None

    @property
    def t_top(self) -> float:
        """Where the map begins."""
        return self.t_from if self.top is None else self.top

    def move(self, score: Score, x: Array) -> Array:
        """``function(score, x)``; ValueError where it has not the shape of x."""
        moved = np.asarray(self.function(score, x), dtype=np.float64)
        if moved.shape != x.shape:
            where = f"the map of the step from t = {_checks.digits(self.t_from)}"
            raise _checks.error(where, f"points of shape {x.shape}", f"shape {moved.shape}")
        return moved


class Sampler(ABC):
    """A method of sampling: what is asked of it is one step; particles, kernels and error decompositions follow.

    A method of one's own is a subclass with `step`, its options the arguments of its constructor (a frozen dataclass
    is the shortest way). Objects of it go wherever the name of a method does, without being registered.

    Attributes
    ----------
    name : str
        Default the name of the class.
    order : int
        Order of the method in the length of the step: weak order where it has noise.
    evaluations : int
        Evaluations of the score per step.
    eta : float or None
        Noise knob of the reverse dynamics to which the method tends as the steps shrink; None (default): that of the
        dynamics it is used with.
    deterministic : bool
        Whether no step has noise, whatever the dynamics.
    memory : int
        How many earlier steps of the run a step remembers, default 0; otherwise `step` returns a `MemoryStep`.
    from_noise : bool
        Whether its formula has a limit where alpha(0, t_from) = 0, default False: such a start is refused.

    Examples
    --------
    >>> import fpsolve as fp
    >>> class Midpoint(Sampler):
    ...     order, evaluations, eta = 2, 2, 0.0
    ...     def step(self, process, eta, t_from, t_to):
    ...         h, middle = t_from - t_to, 0.5 * (t_from + t_to)
    ...         def slope(score, t, x):
    ...             return -process.drift_rate(t) * x + 0.5 * process.diffusion(t) ** 2 * score(t, x)
    ...         def move(score, x):
    ...             return x + h * slope(score, middle, x + 0.5 * h * slope(score, t_from, x))
    ...         return MapStep(t_from, t_to, move)
    >>> reverse = fp.Reverse(fp.Gaussian(1.0, std=0.5), fp.OrnsteinUhlenbeck(T=2.0))
    >>> cloud = fp.particles.simulate(reverse, reverse.marginal(2.0), n=10_000, seed=0, steps=40, method=Midpoint())
    >>> round(float(cloud["mean"][-1, 0]), 1)
    1.0
    """

    name: ClassVar[str] = ""
    order: ClassVar[int] = 1
    evaluations: ClassVar[int] = 1
    memory: ClassVar[int] = 0
    from_noise: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        if "name" not in vars(cls):
            cls.name = cls.__name__

    @property
    def eta(self) -> float | None:
        """None: the noise is that of the dynamics."""
        return None

    @property
    def deterministic(self) -> bool:
        """Whether no step has noise, whatever the dynamics."""
        return self.eta == 0.0

    @abstractmethod
    def step(self, process: Process, eta: float, t_from: float, t_to: float) -> Step:
        """Return the step from forward time `t_from` down to `t_to`.

        Parameters
        ----------
        process : Process
        eta : float
            Noise knob at `t_from`: `Sampler.eta`, or where that is None the one of the dynamics.
        t_from, t_to : float
            Forward times, ``T >= t_from > t_to >= 0``.
        """

    def in_steps(self, n: int) -> Sampler:
        """Return the sampler for a run of n steps: itself, unless it shares something out among them."""
        return self


def nothing_left(t: float, name: str = "") -> ValueError:
    """Return the error for a step of a method from a time at which alpha is 0: its formulas divide by alpha."""
    remedy = "begin shortly before, where p_t is as good as the prior, or end the process there"
    shown = _checks.digits(t)
    wanted = "a time at which scale(0, t) > 0" + (f" for {name}, whose formula has no limit there" if name else "")
    return _checks.error("t_from", wanted, f"{shown}, where no data are left", remedy)


@dataclass(frozen=True)
class MemoryStep(Step):
    """A step of a multistep method: a map of x and what earlier steps of the run left, with noise after it or none.

    Parameters
    ----------
    t_from, t_to : float
        Forward times, ``t_from > t_to``.
    function : callable ``function(score, x, memory)``
        Returns where x goes, of its shape, and the memory for the next step; memory is a tuple, empty in the first
        step of a run.
    std_after : float
        Standard deviation of the noise, default 0.

    Examples
    --------
    >>> def leapfrog(score, x, memory):
    ...     return x + 0.1 * (1.5 * score(1.0, x) - 0.5 * (memory or (score(1.0, x),))[0]), (score(1.0, x),)
    >>> MemoryStep(1.0, 0.9, leapfrog).follow(lambda t, x: -x, np.array([1.0]), (np.array([1.0]),))
    (array([0.8]), (array([-1.]),))
    """

    t_from: float
    t_to: float
    function: Callable[[Score, Array, Memory], tuple[Array, Memory]]
    std_after: float = 0.0

    def move(self, score: Score, x: Array) -> Array:
        """Where the map takes x in the first step of a run."""
        return self.follow(score, x, ())[0]

    def follow(self, score: Score, x: Array, memory: Memory) -> tuple[Array, Memory]:
        """``function(score, x, memory)``; ValueError where x changes its shape."""
        moved, memory = self.function(score, x, memory)
        if np.shape(moved) != x.shape:
            where = f"the map of the step from t = {_checks.digits(self.t_from)}"
            raise _checks.error(where, f"points of shape {x.shape}", f"shape {np.shape(moved)}")
        return np.asarray(moved, dtype=np.float64), memory

    def advance(self, score: Score, x: Array, rng: np.random.Generator, memory: Memory) -> tuple[Array, Memory]:
        """The map, and the noise after it."""
        moved, memory = self.follow(score, x, memory)
        return (moved + self.std_after * rng.standard_normal(x.shape) if self.std_after > 0.0 else moved), memory


@dataclass(frozen=True)
class Composed(Step):
    """Steps one after the other as one: a map of where the first begins, if none of them has noise.

    Parameters
    ----------
    parts : tuple of Step
        Each begins at the time at which the one before ends.

    Raises
    ------
    ValueError
        No steps, or such that do not meet.

    Examples
    --------
    >>> from fpsolve.samplers import GaussianStep
    >>> both = Composed((GaussianStep(1.0, 0.9, 2.0, 0.5, 0.0), GaussianStep(0.9, 0.8, 1.0, 0.5, 0.0)))
    >>> both.move(lambda t, x: -x, np.array([1.0])), both.deterministic
    (array([0.75]), True)
    """

    parts: tuple[Step, ...]
    t_from: float = field(init=False, repr=False)
    t_to: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not (isinstance(self.parts, tuple) and self.parts and all(isinstance(part, Step) for part in self.parts)):
            raise _checks.error("parts", "a tuple of steps", _checks.shown(self.parts))
        object.__setattr__(self, "t_from", self.parts[0].t_from)
        object.__setattr__(self, "t_to", self.parts[-1].t_to)
        flat = [part.parts if isinstance(part, Composed) else (part,) for part in self.parts]
        object.__setattr__(self, "parts", tuple(chain.from_iterable(flat)))
        for first, second in pairwise(self.parts):
            if first.t_to != second.t_from:
                got = f"one to {_checks.digits(first.t_to)} before one from {_checks.digits(second.t_from)}"
                raise _checks.error("parts", "steps that meet", got)

    @property
    def std_after(self) -> float:
        """The noise of the last."""
        return self.parts[-1].std_after

    @property
    def deterministic(self) -> bool:
        """Whether none adds noise."""
        return all(part.deterministic for part in self.parts)

    def move(self, score: Score, x: Array) -> Array:
        """The maps one after the other, without any noise."""
        memory: Memory = ()
        for part in self.parts:
            x, memory = part.follow(score, x, memory)
        return x

    def draw(self, score: Score, x: Array, rng: np.random.Generator) -> Array:
        """One random move of every particle."""
        memory: Memory = ()
        for part in self.parts:
            x, memory = part.advance(score, x, rng, memory)
        return x
