"""Compiled functions. Their cache on disk saves time and is never a condition: without it everything runs, slower."""

from __future__ import annotations

import hashlib
import inspect
import pickle
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fpsolve._messages import Failure

F = TypeVar("F", bound=Callable[..., Any])
_REMEDY = "fpsolve runs all the same, slower at the start: set NUMBA_CACHE_DIR to a folder that can be written"
_caching: Any = import_module("numba.core.caching")
_said: set[str] = set()


@overload
def compiled(function: F, /) -> F: ...


@overload
def compiled(*, error_model: str = ..., inline: str = ..., fastmath: set[str] = ...) -> Callable[[F], F]: ...


def compiled(function: Any = None, /, **options: Any) -> Any:
    """Return a function compiled by numba at its first call and kept in numba's cache where there is one.

    Parameters
    ----------
    function : callable
        What numba's `njit` compiles.
    **options
        Those of `njit`; default ``error_model="numpy"``: a division by zero gives an infinity, as in numpy. All
        release the interpreter, see `fpsolve._memory`.

    Returns
    -------
    numba Dispatcher

    Warns
    -----
    RuntimeWarning
        Once each: no folder for the cache can be written (read-only installation, no home); the cache cannot be kept
        (full disk); what is in it is damaged. The function is compiled anew then.

    Notes
    -----
    Put ``@compiled`` above a function of a module: one typed at a prompt belongs to no file and cannot be kept.
    """
    if function is None:
        return partial(compiled, **options)
    settings: Any = {"error_model": "numpy", "nogil": True} | options
    dispatcher = njit(**settings)(function)
    if hasattr(dispatcher, "_cache"):  # not with NUMBA_DISABLE_JIT
        dispatcher._cache = _Cache(function)
    return dispatcher


class _Checked:
    """What a cache file holds, with a checksum, and with the sources of all that was compiled into it.

    numba looks at the file of the function only: an index renewed beside data that could not be written (a full disk),
    or a change of a function that this one calls in another file, would let old machine code run in silence.
    """

    def __init__(self, function: Callable[..., Any], plain: Any) -> None:
        self.function, self.plain = function, plain
        self.locator, self.check_cachable = plain.locator, plain.check_cachable

    def reduce(self, result: Any) -> tuple[str, str, bytes]:
        """Return (hash of the sources, checksum, numba's content)."""
        content = pickle.dumps(self.plain.reduce(result), protocol=-1)
        return _origin(self.function), hashlib.sha256(content).hexdigest(), content

    def rebuild(self, target_context: Any, kept: tuple[str, str, bytes]) -> Any:
        """Return numba's result, None where the sources have changed."""
        origin, checksum, content = kept
        if checksum != hashlib.sha256(content).hexdigest():
            raise ValueError("another checksum than was written")
        return self.plain.rebuild(target_context, pickle.loads(content)) if origin == _origin(self.function) else None


class _Cache:
    """numba's cache of one function, none of whose failures is an error."""

    #: Functions that were compiled anew in this process, not loaded.
    compiled_anew = 0
    #: Whether somebody waits who was not told yet.
    untold = False

    def __init__(self, function: Callable[..., Any]) -> None:
        self.plain: Any = _caching.NullCache()
        with Failure() as failure:
            self.plain = _caching.FunctionCache(function)
            self.plain._impl = _Checked(function, self.plain._impl)
        if failure.cause is not None:
            _say("a folder for its cache that can be written", failure.text)
        self.cache_path = self.plain.cache_path
        self.enable, self.disable, self.flush = self.plain.enable, self.plain.disable, self.plain.flush

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """Return what is kept, None if there is nothing that can be used."""
        found = None
        with Failure() as failure:
            found = self.plain.load_overload(signature, target_context)
        if failure.cause is not None:
            _say("a cache that can be read", f"{self.cache_path} ({failure.text})")
            # emptied, or else the damage would be met again when the new code is to be kept
            with Failure():
                self.flush()
        _Cache.compiled_anew += found is None
        if found is None and _Cache.untold:
            _Cache.untold = False
            print("fpsolve: compiling, once per machine and version (the code is kept on disk) ...", file=sys.stderr)
        return found

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep a result if that is possible."""
        with Failure() as failure:
            self.plain.save_overload(signature, result)
        if failure.cause is not None:
            _say("a cache that can be written", f"{self.cache_path} ({failure.text})")


@contextmanager
def saying_if_compiled() -> Iterator[None]:
    """Say on standard error when the first thing is compiled in the body, and at its end how long that took."""
    began, before, _Cache.untold = time.perf_counter(), _Cache.compiled_anew, True
    try:
        yield
    finally:
        _Cache.untold = False
    if _Cache.compiled_anew > before:
        print(f"fpsolve: compiled in {time.perf_counter() - began:.0f} s.", file=sys.stderr)


def _say(expected: str, got: object) -> None:
    """Warn once of each kind."""
    if expected not in _said:
        _said.add(expected)
        warnings.warn(f"compiled code: expected {expected}, got {got}; {_REMEDY}.", RuntimeWarning, stacklevel=3)


def _origin(function: Callable[..., Any]) -> str:
    """Return a hash of the sources of a function and of all compiled ones it calls, and of the constants they name."""
    seen: dict[int, Any] = {}
    parts: set[bytes] = set()
    waiting: list[Any] = [function]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen[id(one)] = one
        parts.add(Path(inspect.getfile(one)).read_bytes())
        named = [one.__globals__.get(name) for name in one.__code__.co_names]
        waiting += [value.py_func for value in named if hasattr(value, "py_func")]
        constants = [value for value in named if isinstance(value, int | float | tuple | np.ndarray)]
        parts |= {pickle.dumps(value) for value in constants}
    return hashlib.sha256(b"".join(sorted(parts))).hexdigest()


#: Points summed together: a block stays in the first-level cache.
BLOCK = 128
UNDERFLOW = 1e-280  # sums below may have lost terms; above, what exp(-708) per term adds is below rounding

_LOG2_E = 1.4426950408889634
_TO_INTEGER = 6755399441055744.0  # 1.5 * 2^52: adding it rounds to an integer held in the low bits
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10


@compiled(inline="always", error_model="python")
def exp(x: float) -> float:
    """e^x for x <= 709, constant below -708: power of two times the Taylor polynomial of degree 13, to 2.3e-16."""
    x = -708.0 if x < -708.0 else x  # lets NaN through
    shifted = x * _LOG2_E + _TO_INTEGER
    k = shifted - _TO_INTEGER
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    p = 1.0 / 6227020800.0
    p = p * r + 1.0 / 479001600.0
    p = p * r + 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    power = np.int64((np.float64(shifted).view(np.int64) + 1023) << 52)
    return p * power.view(np.float64)


_ROOT_HALF = 0x3FE6A09E667F3BCD  # bits of the square root of 1/2
_MAGIC = 0x4338000000000000  # bits of _TO_INTEGER


@compiled(inline="always", error_model="python")
def log(x: float) -> float:
    """Logarithm of a normal positive number: exponent times log 2, and ``2 artanh((m - 1)/(m + 1))`` to 2.3e-16."""
    bits = np.float64(x).view(np.int64)
    k = (bits - _ROOT_HALF) >> 52
    f = np.int64(bits - (k << 52)).view(np.float64) - 1.0  # in (sqrt(1/2) - 1, sqrt(2) - 1)
    s = f / (2.0 + f)
    z = s * s
    p = 1.0 / 21.0
    p = p * z + 1.0 / 19.0
    p = p * z + 1.0 / 17.0
    p = p * z + 1.0 / 15.0
    p = p * z + 1.0 / 13.0
    p = p * z + 1.0 / 11.0
    p = p * z + 1.0 / 9.0
    p = p * z + 1.0 / 7.0
    p = p * z + 1.0 / 5.0
    p = p * z + 1.0 / 3.0
    power = np.int64(k + _MAGIC).view(np.float64) - _TO_INTEGER  # vector units convert no integers of 64 bits
    return power * _LN2_HIGH + ((2.0 * s * z * p + power * _LN2_LOW) + 2.0 * s)


@compiled(inline="always", error_model="python")
def lost(total: NDArray[np.float64], n: int) -> bool:
    """Say whether one of the first n sums may have lost terms to underflow (or is NaN, which must not hide others)."""
    lost = False
    for j in range(n):
        lost |= not total[j] >= UNDERFLOW
    return lost
