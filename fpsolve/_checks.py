"""Checks of arguments at the border: each raises a ValueError of one sentence or returns the clean value.

A message names the argument, what was expected, what came and, where there is one, the remedy. Inner code
trusts what passed here.
"""

from collections.abc import Collection, Iterable
from decimal import Decimal
from difflib import get_close_matches
from numbers import Complex, Integral, Real
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]

_Kind = TypeVar("_Kind")

#: What user code of any framework may raise on input it does not expect.
USER_ERRORS = (TypeError, ValueError, RuntimeError, LookupError, ArithmeticError, AttributeError, AssertionError)

# numpy's kinds of what is not real numbers, and what to do about each
_KINDS = {"b": "booleans", "c": "complex numbers", "M": "dates", "m": "durations", "V": "records"}
_KINDS |= dict.fromkeys("UST", "text")
_CURES = {
    "booleans": "write 0.0 and 1.0 if numbers are meant",
    "complex numbers": "take .real if that is meant",
    "text": "convert it: .astype(float)",
    "dates": "subtract a date and divide by a unit of time",
    "durations": "divide by a unit of time",
    "masked": "take .compressed() or fill them",
}
# nothing to ask about each of them
_PLAIN = {float, int, np.float64, np.int64, np.float32}


def error(name: str, expected: str, got: object, remedy: str = "") -> ValueError:
    """Return the ValueError ``name: expected ..., got ...; remedy.`` for the caller to raise."""
    shown = got if isinstance(got, str) else repr(got)
    ending = f"; {remedy}." if remedy else "."
    return ValueError(f"{name}: expected {expected}, got {shown}{ending}")


def digits(value: Any) -> str:
    """Return a number with all the digits that tell it from its neighbours, for messages: 0.02, 0.30000000000000004.

    Every message that shows a limit and what came shows both this way: six digits would print them as one number.
    """
    return repr(float(value)).removesuffix(".0")


def finite(name: str, value: Any, remedy: str = "") -> float:
    """Return `value` as a float; refuse what is not one finite real number."""
    number = _real(value)
    if number is None or not np.isfinite(number):
        raise error(name, "a finite number", shown(value), remedy)
    return number


def positive(name: str, value: Any, remedy: str = "") -> float:
    """Return `value` as a float; refuse what is not finite and > 0."""
    number = _real(value)
    if number is None or not 0.0 < number < np.inf:
        raise error(name, "a finite number > 0", shown(value), remedy)
    return number


def non_negative(name: str, value: Any, remedy: str = "") -> float:
    """Return `value` as a float; refuse what is not finite and >= 0."""
    number = _real(value)
    if number is None or not 0.0 <= number < np.inf:
        raise error(name, "a finite number >= 0", shown(value), remedy)
    return number


def interval(name: str, value: Any, low: float, high: float, *, ends: str = "[]", remedy: str = "") -> float:
    """Return `value` as a float; refuse what is outside of the interval, `ends` one of ``[] [) (] ()``."""
    number = _real(value)
    above = number is not None and (number >= low if ends[0] == "[" else number > low)
    below = number is not None and (number <= high if ends[1] == "]" else number < high)
    if number is None or not (above and below):
        raise error(name, f"a number in {ends[0]}{digits(low)}, {digits(high)}{ends[1]}", shown(value), remedy)
    return number


def integer(name: str, value: Any, *, minimum: int = 1, remedy: str = "") -> int:
    """Return `value` as an int; refuse non-integers, bools and what is below `minimum`."""
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or value < minimum:
        raise error(name, f"an integer >= {minimum}", shown(value), remedy)
    return int(value)


def one_of(name: str, value: Any, options: Collection[Any], remedy: str = "") -> Any:
    """Return `value` if it is one of `options`, named in the message otherwise."""
    plain = isinstance(value, str | bytes | bool | Real | np.generic)
    if not any(value is option or (plain and value == option) for option in options):
        raise error(name, "one of " + ", ".join(repr(option) for option in options), shown(value), remedy)
    return value


def meant(given: object, known: Iterable[str]) -> str:
    """The remedy for a name that does not exist: the most similar one, "" if there is none."""
    plain, listed = str(given).lower().replace("_", "-").replace(" ", "-"), list(known)
    found = get_close_matches(plain, listed, n=1, cutoff=0.5) or get_close_matches(str(given), listed, n=1)
    return f"perhaps {found[0]!r} is meant" if found else ""


def flag(name: str, value: Any, *, optional: bool = False) -> Any:
    """Return `value` if it is True or False, or None where that means "you choose"; text would count as true."""
    return one_of(name, value, (None, True, False) if optional else (True, False))


def instance(name: str, value: _Kind, kind: Any, expected: str, remedy: str = "") -> _Kind:
    """Return `value` if it is of the class `kind`; `expected` says in words what that is, as "a Grid"."""
    if not isinstance(value, kind):
        got = f"the class {value.__name__}" if isinstance(value, type) else shown(value)
        raise error(name, expected, got, remedy)
    return value


#: What the classes are called that arguments are instances of, and where one comes from.
_WORDS = {
    "BaseDynamics": ("a dynamics", "such as fpsolve.Reverse(target, process)"),
    "Grid": ("a Grid", "make one by Grid.uniform"),
    "Kernel": ("a Kernel", "make one by fpsolve.kernels"),
    "Law": ("a law", "data become one by fpsolve.KernelDensity(samples)"),
    "Process": ("a forward process", "for instance fpsolve.VP()"),
    "Reverse": ("a reverse dynamics", "fpsolve.Reverse(target, process)"),
}


def instances(**pairs: tuple[Any, Any]) -> None:
    """Refuse arguments that are not instances: ``instances(grid=(grid, Grid), law=(law, Law))``."""
    for name, (value, kind) in pairs.items():
        expected, remedy = _WORDS.get(kind.__name__, (f"a {kind.__name__}", ""))
        instance(name, value, kind, expected, remedy)


def label(name: str, value: Any) -> str:
    """Return a label if it is a string that can be printed, stored and read back: 1 to 200 characters, no controls."""
    if not isinstance(value, str):
        raise error(name, "labels that are strings", shown(value), "label them by text")
    if not 0 < len(value) <= 200 or not value.isprintable():
        raise error(name, "labels of 1 to 200 printable characters", shown(value))
    return value


def dimension(name: str, value: Any) -> int:
    """Return `value` if it is 1 or 2, the dimensions fpsolve knows."""
    if integer(name, value) not in (1, 2):
        raise error(name, "1 or 2", value, "densities live in one or two dimensions")
    return int(value)


def same_dim(name: str, dim: int, other_name: str, other_dim: int) -> int:
    """Return the common dimension of two objects; refuse to mix 1D and 2D."""
    if not isinstance(dim, Integral) or dim != other_dim:
        raise error(
            name, f"dimension {other_dim} as {other_name} has", f"dimension {shown(dim)}", "use 1D or 2D throughout"
        )
    return dim


def real_array(name: str, value: Any, remedy: str = "") -> FloatArray:
    """Return `value` as a float64 array, NaN and infinities included; refuse what is not real numbers.

    A conversion would read booleans as 0 and 1, dates as days, "1" as 1, drop imaginary parts and masks, and make
    None a NaN: all of these are refused, in lists too. Whole numbers, fractions and decimals pass. Every number that
    a user hands in is read here.

    Raises
    ------
    ValueError
        Text, booleans, dates, complex numbers, masked entries, None and other objects, ragged lists.
    """
    if type(value) is np.ndarray and value.dtype == np.float64:
        return value
    if type(value) is float or type(value) is np.float64:
        return np.asarray(value)
    # whether it is a tensor as PyTorch has them, maybe with a graph or on a device; no framework is imported
    is_tensor = all(callable(getattr(value, method, None)) for method in ("detach", "cpu", "numpy"))
    if is_tensor:
        value = value.detach().cpu().numpy()
    mask = np.ma.getmaskarray(value) if isinstance(value, np.ma.MaskedArray) else None
    if mask is not None and mask.any():
        got, cure = f"{int(mask.sum())} masked of {mask.size}", "take .compressed() or fill them"
        raise error(name, "an array of real numbers", got, remedy or cure)
    odd = _odd(value) if isinstance(value, list | tuple) else ""
    if not odd:
        try:
            array = np.asarray(value)
            odd = _KINDS.get(array.dtype.kind, "") or (_odd(array.ravel().tolist()) if array.dtype == object else "")
            if not odd:
                return np.asarray(array, dtype=np.float64)
        except USER_ERRORS:
            odd = f"{type(value).__name__} {shown(value)} that numpy cannot read as numbers"
    raise error(name, "an array of real numbers", odd, remedy or _CURES.get(odd, ""))


def finite_array(name: str, value: Any, *, shape: tuple[int | None, ...] | None = None, remedy: str = "") -> FloatArray:
    """Return `value` as a float array; refuse NaN, infinities, non-numbers and other shapes.

    `shape` holds a length per axis, None where any length will do; ``shape=None`` accepts every shape.
    """
    array = real_array(name, value, remedy)
    if shape is not None and not (
        array.ndim == len(shape) and all(n is None or m == n for m, n in zip(array.shape, shape, strict=True))
    ):
        wanted = "(" + ", ".join("n" if length is None else str(length) for length in shape)
        wanted += ",)" if len(shape) == 1 else ")"
        raise error(name, f"an array of shape {wanted}", f"shape {array.shape}", remedy)
    bad = array.size - int(np.count_nonzero(np.isfinite(array)))
    if bad:
        raise error(name, "finite numbers", f"{bad} NaN or infinite of {array.size}", remedy)
    return array


def varies(values: Any, axis: int = 0) -> NDArray[np.bool_]:
    """Return whether finite numbers differ by more than rounding along an axis; ``[0.3, 0.1 + 0.2]`` do not.

    More than 32 units in the last place of single precision, and more than 1e-13 of the largest in double: what is
    computed from a smaller spread (a standard deviation, a bandwidth, ranks) is computed from rounding errors.
    """
    array = np.asarray(values)
    unit = float(np.finfo(array.dtype).eps) if array.dtype.kind == "f" else 0.0
    with np.errstate(over="ignore"):
        spread = array.max(axis=axis).astype(np.float64) - array.min(axis=axis).astype(np.float64)
        size = np.abs(array.astype(np.float64)).max(axis=axis)
    return np.asarray(spread > max(1e-13, 32.0 * unit) * size)


def points(name: str, value: Any, dim: int, *, finite_only: bool = False) -> FloatArray:
    """Return points as a float array of shape ``(...)`` in 1D and ``(..., 2)`` in 2D."""
    array = finite_array(name, value) if finite_only else real_array(name, value)
    if dim == 2 and (array.ndim == 0 or array.shape[-1] != 2):
        raise error(name, "points of shape (..., 2) in 2D", f"shape {array.shape}", "put x and y on the last axis")
    return array


def probabilities(name: str, value: Any, *, tolerance: float = 1e-9) -> FloatArray:
    """Return a vector of weights that are >= 0 and sum to 1; never renormalises."""
    array = finite_array(name, value, shape=(None,))
    if array.size == 0:
        raise error(name, "at least one weight", "none")
    if array.min() < 0.0:
        raise error(name, "weights >= 0", f"a smallest weight of {array.min():.6g}")
    if abs(array.sum() - 1.0) > tolerance:
        raise error(name, "weights that sum to 1", f"a sum of {array.sum():.10g}", "divide them by their sum")
    return array


def covariance(name: str, value: Any, dim: int = 2) -> FloatArray:
    """Return a symmetric positive definite matrix of shape ``(dim, dim)``."""
    array = finite_array(name, value, shape=(dim, dim))
    if np.abs(array - array.T).max() > 1e-12 * np.abs(array).max():
        raise error(name, "a symmetric matrix", array.tolist())
    eigenvalues = np.linalg.eigvalsh(array)
    smallest = float(eigenvalues[0])
    # an eigenvalue of rounding size is zero, whatever its sign
    if smallest <= 8.0 * np.finfo(float).eps * float(eigenvalues[-1]):
        raise error(name, "a positive definite matrix", f"a smallest eigenvalue of {smallest:.6g}")
    return array


def values_at(name: str, value: Any, shape: tuple[int, ...], where: str = "") -> FloatArray:
    """Return what a user's function gave as a finite float array of `shape`; `where` is told on failure."""
    label = f"{name} {where}" if where else name
    array = real_array(label, value)
    if array.shape != shape:
        raise error(label, f"values of shape {shape}", f"shape {array.shape}", "return one value per point")
    return finite_array(label, array)


def exactly_one(**arguments: Any) -> str:
    """Return the name of the only argument that is not None; refuse none and several."""
    given = [name for name, value in arguments.items() if value is not None]
    if len(given) != 1:
        both = " and ".join(given) if given else "none of them"
        raise error(" / ".join(arguments), "exactly one of these", both, "give one and leave out the others")
    return given[0]


def generator(name: str, rng: Any) -> np.random.Generator:
    """Return a Generator: `rng` itself, or one seeded with the integer `rng`."""
    if isinstance(rng, np.random.Generator):
        return rng
    if isinstance(rng, np.random.SeedSequence):
        return np.random.default_rng(rng)
    remedy = "randomness comes from an explicit seed only"
    if rng is None or not isinstance(rng, Integral) or isinstance(rng, bool) or rng < 0:
        raise error(name, "a numpy.random.Generator or an integer seed >= 0", repr(rng), remedy)
    return np.random.default_rng(int(rng))


def _real(value: Any) -> float | None:
    """Return one real number as a float, None for anything else (bool, text, arrays, complex, masked)."""
    try:
        array = real_array("", value)
    except ValueError:
        return None
    return float(array) if array.ndim == 0 else None


def _odd(value: Any) -> str:
    """Return what in a nested list is not a real number, in words; "" where numpy may read it."""
    if isinstance(value, list | tuple):
        for kind in set(map(type, value)) - _PLAIN:
            for item in value:
                if type(item) is kind and (found := _odd(item)):
                    return found
        return ""
    if value is np.ma.masked or (isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value)):
        return "masked"
    if isinstance(value, bool | np.bool_):
        return "booleans"
    if isinstance(value, str | bytes):
        return "text"
    if isinstance(value, Complex):
        return "" if isinstance(value, Real) else "complex numbers"
    if isinstance(value, np.generic | np.ndarray) and value.dtype != object:
        return _KINDS.get(value.dtype.kind, "")
    return "" if isinstance(value, Decimal) or hasattr(value, "__array__") else shown(value)


def shown(value: object) -> str:
    """Return the beginning of how a value presents itself, on one line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:57] + "..."
