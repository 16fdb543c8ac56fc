"""Weights V >= 1 of the weighted total variation ``||mu - nu||_V = int V |dmu - dnu|``.

Points are ``(...)`` in 1D and ``(..., 2)`` in 2D; a built-in weight is told which by ``dim``, a user's
callable takes the points alone. `evaluate` is the one place that knows the difference and checks the result.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np

from fpsolve import _callables, _checks
from fpsolve._checks import FloatArray

__all__ = [
    "DEFAULT",
    "ExponentialWeight",
    "PolynomialWeight",
    "UnitWeight",
    "Weight",
    "WeightLike",
    "evaluate",
    "from_json",
    "logarithm",
    "to_json",
]


@dataclass(frozen=True)
class Weight(ABC):
    """A built-in weight: a frozen dataclass of its parameters, called as ``weight(x, dim=...)``.

    A new one is a frozen dataclass with a `kind` (its name in saved files) and ``__call__``.
    """

    kind: ClassVar[str]

    @abstractmethod
    def __call__(self, x: Any, *, dim: int = 1) -> FloatArray:
        """Return V at the points `x`, of shape ``(...)``."""


WeightLike: TypeAlias = Weight | Callable[[Any], Any] | None


@dataclass(frozen=True)
class PolynomialWeight(Weight):
    """The weight ``V(x) = 1 + beta |x|^power`` with the Euclidean norm.

    Parameters
    ----------
    power : float, default 2
        Exponent p > 0.
    beta : float, default 1
        Factor >= 0, in units of (unit of x)^-power; 0 is plain total variation times two.

    Raises
    ------
    ValueError
        If `power` is not > 0 or `beta` is negative.

    Examples
    --------
    >>> PolynomialWeight(power=2, beta=0.5)([0.0, 2.0])
    array([1., 3.])
    >>> float(PolynomialWeight(1)([3.0, 4.0], dim=2))
    6.0
    """

    power: float = 2.0
    beta: float = 1.0
    kind: ClassVar[str] = "polynomial"

    def __post_init__(self) -> None:
        _checks.positive("power", self.power)
        _checks.non_negative("beta", self.beta)

    def __call__(self, x: Any, *, dim: int = 1) -> FloatArray:
        """Return V at the points `x`, of shape ``(...)``."""
        if self.power == 2.0:
            # without the root: exact for integers, and twice as fast
            array = _checks.points("x", x, dim)
            squared_norm = np.square(array[..., 0]) + np.square(array[..., 1]) if dim == 2 else np.square(array)
            return 1.0 + self.beta * squared_norm
        return 1.0 + self.beta * _norm(x, dim) ** self.power


@dataclass(frozen=True)
class ExponentialWeight(Weight):
    """The weight ``V(x) = exp(rate |x|)`` with the Euclidean norm.

    Parameters
    ----------
    rate : float
        Rate >= 0, in units of 1/(unit of x).

    Raises
    ------
    ValueError
        If `rate` is negative.

    Examples
    --------
    >>> ExponentialWeight(0.5)([0.0, -2.0])
    array([1.        , 2.71828183])
    """

    rate: float
    kind: ClassVar[str] = "exponential"

    def __post_init__(self) -> None:
        _checks.non_negative("rate", self.rate)

    def __call__(self, x: Any, *, dim: int = 1) -> FloatArray:
        """Return V at the points `x`, of shape ``(...)``."""
        return np.exp(self.rate * _norm(x, dim))


@dataclass(frozen=True)
class UnitWeight(Weight):
    """The weight ``V = 1``: the weighted norm is then twice the usual total variation.

    Examples
    --------
    >>> UnitWeight()([-1.0, 5.0])
    array([1., 1.])
    """

    kind: ClassVar[str] = "unit"

    def __call__(self, x: Any, *, dim: int = 1) -> FloatArray:
        """Return ones, of shape ``(...)``."""
        array = _checks.points("x", x, dim)
        return np.ones(array.shape[:-1] if dim == 2 else array.shape)


DEFAULT = PolynomialWeight(2.0, 1.0)

_KINDS: dict[str, type[Weight]] = {kind.kind: kind for kind in (PolynomialWeight, ExponentialWeight, UnitWeight)}


def evaluate(weight: WeightLike, where: Any, dim: int | None = None) -> FloatArray:
    """Return V at points or at the cell centres of a grid, checked.

    Parameters
    ----------
    weight : Weight, callable or None
        A built-in weight, a function V(x) of points of shape ``(...)`` (1D) or ``(..., 2)`` (2D), or None for
        the default ``1 + |x|^2``.
    where : Grid or array
        A grid (its cell centres are used; point values, not cell averages) or points.
    dim : int, optional
        Dimension of the points, default 1; of a grid it is known.

    Returns
    -------
    array
        V, of shape ``(...)``, finite and >= 1.

    Raises
    ------
    ValueError
        If V has another shape, is not finite or is below 1 somewhere, or if `dim` contradicts the grid.

    Examples
    --------
    >>> evaluate(lambda x: np.cosh(x), [0.0, 1.0])
    array([1.        , 1.54308063])
    """
    # asked of the type: asking the grid would compute its centres
    if hasattr(type(where), "x") and hasattr(type(where), "dim"):
        dim = _checks.same_dim("dim", where.dim if dim is None else dim, "the grid", where.dim)
        x = where.x
    else:
        dim = 1 if dim is None else _checks.dimension("dim", dim)
        x = _checks.points("x", where, dim, finite_only=True)
    values = _values(weight, x, dim)
    if not np.isfinite(values).all():
        raise _checks.error("weight", "a finite V", "NaN or inf", "use a slower growing weight or a smaller box")
    return values


def logarithm(weight: WeightLike, x: FloatArray, dim: int) -> FloatArray:
    """Return log V at points, checked as by `evaluate`; infinite where V is no finite number."""
    values = _values(weight, x, dim)
    finite = np.isfinite(values)
    return np.where(finite, np.log(np.where(finite, values, 1.0)), np.inf)


def _values(weight: WeightLike, x: FloatArray, dim: int) -> FloatArray:
    if weight is not None and not callable(weight):
        raise _checks.error("weight", "a weight, a callable V(x) or None", weight, "try fp.PolynomialWeight()")
    shape = x.shape[:-1] if dim == 2 else x.shape
    # an overflow becomes inf and is reported just below, with its remedy
    with np.errstate(over="ignore"):
        if weight is None or isinstance(weight, Weight):
            return _checked((DEFAULT if weight is None else weight)(x, dim=dim), shape)
        _callables.refuse_signature("weight", weight, "x", "a weight V(x) is the same at all times")
        before = x.copy()
        values = _checked(_callables.answer_of("weight", weight, x, remedy="use numpy functions"), shape)
        if not np.array_equal(before, x):
            raise _checks.error("weight", "a function that leaves its points alone", "one that changes x", "copy it")
        _callables.refuse_company("weight", weight, before, values)
    return values


def to_json(weight: WeightLike) -> str:
    """Return a short JSON string that names the weight, for Dataset attributes.

    Examples
    --------
    >>> to_json(None)
    '{"kind": "polynomial", "power": 2.0, "beta": 1.0}'
    """
    weight = DEFAULT if weight is None else weight
    if isinstance(weight, Weight):
        return json.dumps({"kind": weight.kind} | asdict(weight))
    name = getattr(weight, "__qualname__", type(weight).__qualname__)
    return json.dumps({"kind": "callable", "name": name})


def from_json(text: str) -> Weight:
    """Return the built-in weight that `to_json` wrote.

    Raises
    ------
    ValueError
        If `text` is not such a string, or names a user's callable, which cannot be rebuilt.

    Examples
    --------
    >>> from_json('{"kind": "exponential", "rate": 0.5}')
    ExponentialWeight(rate=0.5)
    """
    try:
        parameters = dict(json.loads(text))
        return _KINDS[parameters.pop("kind")](**parameters)
    except (KeyError, TypeError, ValueError) as reason:
        known = ", ".join(_KINDS)
        raise _checks.error(
            "weight", f"the JSON of a built-in weight ({known})", text, "pass weight= explicitly"
        ) from reason


def _checked(values: Any, shape: tuple[int, ...]) -> FloatArray:
    array = _checks.real_array("weight", values)
    if array.shape != shape:
        raise _checks.error("weight", f"V of shape {shape}", f"shape {array.shape}", "return one value per point")
    # rounding slack: cosh and the like may return 1 - 1e-16
    if np.any(array < 1.0 - 1e-12):
        raise _checks.error("weight", "V >= 1", f"a smallest value of {_checks.digits(np.nanmin(array))}", "use 1 + V")
    return array


def _norm(x: Any, dim: int) -> FloatArray:
    array = _checks.points("x", x, dim)
    return np.hypot(array[..., 0], array[..., 1]) if dim == 2 else np.abs(array)
