"""What one step of a sampler is: noise, a deterministic map, noise; with the numbers apart from any loop.

    x  ->  c x + s0 Z  ->  H(c x + s0 Z)  ->  H(c x + s0 Z) + s1 Z'

Particles draw from it (`draw`), transition kernels take its mean map and standard deviations cell by cell: the
formulas of a method are written once, in its own file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fpsolve import _checks

Array = npt.NDArray[np.float64]
Score = Callable[[float, Array], Array]


class Step(Protocol):
    """One step of a sampler from forward time `t_from` down to `t_to`.

    Attributes
    ----------
    t_from, t_to : float
        Forward times, ``t_from > t_to``.
    scale_before, std_before : float
        c and s0: what is done to x before the map (1 and 0 for most methods, the churn of EDM otherwise).
    std_after : float
        s1 >= 0, in units of x.
    """

    @property
    def t_from(self) -> float: ...
    @property
    def t_to(self) -> float: ...
    @property
    def scale_before(self) -> float: ...
    @property
    def std_before(self) -> float: ...
    @property
    def std_after(self) -> float: ...

    def move(self, score: Score, x: Array) -> Array:
        """H(x): where the deterministic part of the step takes x, of the shape of x."""
        ...


def nothing_left(t: float) -> ValueError:
    """Return the error for a step from a time at which alpha is 0: its formulas divide by alpha, as by what is left."""
    remedy = "begin shortly before, where p_t is as good as the prior, or end the process there"
    shown = _checks.digits(t)
    return _checks.error("t_from", "a time at which scale(0, t) > 0", f"{shown}, where no data are left", remedy)


def draw(step: Step, score: Score, x: Array, rng: np.random.Generator) -> Array:
    """Return one random move of every particle x, shape (n,) or (n, 2).

    Examples
    --------
    >>> step = GaussianStep(1.0, 0.9, linear=2.0, score=0.5, std=0.0)
    >>> draw(step, lambda t, x: -x, np.array([1.0, 2.0]), np.random.default_rng(0))
    array([1.5, 3. ])
    """
    if step.std_before > 0.0 or step.scale_before != 1.0:
        x = step.scale_before * x + step.std_before * rng.standard_normal(x.shape)
    moved = step.move(score, x)
    return moved + step.std_after * rng.standard_normal(x.shape) if step.std_after > 0.0 else moved


@dataclass(frozen=True)
class GaussianStep:
    """Transition ``x -> N(A x + B s(t_from, x), C^2 I)``, from forward time ``t_from`` down to ``t_to``.

    Keeping the three numbers apart from the loop lets the same step drive particles (`apply`) and, cell by
    cell, a transition matrix (`mean` and `std`).

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
    >>> float(step.mean(1.0, -1.0))
    1.5
    """

    t_from: float
    t_to: float
    linear: float
    score: float
    std: float

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
        """``C``."""
        return self.std

    def move(self, score: Score, x: Array) -> Array:
        """``A x + B s(t_from, x)``."""
        return self.mean(x, score(self.t_from, x))

    def mean(self, x: Array | float, score: Array | float) -> Array:
        """``A x + B s``: where the step goes on average; any shape in, the same shape out."""
        return np.asarray(self.linear * np.asarray(x) + self.score * np.asarray(score), dtype=np.float64)

    def apply(self, x: Array, score: Array, normal: Array) -> Array:
        """Move particles: ``A x + B s + C Z`` with ``normal`` = Z standard normal, all of one shape."""
        moved = self.mean(x, score)
        moved += self.std * normal
        return moved
