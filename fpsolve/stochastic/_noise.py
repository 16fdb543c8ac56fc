"""Score error as noise: modes, strengths, ready families of them, and the Brownian paths that drive it.

A path knows its own refinement: W and its time integral at any time, from a seed alone. It is a binary tree of
independent normals. A dyadic interval of length h with increment w and space-time area
``H = (1/h) int (W_s - (s/h) w) ds`` is halved by two further normals, Z of variance h/16 and N of variance h/12:

    w_left = w/2 + 3/2 H + Z,   H_left = H/4 - Z/2 + N/2,   w_right = w - w_left,   H_right = H/4 - Z/2 - N/2.

The normals are a hash of (seed, path, mode, node of the tree), so W(r) does not depend on which other times are asked
for: runs with 500 and with 2000 steps see the same path, and a run with more paths or modes keeps those it had.

References
----------
Foster, Lyons and Oberhauser 2020, doi:10.1137/19M1261912 (halving with areas); Steele, Lea and Flood 2014,
doi:10.1145/2660193.2660195 (the hash).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve import _checks, _memory
from fpsolve._callables import refuse_swapped_names, values_of
from fpsolve._compile import compiled

Array = NDArray[np.float64]
#: ``e(x)`` or ``e(t, x)``: points (...) in 1D, (..., 2) in 2D, and values of that shape.
Mode = Callable[..., Any]


@dataclass(frozen=True, eq=False)
class ScoreNoise:
    r"""Gaussian white score error ``sum_k sqrt(lambda_k) e_k(t, x) dW^k``, as noise in the drift.

    In a stochastic Fokker-Planck equation with gain c(t) it enters as
    ``- sum_k c sqrt(lambda_k) div(u e_k) o dW^k``, see `fpsolve.stochastic.evolve`.

    Parameters
    ----------
    modes : sequence of callables
        ``e_k(x)`` or ``e_k(t, x)``, told apart by the number of their arguments; shape of x in and out, units of a
        score (1/length).
    strengths : array_like, shape (modes,)
        ``lambda_k >= 0``, in units of process time.
    description : str, optional
        What stands in the attributes of results; the ready families write their own.

    Raises
    ------
    ValueError
        No mode, another number of strengths, a negative strength, a mode that is not callable with x or (t, x).

    Examples
    --------
    >>> noise = ScoreNoise([lambda x: np.sin(x), lambda t, x: t * x], [0.1, 0.2])
    >>> noise.values(2.0, np.array([1.0, 3.0])).round(3).tolist()
    [[0.841, 0.141], [2.0, 6.0]]
    """

    modes: Sequence[Mode]
    strengths: ArrayLike
    description: str = ""
    _timed: tuple[bool, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.modes, Sequence) and not callable(self.modes):
            raise _checks.error("modes", "a sequence of callables e(x) or e(t, x)", repr(self.modes)[:60])
        modes = (self.modes,) if callable(self.modes) else tuple(self.modes)
        if not modes:
            raise _checks.error("modes", "at least one mode", "none")
        wanted = f"{len(modes)} numbers >= 0, one per mode"
        strengths = np.atleast_1d(_checks.finite_array("strengths", self.strengths))
        if strengths.shape != (len(modes),):
            raise _checks.error("strengths", wanted, f"shape {strengths.shape}")
        if strengths.min() < 0.0:
            raise _checks.error("strengths", wanted, f"{strengths.min():g}", "lambda is a variance")
        object.__setattr__(self, "modes", modes)
        object.__setattr__(self, "strengths", strengths)
        object.__setattr__(self, "_timed", tuple(_takes_time(k, mode) for k, mode in enumerate(modes)))
        if not self.description:
            names = ", ".join(getattr(mode, "__qualname__", type(mode).__name__) for mode in modes)
            object.__setattr__(self, "description", f"modes {names}")

    @property
    def size(self) -> int:
        """Number of modes."""
        return len(self._timed)

    @property
    def variances(self) -> Array:
        """The strengths as an array, shape (modes,)."""
        return np.asarray(self.strengths, dtype=float)

    @property
    def autonomous(self) -> bool:
        """Whether no mode depends on time."""
        return not any(self._timed)

    def values(self, t: float, x: Array) -> Array:
        """e_k at the points, shape (modes, *x.shape).

        Raises
        ------
        ValueError
            A mode that returns another shape, NaN or infinities, with its number and the time.
        """
        pairs = enumerate(zip(tuple(self.modes), self._timed, strict=True))
        look, points = not self._looked, np.asarray(x, dtype=np.float64)
        values = [
            values_of(f"modes[{k}]", mode, points, t=t if timed else None, vector=True, look=look)
            for k, (mode, timed) in pairs
        ]
        self._looked.add(True)
        return np.stack(values)

    @cached_property
    def _looked(self) -> set[bool]:
        """Whether the modes were looked at closely: once, at the first points they are asked for."""
        return set()


def _takes_time(k: int, mode: Mode) -> bool:
    """Whether a mode is e(t, x) rather than e(x)."""
    if not callable(mode):
        raise _checks.error(f"modes[{k}]", "a callable e(x) or e(t, x)", repr(mode)[:60])
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if isinstance(mode, type):
        raise _checks.error(f"modes[{k}]", "a callable e(x) or e(t, x)", f"the class {mode.__name__}")
    parameters = inspect.signature(mode).parameters.values()
    needed = sum(p.kind in kinds and p.default is inspect.Parameter.empty for p in parameters)
    if needed not in (1, 2):
        raise _checks.error(f"modes[{k}]", "a callable e(x) or e(t, x)", f"one with {needed} arguments")
    if needed == 2:
        refuse_swapped_names(f"modes[{k}]", mode, "t, x", "exchange them: it is called with (t, x)")
    return needed == 2


def constant(strength: float, *, dim: int = 1, direction: ArrayLike | None = None) -> ScoreNoise:
    """Return noise that is the same everywhere: all of the density is shaken together.

    Parameters
    ----------
    strength : float
        lambda >= 0 of every mode.
    dim : {1, 2}
        In 2D one mode per axis, unless `direction` is given.
    direction : array_like, shape (2,), optional
        The one direction of the shaking in 2D; its length counts.

    Examples
    --------
    >>> constant(0.09).values(0.0, np.zeros(3)).tolist(), constant(0.09, dim=2).size
    ([[1.0, 1.0, 1.0]], 2)
    """
    _checks.dimension("dim", dim)
    _checks.non_negative("strength", strength)
    if direction is not None and dim == 1:
        raise _checks.error("direction", "None in 1D", repr(direction), "set dim=2")
    if dim == 1:
        vectors = np.ones((1, 1))
    elif direction is None:
        vectors = np.eye(2)
    else:
        vectors = _checks.finite_array("direction", direction, shape=(2,))[None, :]
    modes = [_Constant(vector if dim == 2 else vector[0]) for vector in vectors]
    shown = "" if direction is None else f", direction={vectors[0].tolist()}"
    return ScoreNoise(modes, np.full(len(modes), strength), f"constant(strength={strength:g}, dim={dim}{shown})")


def random_fourier(
    strength: float, *, length: float, modes: int = 8, seed: int, dim: int = 1, divergence_free: bool = False
) -> ScoreNoise:
    """Return a random smooth field: random Fourier features of a Gaussian correlation.

    ``e_k(x) = sqrt(2) v_k cos(w_k . x + phi_k)`` with frequencies ``w_k ~ N(0, I/length^2)``, phases uniform; v_k is 1
    in 1D and a unit vector in 2D, random or, with `divergence_free`, at right angles to w_k. The strengths are
    ``strength/modes``: averaged over the features the field has the variance `strength` and the correlation
    ``exp(-|x - x'|^2/(2 length^2))``.

    Parameters
    ----------
    strength : float
        Sum of the lambda_k.
    length : float
        Correlation length, in units of x.
    modes : int
        Number of features.
    seed : int or Generator
        Draws frequencies, phases and directions.
    dim : {1, 2}
    divergence_free : bool
        div e_k = 0, in 2D only.

    References
    ----------
    Rahimi and Recht 2007, Random features for large-scale kernel machines.

    Examples
    --------
    >>> random_fourier(0.1, length=1.0, modes=3, seed=0).values(0.0, np.zeros(5)).shape
    (3, 5)
    """
    _checks.dimension("dim", dim)
    _checks.non_negative("strength", strength)
    _memory.count("modes", modes, 500.0, "take fewer modes", seconds=3e-5)
    _checks.flag("divergence_free", divergence_free)
    scale = 1.0 / _checks.positive("length", length)
    if divergence_free and dim == 1:
        raise _checks.error("divergence_free", "False in 1D, where only constants are", "True", "set dim=2")
    rng = _checks.generator("seed", seed)
    frequencies = scale * rng.standard_normal((modes, dim))
    phases = rng.uniform(0.0, 2.0 * np.pi, modes)
    if dim == 1:
        vectors = np.ones((modes, 1))
    elif divergence_free:
        vectors = np.stack([-frequencies[:, 1], frequencies[:, 0]], axis=1)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    else:
        angles = rng.uniform(0.0, 2.0 * np.pi, modes)
        vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    waves = [_Wave(w, float(p), v) for w, p, v in zip(frequencies, phases, vectors, strict=True)]
    shown = f"seed={seed if isinstance(seed, int) else 'generator'}, dim={dim}, divergence_free={divergence_free}"
    text = f"random_fourier(strength={strength:g}, length={length:g}, modes={modes}, {shown})"
    return ScoreNoise(waves, np.full(modes, strength / modes), text)


def localized(
    centres: ArrayLike, *, width: float, strength: ArrayLike, directions: ArrayLike | None = None
) -> ScoreNoise:
    """Return bumps ``e_k(x) = v_k exp(-|x - centre_k|^2/(2 width^2))``.

    Parameters
    ----------
    centres : array_like, shape (modes,) in 1D, (modes, 2) in 2D
    width : float
        Standard deviation of the bumps, in units of x.
    strength : float or array_like, shape (modes,)
        lambda_k.
    directions : array_like, shape (modes, 2)
        v_k, in 2D only.

    Examples
    --------
    >>> localized([-1.0, 2.0], width=0.5, strength=0.1).values(0.0, np.array([2.0])).round(4).tolist()
    [[0.0], [1.0]]
    """
    places = _checks.finite_array("centres", centres)
    if places.ndim not in (1, 2) or (places.ndim == 2 and places.shape[1] != 2) or len(places) == 0:
        raise _checks.error("centres", "shape (modes,) in 1D or (modes, 2) in 2D", f"shape {places.shape}")
    _checks.positive("width", width)
    if (directions is None) != (places.ndim == 1):
        wanted = "directions of shape (modes, 2) in 2D and none in 1D"
        raise _checks.error("directions", wanted, "None" if directions is None else "some")
    vectors = np.ones(len(places))
    if directions is not None:
        vectors = _checks.finite_array("directions", directions, shape=(len(places), 2))
    given = _checks.finite_array("strength", strength)
    if given.shape not in ((), (1,), (len(places),)):
        raise _checks.error("strength", f"a number or {len(places)}, one per centre", f"shape {given.shape}")
    strengths = np.broadcast_to(given, (len(places),))
    bumps = [_Bump(c, float(width), v) for c, v in zip(places, vectors, strict=True)]
    text = f"localized(centres={places.tolist()}, width={width:g}, strength={strengths.tolist()})"
    return ScoreNoise(bumps, strengths, text)


@dataclass(frozen=True, eq=False)
class _Constant:
    value: Any

    def __call__(self, x: Array) -> Array:
        return np.broadcast_to(np.asarray(self.value, dtype=float), np.shape(x))


@dataclass(frozen=True, eq=False)
class _Wave:
    frequency: Array
    phase: float
    vector: Array

    def __call__(self, x: Array) -> Array:
        if len(self.frequency) == 1:
            return np.asarray(2.0**0.5 * np.cos(self.frequency[0] * x + self.phase))
        wave = 2.0**0.5 * np.cos(x @ self.frequency + self.phase)
        return np.asarray(wave[..., None] * self.vector)


@dataclass(frozen=True, eq=False)
class _Bump:
    centre: Any
    width: float
    vector: Any

    def __call__(self, x: Array) -> Array:
        square = np.square((x - self.centre) / self.width)
        if np.ndim(self.centre) == 0:
            return np.asarray(np.exp(-0.5 * square))
        return np.asarray(np.exp(-0.5 * square.sum(axis=-1))[..., None] * self.vector)


Keys = NDArray[np.uint64]

#: Halvings; within an interval of length span / 2^DEPTH the path is taken as straight.
DEPTH = 34
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@compiled
def _hash(z: np.uint64) -> np.uint64:
    z = (z ^ (z >> np.uint64(30))) * _FIRST
    z = (z ^ (z >> np.uint64(27))) * _SECOND
    return z ^ (z >> np.uint64(31))


@compiled
def two_normals(key: np.uint64, node: np.uint64) -> tuple[float, float]:
    """Two independent standard normals that belong to a node of the tree of a key (Box and Muller)."""
    counter = np.uint64(2) * node
    first = _hash(key + counter * _GOLDEN) >> np.uint64(11)
    second = _hash(key + (counter + np.uint64(1)) * _GOLDEN) >> np.uint64(11)
    radius = math.sqrt(-2.0 * math.log((float(first) + 0.5) / 9007199254740992.0))
    angle = 2.0 * math.pi * float(second) / 9007199254740992.0
    return radius * math.cos(angle), radius * math.sin(angle)


@compiled
def descend(keys: Keys, times: Array, span: float, depth: int, values: Array, integrals: Array) -> None:
    """values[i, j] = W(times[j]) and integrals[i, j] = int_0^times[j] W of the path with keys[i]."""
    for i in range(keys.shape[0]):
        for j in range(times.shape[0]):
            first, second = two_normals(keys[i], np.uint64(0))
            h = span
            w, area = math.sqrt(h) * first, math.sqrt(h / 12.0) * second
            left, w_left, integral, node = 0.0, 0.0, 0.0, np.uint64(1)
            for _ in range(depth):
                first, second = two_normals(keys[i], node)
                z, n = math.sqrt(h / 16.0) * first, math.sqrt(h / 12.0) * second
                w_half = 0.5 * w + 1.5 * area + z
                h *= 0.5
                node *= np.uint64(2)
                if times[j] < left + h:
                    w, area = w_half, 0.25 * area - 0.5 * z + 0.5 * n
                else:
                    integral += h * (w_left + 0.5 * w_half + 0.25 * area - 0.5 * z + 0.5 * n)
                    left += h
                    w_left += w_half
                    w, area = w - w_half, 0.25 * area - 0.5 * z - 0.5 * n
                    node += np.uint64(1)
            share = min((times[j] - left) / h, 1.0)
            values[i, j] = w_left + share * w
            integrals[i, j] = integral + (times[j] - left) * (w_left + 0.5 * share * w)


@dataclass(frozen=True)
class BrownianPaths:
    """Independent Brownian motions ``W^k_p(r)``, one per path p and mode k, on reverse (or running) times 0 to `span`.

    Parameters
    ----------
    seed : int
        Everything follows from it; see `seed_of` for a Generator.
    paths, modes : int
        How many; path p and mode k do not depend on how many others there are.
    span : float
        Longest time, in units of process time. Part of the identity of the paths.

    Examples
    --------
    >>> paths = BrownianPaths(seed=0, paths=2, modes=1, span=1.0)
    >>> coarse, fine = (paths.at(np.linspace(0.0, 1.0, n + 1)) for n in (500, 2000))
    >>> bool(np.array_equal(coarse, fine[:, :, ::4]))
    True
    """

    seed: int
    paths: int
    modes: int
    span: float

    def __post_init__(self) -> None:
        _checks.integer("seed", self.seed, minimum=0)
        _checks.integer("paths", self.paths)
        _checks.integer("modes", self.modes)
        _checks.positive("span", self.span)

    def at(self, r: ArrayLike) -> Array:
        """W at times r in [0, span], shape (paths, modes, times)."""
        return self._both(r)[0]

    def increments(self, r: ArrayLike) -> tuple[Array, Array]:
        """What a splitting needs of the steps between the times r.

        Parameters
        ----------
        r : array, shape (steps + 1,)
            Increasing times in [0, span].

        Returns
        -------
        increment : array, shape (paths, modes, steps)
            ``W(r_{n+1}) - W(r_n)``.
        mean : array, same shape
            ``(1/h) int (W(s) - W(r_n)) ds`` over the step: how much of the increment acts, on average, during it.
        """
        return self.along(r)[1:]

    def along(self, r: ArrayLike) -> tuple[Array, Array, Array]:
        """Return what `at` and `increments` return, made once."""
        times = np.asarray(r, dtype=float)
        w, integral = self._both(times)
        return w, np.diff(w, axis=-1), np.diff(integral, axis=-1) / np.diff(times) - w[..., :-1]

    def _both(self, r: ArrayLike) -> tuple[Array, Array]:
        times = _checks.finite_array("r", r, shape=(None,))
        if times.size and (times.min() < 0.0 or times.max() > self.span * (1.0 + 1e-12)):
            got = f"{_checks.digits(times.min())} to {_checks.digits(times.max())}"
            raise _checks.error("r", f"times in [0, {_checks.digits(self.span)}]", got)
        _memory.require("paths", 16.0 * self.paths * self.modes * times.size, "take fewer paths or times")
        keys = np.concatenate(
            [np.random.SeedSequence(self.seed, spawn_key=(p,)).generate_state(self.modes, np.uint64)
             for p in range(self.paths)]
        )  # fmt: skip
        values, integrals = np.empty((len(keys), times.size)), np.empty((len(keys), times.size))
        with np.errstate(over="ignore"):  # without compilation numpy would tell of what a hash does on purpose
            descend(keys, times, float(self.span), DEPTH, values, integrals)
        shape = (self.paths, self.modes, times.size)
        return values.reshape(shape), integrals.reshape(shape)


def seed_of(seed: object) -> int:
    """The seed itself, or an integer drawn from a Generator: what goes into the attributes, and gives it all again."""
    rng = _checks.generator("seed", seed)
    if isinstance(seed, np.random.Generator):
        return int(rng.integers(2**62))
    if isinstance(seed, np.random.SeedSequence):
        return int(seed.generate_state(1, np.uint64)[0])
    return int(str(seed))
