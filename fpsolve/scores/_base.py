"""What a score is: the border it passes, the exact one, arrays in and out, and its name.

What a callable is called in an attribute or message: the same text in every run, without addresses.

What a model answers as a float64 array: numpy, anything numpy can read, tensors that sit on a device.

The check every score passes at the border.

The exact score of the forward marginals.

Central differences with weights that are exact, so that a constant has the derivative zero on every machine.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import factorial
from typing import Any, TypeAlias

import numpy as np

from fpsolve._callables import answer_of
from fpsolve._checks import FloatArray, error, finite, real_array
from fpsolve.laws import Law
from fpsolve.marginals import Marginals, family
from fpsolve.processes import Process


def name_of(value: Any) -> str:
    """Return a short description of a callable that does not change from run to run.

    Functions by module and name, lambdas with their line, partials with their arguments, any other object by its
    ``repr`` unless that shows an address; then by its class.

    Examples
    --------
    >>> import math
    >>> name_of(math.hypot)
    'math.hypot'
    >>> name_of(object())
    'builtins.object'
    """
    if isinstance(value, partial):
        given = [name_of(value.func), *map(repr, value.args), *(f"{k}={v!r}" for k, v in value.keywords.items())]
        return f"partial({', '.join(given)})"
    qualified = getattr(value, "__qualname__", None)
    if qualified is not None:
        name = f"{value.__module__}.{qualified}".replace("<locals>.", "")
        code = getattr(value, "__code__", None)
        return f"{name}, line {code.co_firstlineno}" if code is not None and "<lambda>" in name else name
    shown = repr(value)
    if " at 0x" not in shown and "\n" not in shown:
        return shown
    kind = type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def as_numpy(name: str, value: Any, *, whole: bool = False) -> Any:
    """Return `value` as a numpy array of the type it has; `whole`: also one of integers.

    A tensor with ``detach``, ``cpu`` and ``numpy`` (PyTorch) is taken off its graph and its device; everything else,
    JAX arrays included, is what ``numpy.asarray`` makes of it. No framework is imported.

    Raises
    ------
    ValueError
        If numpy cannot read it, or it is not of real numbers; integers, which have lost their digits; NaN and
        infinities of float16, which ends at 65504.
    """
    message = f"{name}: expected an array of real numbers, got {type(value).__name__}"
    tensor = all(callable(getattr(value, method, None)) for method in ("detach", "cpu", "numpy"))
    try:
        array = value.detach().cpu().numpy() if tensor else np.asarray(value)
    except (TypeError, ValueError, RuntimeError):  # ragged lists, types numpy does not have
        raise ValueError(f"{message} that numpy cannot convert; return a numpy array of floats.") from None
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{message} of dtype {array.dtype}; return real floats.")
    if array.dtype.kind in "iu" and not whole:
        raise error(name, "floats", f"integers ({array.dtype})", "return floats: integers cut the digits off")
    if array.dtype == np.float16 and not np.isfinite(array).all():
        got = f"{int((~np.isfinite(array)).sum())} NaN or infinite of {array.size} in float16, which ends at 65504"
        raise error(name, "finite numbers", got, "compute in float32")
    return array


def answer(
    name: str, t: float, x: FloatArray, value: Any, dim: int | None = None, *, whole: bool = False
) -> FloatArray:
    """Return what a model gave for the points x at time t as float64; refuse another shape, NaN and infinities.

    Raises
    ------
    ValueError
        With the time and, for values that are not finite, their number and the first point where they occur.
    """
    array = np.asarray(as_numpy(f"{name} at t = {t:g}", value, whole=whole), dtype=np.float64)
    if array.shape != x.shape:
        raise ValueError(
            f"{name} at t = {t:g}: expected the shape of x, {x.shape}, got {array.shape}; "
            "return one number (1D) or vector (2D) per point."
        )
    bad = ~np.isfinite(array)
    if bad.any():
        raise ValueError(
            f"{name} at t = {t:g}: expected finite numbers, got {int(bad.sum())} NaN or infinite of {array.size}, "
            f"the first where x = {_place(x, bad, dim)}; evaluate in logarithms, not as a ratio of densities."
        )
    return array


def _place(x: FloatArray, bad: Any, dim: int | None) -> str:
    """The point of the first bad entry, as text."""
    first = int(bad.argmax())
    if dim == 2:
        point = x.reshape(-1, 2)[first // 2]
        return f"({point[0]:g}, {point[1]:g})"
    return f"{float(x.ravel()[first]):g}"


Score: TypeAlias = Callable[[float, FloatArray], FloatArray]


@dataclass(frozen=True, eq=False, repr=False)
class CheckedScore:
    """A user's score, whose every answer is checked: shape of x, real, finite.

    Parameters
    ----------
    score : callable
        ``score(t, x)``, t a float, x of shape ``(...)`` in 1D or ``(..., 2)`` in 2D.
    dim : int, optional
        1 or 2; known, messages name whole points.
    """

    score: Callable[[float, Any], Any]
    dim: int | None = None

    def __call__(self, t: float, x: Any) -> FloatArray:
        """Return ``score(t, x)`` as float64; tensors are taken off their device.

        Raises
        ------
        ValueError
            If it is of another shape than x, complex, an array of integers, not numeric, or not finite; the message
            says at which t.
        """
        t, x = finite("t", t), real_array("x", x)
        value = answer_of(f"score at t = {t:g}", self.score, t, x)
        # whole numbers written as a list are meant, an array of integers has cut off digits
        return answer("score", t, x, value, self.dim, whole=isinstance(value, list | tuple | int))

    def __repr__(self) -> str:
        """Return the description of the score that is checked."""
        return name_of(self.score)


def checked(score: Callable[[float, Any], Any], dim: int | None = None) -> CheckedScore:
    """Return `score` behind the check, itself if it is behind it already.

    Raises
    ------
    ValueError
        If `score` is not callable.

    Examples
    --------
    >>> from fpsolve.scores import checked
    >>> float(checked(lambda t, x: -x)(0.5, 2.0))
    -2.0
    """
    if isinstance(score, CheckedScore):
        return score
    if not callable(score):
        raise ValueError(f"score: expected a callable score(t, x), got {score!r}; leave it out for the exact score.")
    return CheckedScore(score, dim)


def breaks_of(part: Any) -> tuple[float, ...]:
    """Return the times at which a part of a score jumps or bends; AttributeError where it does not say all of them.

    Scores without the attribute `breaks` are looked at in time by every run, which costs more than the run.
    """
    if isinstance(part, Process):
        if part.joints.steep or part.joints.rough:
            raise AttributeError(f"{part!r} changes quickly, or too often to say when")
        return part.joints.times
    found: tuple[float, ...] = part.breaks
    return found


@dataclass(frozen=True, eq=False, repr=False)
class ExactScore:
    """``s(t, x) = grad log p_t(x)``; `marginals` is the family p_t."""

    marginals: Marginals

    def __call__(self, t: float, x: Any) -> FloatArray:
        """Return the score at the points x, shape ``(...)`` in 1D, ``(..., 2)`` in 2D, and of that shape."""
        time, process = finite("t", t), self.marginals.process
        # beyond T a churn at the highest noise level asks
        longer = process.reaching(time)
        return (self.marginals if longer is process else family(self.marginals.target, longer)).score(time, x)

    @property
    def breaks(self) -> tuple[float, ...]:
        """Those of the process, in time nothing else is rough; no such attribute where it changes in other ways."""
        return breaks_of(self.marginals.process)

    def __repr__(self) -> str:
        """Return the call that makes it."""
        return f"exact({self.marginals.target!r}, {self.marginals.process!r})"


def exact(target: Law, process: Process) -> ExactScore:
    """Return the exact score of `process` started from `target`.

    Parameters
    ----------
    target : Law
        p_0.
    process : Process
        Forward process.

    Examples
    --------
    >>> import fpsolve as fp
    >>> score = fp.scores.exact(fp.Gaussian(0.0, std=1.0), fp.OrnsteinUhlenbeck(T=3.0))
    >>> float(score(0.5, 2.0))
    -2.0
    """
    return ExactScore(family(target, process))


def first_derivative(order: int) -> list[float]:
    r"""Return the weights ``w_k`` of ``f'(x) = sum_k w_k (f(x + kh) - f(x - kh))/h``, k = 1 to m, exact to order 2m.

    .. math:: w_k = (-1)^{k+1} \frac{(m!)^2}{k (m - k)! (m + k)!}.

    In closed form: weights from a linear solve carry its rounding errors, which differ between processors, and what
    they sum up to in place of zero is multiplied by ``f/h``.

    References
    ----------
    Fornberg 1988, doi:10.1090/S0025-5718-1988-0935077-0.

    Examples
    --------
    >>> first_derivative(4) == [2 / 3, -1 / 12]
    True
    """
    m = order // 2
    return [-((-1) ** k) * factorial(m) ** 2 / (k * factorial(m - k) * factorial(m + k)) for k in range(1, m + 1)]
