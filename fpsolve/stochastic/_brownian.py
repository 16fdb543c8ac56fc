"""Brownian paths that know their own refinement: W and its time integral at any time, from a seed alone.

Every path is a binary tree of independent normals. A dyadic interval of length h with increment w and space-time area
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

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve import _checks
from fpsolve._compile import compiled

Array = NDArray[np.float64]
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
