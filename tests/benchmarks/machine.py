"""What the machine can do at best: the prices from which floors are computed, measured on one thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from benchmarks import timing
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]

_BLOCK = 2048
_REPEATS = 200


@dataclass(frozen=True)
class Prices:
    """Nanoseconds per double.

    Attributes
    ----------
    exp, log, divide, flop : float
        Independent operations on blocks in the first-level cache: numpy's vectorised exponential, logarithm and
        division, and one multiplication or addition in a compiled polynomial.
    chain_multiply, chain_divide : float
        One step of ``x = a x + b`` and of ``x = 1 / (a - b x)``: what a recurrence along a line waits for.
    byte : float
        One byte read or written in passes over five megabytes, more than the second-level cache holds.
    """

    exp: float
    log: float
    divide: float
    flop: float
    chain_multiply: float
    chain_divide: float
    byte: float


def prices() -> Prices:
    """Measure all prices; takes about a second."""
    x, out = np.linspace(0.5, 1.5, _BLOCK), np.empty(_BLOCK)
    streams = np.ones((10, 2**16))
    chain = 20_000
    return Prices(
        exp=_per(lambda: np.exp(x, out=out), _BLOCK),
        log=_per(lambda: np.log(x, out=out), _BLOCK),
        divide=_per(lambda: np.divide(1.0, x, out=out), _BLOCK),
        flop=_per(lambda: _polynomial(x, out), 32 * _BLOCK),
        chain_multiply=_per(lambda: _multiply_chain(chain, 0.5, 1.0), chain),
        chain_divide=_per(lambda: _divide_chain(chain, 2.0, 0.5), chain),
        byte=_per(lambda: _passes(streams), 16 * 9 * 2**16, repeats=2),
    )


def _per(work: Callable[[], object], count: int, repeats: int = _REPEATS) -> float:
    """Nanoseconds per unit, least of 20 series."""

    def series() -> None:
        for _ in range(repeats):
            work()

    series()
    return 1e9 * timing.least(series, 20) / (repeats * count)


@njit(fastmath={"contract"}, error_model="numpy")
def _polynomial(x: Array, out: Array) -> None:
    for i in range(x.size):
        p = x[i]
        for k in range(16):
            p = p * x[i] + 0.1 * k
        out[i] = p


@njit(error_model="numpy")
def _multiply_chain(n: int, a: float, b: float) -> float:
    x = 0.0
    for _ in range(n):
        x = a * x + b
    return x


@njit(error_model="numpy")
def _divide_chain(n: int, a: float, b: float) -> float:
    x = 0.0
    for _ in range(n):
        x = 1.0 / (a - b * x)
    return x


@njit(error_model="numpy")
def _passes(streams: Array) -> None:
    for k in range(streams.shape[0] - 1):
        for i in range(streams.shape[1]):
            streams[k + 1, i] = streams[k, i]
