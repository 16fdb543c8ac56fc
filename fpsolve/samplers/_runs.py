"""Runs of steps: a step that remembers earlier ones, and several steps as one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain, pairwise

import numpy as np

from fpsolve import _checks
from fpsolve.samplers._step import Array, Memory, Score, Step


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
