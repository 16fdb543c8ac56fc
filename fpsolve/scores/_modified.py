"""Scores changed on purpose: clipped, smoothed, perturbed.

Modifications of a score one has to ask for by name: clipping and smoothing.

A score with a known error added.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fpsolve import _checks
from fpsolve._callables import refuse_signature
from fpsolve._checks import FloatArray, real_array
from fpsolve.scores._base import Score, name_of
from fpsolve.scores.errors import Scaling, ScoreError


@dataclass(frozen=True, eq=False, repr=False)
class Clipped:
    """The score with its length limited; see `clipped`."""

    score: Score
    limit: float
    dim: int

    def __call__(self, t: float, x: Any) -> FloatArray:
        """Return ``s min(1, limit/|s|)``."""
        value = np.asarray(self.score(t, real_array("x", x)), dtype=np.float64)
        if self.dim == 1:
            return np.clip(value, -self.limit, self.limit)
        length = np.hypot(value[..., 0], value[..., 1])[..., None]
        return np.asarray(value * (self.limit / np.maximum(length, self.limit)))

    @property
    def domain(self) -> Any:
        """Where the score inside is defined, None for everywhere."""
        return getattr(self.score, "domain", None)

    def __repr__(self) -> str:
        """Return the call that makes it, the same text in every run."""
        return f"clipped({name_of(self.score)}, limit={self.limit:g}, dim={self.dim})"


def clipped(score: Score, limit: float, *, dim: int) -> Clipped:
    r"""Return a score whose length is limited, as some samplers do silently.

    .. math:: \hat s = s \min(1, \mathrm{limit}/|s|).

    Parameters
    ----------
    score : callable
        ``score(t, x)``.
    limit : float
        Largest length > 0 (unit 1/length).
    dim : int
        1 or 2: in 2D the length of the vector is limited, not its components.

    Returns
    -------
    Clipped

    Raises
    ------
    ValueError
        If the limit is not > 0.

    Examples
    --------
    >>> clipped(lambda t, x: -x, 1.5, dim=1)(0.1, np.array([1.0, 2.0]))
    array([-1. , -1.5])
    """
    return Clipped(score, _checks.positive("limit", limit), _checks.dimension("dim", dim))


@dataclass(frozen=True, eq=False, repr=False)
class Smoothed:
    """The score averaged over a Gaussian; see `smoothed`."""

    score: Score
    std: float
    dim: int
    nodes: int = 7

    def __call__(self, t: float, x: Any) -> FloatArray:
        """Return ``E s(t, x + std Z)`` by Gauss-Hermite quadrature."""
        points = real_array("x", x)
        total = np.zeros(points.shape)
        for offset, weight in zip(*self._rule, strict=True):
            total += weight * np.asarray(self.score(t, points + self.std * offset), dtype=np.float64)
        return total

    @property
    def domain(self) -> Any:
        """Where the score inside is defined, less what the average reaches; None for everywhere."""
        inner = getattr(self.score, "domain", None)
        if inner is None:
            return None
        reach = self.std * float(np.max(self._rule[0]))
        return inner[0], tuple((low + reach, high - reach) for low, high in inner[1])

    @cached_property
    def _rule(self) -> tuple[FloatArray, FloatArray]:
        """Nodes, (n,) or (n^2, 2), and weights that sum to 1."""
        z, w = np.polynomial.hermite_e.hermegauss(self.nodes)
        w = w / w.sum()
        if self.dim == 1:
            return z, w
        return np.stack(np.meshgrid(z, z), axis=-1).reshape(-1, 2), np.outer(w, w).ravel()

    def __repr__(self) -> str:
        """Return the call that makes it, the same text in every run."""
        return f"smoothed({name_of(self.score)}, std={self.std:g}, dim={self.dim}, nodes={self.nodes})"


def smoothed(score: Score, std: float, *, dim: int, nodes: int = 7) -> Smoothed:
    r"""Return a score averaged over a Gaussian of its points.

    .. math:: \hat s(t, x) = E[s(t, x + \mathrm{std}\, Z)], \qquad Z \sim N(0, I),

    by Gauss-Hermite quadrature, exact for polynomials of degree ``2 nodes - 1``.

    Parameters
    ----------
    score : callable
        ``score(t, x)``; it is evaluated ``nodes**dim`` times.
    std : float
        Standard deviation > 0 of the average.
    dim : int
        1 or 2.
    nodes : int, default 7
        Nodes per axis, at least 2.

    Returns
    -------
    Smoothed

    Raises
    ------
    ValueError
        If the standard deviation is not > 0, or there are fewer than two nodes.

    Examples
    --------
    >>> round(float(smoothed(lambda t, x: -(x**3), 0.5, dim=1)(0.1, np.array(2.0))), 12)  # -(x^3 + 3 x std^2)
    -9.5
    """
    count = _checks.integer("nodes", nodes, minimum=2)
    return Smoothed(score, _checks.positive("std", std), _checks.dimension("dim", dim), count)


@dataclass(frozen=True, eq=False, repr=False)
class Perturbed:
    """The score ``s + e``; see `perturbed`."""

    score: Score
    error: ScoreError | Scaling

    def __call__(self, t: float, x: Any) -> FloatArray:
        """Return ``s(t, x) + e(t, x)``."""
        points = real_array("x", x)
        value = np.asarray(self.score(t, points), dtype=np.float64)
        if isinstance(self.error, Scaling):
            return np.asarray((1.0 + self.error.share) * value)
        return value + _checks.values_at("error", self.error(t, points), points.shape, f"at t = {t:g}")

    @property
    def domain(self) -> Any:
        """Where the score inside is defined, None for everywhere."""
        return getattr(self.score, "domain", None)

    def __repr__(self) -> str:
        """Return the call that makes it, the same text in every run."""
        return f"perturbed({name_of(self.score)}, {name_of(self.error)})"


def perturbed(score: Score, error: ScoreError | Scaling) -> Perturbed:
    r"""Return a score with an error.

    .. math:: \hat s(t, x) = s(t, x) + e(t, x).

    Parameters
    ----------
    score : callable
        ``score(t, x)``; `exact` for an error that is known exactly.
    error : callable or Scaling
        ``error(t, x)`` of the shape of x, in units of the score; ready ones in `fpsolve.scores.errors`: ``Bias``,
        ``Scaling``, ``Sine``, ``Bump``, ``RandomField``, and ``InNoiseUnits`` and ``During`` around them.

    Returns
    -------
    Perturbed
        A callable ``score(t, x)``.

    Raises
    ------
    ValueError
        If one of the two cannot be called; at a call, an error of another shape, NaN or infinite.

    Examples
    --------
    >>> import fpsolve as fp
    >>> from fpsolve.scores import errors
    >>> exact = fp.scores.exact(fp.Gaussian(0.0, std=1.0), fp.OrnsteinUhlenbeck(T=1.0))
    >>> score = perturbed(exact, errors.Bias(0.1))
    >>> float(score(0.5, 2.0))
    -1.9
    >>> score
    perturbed(exact(Gaussian(0.0, cov=1.0), OrnsteinUhlenbeck(T=1.0)), Bias(vector=0.1))
    """
    if not callable(score):
        raise _checks.error("score", "a callable score(t, x)", repr(score)[:60])
    if not isinstance(error, Scaling):
        refuse_signature("error", error, "t, x", "see fpsolve.scores.errors for ready ones")
    return Perturbed(score, error)
