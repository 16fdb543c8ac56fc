"""What is swept: the function and its points.

The function: which names it takes, what else its results depend on, what its code looks like. The points: checked axes,
their labels, the product of them with hash and seed, and the Dataset of all results: swept names first, everything in
the given order.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import product
from numbers import Real
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from fpsolve._checks import error
from fpsolve.campaign._identity import Reads, canonical, digest, reads, spelled

if TYPE_CHECKING:
    import xarray as xr


_Kind = inspect.Parameter


@dataclass(frozen=True)
class Target:
    """A function that takes the swept names.

    Attributes
    ----------
    call : callable
        The function itself, called with keywords.
    swept : tuple of str
        Names it is swept over, in the given order.
    rest : dict
        Default values of its other parameters, `seed` aside.
    seeded : bool
        Whether it has a parameter `seed`.
    """

    call: Callable[..., Any]
    swept: tuple[str, ...]
    rest: dict[str, Any]
    seeded: bool

    @property
    def name(self) -> str:
        """Name for people, and what tells functions apart that share a folder."""
        inner = self._inner
        return str(getattr(inner, "__qualname__", type(inner).__qualname__))

    def identity(self) -> dict[str, Any]:
        """Return what a stored result depends on beside the swept values: a JSON tree.

        The name, the defaults of parameters that are not swept, arguments bound by `functools.partial`, the object of a
        bound method, and the values that the function and those it calls read from closures and globals. Not the code,
        so that a function may be repaired without losing what is finished; but a lambda has nothing else to be known
        by.
        """
        outer, inner = self.call, self._inner
        tree = {
            "function": self.name,
            "rest": {name: canonical(f"function: default of {name}", value) for name, value in self.rest.items()},
        }
        if isinstance(outer, partial) and outer.args:
            tree["arguments"] = canonical("function: arguments", outer.args)
        if getattr(inner, "__self__", None) is not None and not isinstance(inner.__self__, type(sys)):
            tree["self"] = canonical("function: its object", inner.__self__)
        elif not hasattr(inner, "__qualname__"):
            tree["self"] = canonical("function", inner)
        if self._reads.values:
            tree["reads"] = self._reads.values
        if "<lambda>" in self.name:
            tree["code"] = self.code
        return tree

    @property
    def code(self) -> str:
        """Fingerprint of the compiled code, that of the user's functions it calls included, comments aside."""
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        codes = "".join(self._reads.codes.values())
        return f"python{version}:{hashlib.sha256(codes.encode()).hexdigest()[:16]}"

    @property
    def states(self) -> dict[str, str]:
        """Hashes of the lists, dicts and other objects that the function reads and could change, by name."""
        return reads(self.call).states

    @cached_property
    def _reads(self) -> Reads:
        return reads(self.call)

    @property
    def _inner(self) -> Any:
        inner: Any = self.call
        while isinstance(inner, partial):
            inner = inner.func
        inner = inspect.unwrap(inner)
        return getattr(inner, "py_func", inner)


def target(function: Any, swept: Sequence[str]) -> Target:
    """Return the checked function.

    Raises
    ------
    ValueError
        What is no function; a swept name that is none of its parameters; a parameter without a value.
    """
    if not callable(function):
        raise error("function", "a callable", repr(function)[:60], "sweep(function, eta=[0.5, 1.0])")
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # a built-in that does not tell; it will at the first call
        return Target(function, tuple(swept), {}, seeded=False)
    open_ended = any(p.kind is _Kind.VAR_KEYWORD for p in parameters)
    named = {p.name: p for p in parameters if p.kind in (_Kind.POSITIONAL_OR_KEYWORD, _Kind.KEYWORD_ONLY)}
    for name in swept:
        if name not in named and not open_ended:
            known = ", ".join(repr(known) for known in named) or "none"
            raise error(name, f"a parameter of the function (it has {known})", f"the unknown name {name!r}")
    rest = {name: p for name, p in named.items() if name not in swept and name != "seed"}
    # positional-only parameters cannot be given by keyword at all
    rest |= {p.name: p for p in parameters if p.kind is _Kind.POSITIONAL_ONLY}
    missing = [name for name, p in rest.items() if p.default is _Kind.empty]
    if missing:
        wanted = "a value, by keyword, for every parameter without a default"
        raise error("function", wanted, f"none for {missing[0]!r}", f"add {missing[0]}=[...], or bind it by partial")
    return Target(function, tuple(swept), {name: p.default for name, p in rest.items()}, "seed" in named)


@dataclass(frozen=True)
class Axis:
    """A swept name with its values in the given order, their canonical trees, and the labels of the coordinate."""

    name: str
    values: tuple[Any, ...]
    trees: tuple[Any, ...]
    labels: NDArray[Any]


@dataclass(frozen=True)
class Point:
    """One point of the product: position along every axis, keyword arguments, configuration as JSON, seed."""

    index: tuple[int, ...]
    arguments: dict[str, Any]
    configuration: str
    seed: int


def axes(grid: Mapping[str, Any]) -> tuple[Axis, ...]:
    """Return the axes of a sweep.

    Raises
    ------
    ValueError
        No axis; what is no list; an empty list; a value given twice; a value without a stable identity.
    """
    if not grid:
        raise error("grid", "at least one name with a list of values", "none", "sweep(function, eta=[0.5, 1.0])")
    return tuple(_axis(name, given) for name, given in grid.items())


def points(along: tuple[Axis, ...], seed: int) -> list[Point]:
    """Return every point, the last axis fastest.

    The seed of a point is a 63-bit number from the sha256 of its configuration and the sweep's seed: neither the order
    nor the other points matter.
    """
    listed = []
    for index in product(*(range(len(axis.values)) for axis in along)):
        arguments = {axis.name: axis.values[k] for axis, k in zip(along, index, strict=True)}
        configuration = spelled({axis.name: axis.trees[k] for axis, k in zip(along, index, strict=True)})
        mixed = hashlib.sha256(f"{seed}:{configuration}".encode()).digest()
        listed.append(Point(index, arguments, configuration, int.from_bytes(mixed[:8], "big") >> 1))
    return listed


def _axis(name: str, given: Any) -> Axis:
    named = list(given) if isinstance(given, Mapping) else None
    values = tuple(_plain(value) for value in (given.values() if isinstance(given, Mapping) else _listed(name, given)))
    if not values:
        raise error(name, "at least one value", "an empty list")
    trees = tuple(canonical(f"{name}[{k}]", value) for k, value in enumerate(values))
    hashes = [digest(tree) for tree in trees]
    labels = _labels(values) if named is None else np.array([_text(key) for key in named])
    for k, one in enumerate(hashes):
        if one in hashes[:k]:
            raise error(name, "different values", f"{labels[k].item()!r} twice")
    if len(set(labels.tolist())) < len(labels):
        remedy = "give a dict from labels to values"
        raise error(name, "values that look different", f"{labels.tolist()!r}"[:100], remedy)
    return Axis(name, values, trees, labels)


def _listed(name: str, given: Any) -> Iterable[Any]:
    flat = given.to_numpy() if hasattr(given, "to_numpy") else given
    listed = isinstance(flat, Iterable) and not isinstance(flat, str | bytes) and getattr(flat, "ndim", 1) > 0
    # a set comes in another order in every process
    if not listed or isinstance(flat, set | frozenset):
        raise error(name, "a list of values", repr(given)[:60], f"write {name}=[...]")
    return cast(Iterable[Any], flat)


def _plain(value: Any) -> Any:
    """A numpy number that equals a Python one becomes it, so that values of the same hash are the same."""
    return value.item() if isinstance(value, np.float64 | np.int64 | np.bool_ | np.str_) else value


def _labels(values: tuple[Any, ...]) -> NDArray[Any]:
    """Numbers and strings label themselves, anything else is labelled by its name or repr."""
    numbers = [isinstance(value, Real) and not isinstance(value, bool) for value in values]
    if all(numbers) or all(isinstance(value, bool) for value in values):
        return np.array(values)
    return np.array([_text(value) for value in values])


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return str(getattr(value, "__qualname__", "")) or repr(value)


#: Name of the variable with the error texts; the second where a result uses the first.
ERROR = ("error", "error_text")


@dataclass(frozen=True)
class _Labels:
    """The common labels of an inner dimension, and where each result's own labels are among them."""

    size: int
    coordinate: NDArray[Any] | None
    positions: dict[int, NDArray[np.intp]]


def combine(axes: Sequence[Axis], results: Sequence[xr.Dataset | None], errors: Sequence[str]) -> xr.Dataset:
    """Return one Dataset over all points.

    `xarray.combine_by_coords` would sort the labels and build the result piece by piece; here every variable is
    allocated once. Variables get the swept dimensions in front of their own; coordinates do so only where they differ
    between points. Where the points' own labels differ along an inner dimension, the union is taken: missing entries
    are NaN (bools and integers become floats), missing strings are "".

    Parameters
    ----------
    axes : sequence of Axis
    results : sequence of Dataset or None
        In the order of the points, the last axis fastest; None where a point failed.
    errors : sequence of str
        "" where it did not.

    Raises
    ------
    ValueError
        Results that do not fit together: the same name with other dimensions, or numbers here and strings there.
    """
    import xarray as xr

    swept = {axis.name: len(axis.labels) for axis in axes}
    given = {k: dataset for k, dataset in enumerate(results) if dataset is not None}
    inner = {dim: _union(dim, given) for dim in _names(given, "dims")}
    coordinates: dict[Hashable, Any] = {axis.name: axis.labels for axis in axes}
    coordinates |= {dim: (dim, known.coordinate) for dim, known in inner.items() if known.coordinate is not None}
    variables: dict[Hashable, Any] = {}
    for name in _names(given, "variables"):
        if name in inner:
            continue
        parts = {k: dataset.variables[name] for k, dataset in given.items() if name in dataset.variables}
        first = next(iter(parts.values()))
        if all(name in dataset.coords and first.identical(parts[k]) for k, dataset in given.items()):
            coordinates[name] = first
            continue
        kind = coordinates if any(name in dataset.coords for dataset in given.values()) else variables
        kind[name] = _stack(name, parts, swept, inner)
    text = ERROR[1] if ERROR[0] in {*variables, *coordinates} else ERROR[0]
    told = np.array(list(errors), dtype=np.str_).reshape(tuple(swept.values()))
    variables[text] = (tuple(swept), told, {"long_name": "error of a failed point, empty where there was none"})
    combined = xr.Dataset(variables, coords=coordinates)
    return combined.assign_attrs(_common([dataset.attrs for dataset in given.values()]))


def _names(given: dict[int, xr.Dataset], what: str) -> list[Hashable]:
    """Names of all results in the order of their first appearance."""
    return list(dict.fromkeys(name for dataset in given.values() for name in getattr(dataset, what)))


def _union(dim: Hashable, given: dict[int, xr.Dataset]) -> _Labels:
    """Labels of all results: the first one's where all agree, else all of them, numbers sorted."""
    import pandas as pd

    having = {k: dataset for k, dataset in given.items() if dim in dataset.dims}
    labelled = all(dim in dataset.coords for dataset in having.values())
    own = {k: dataset[dim].values if labelled else np.arange(dataset.sizes[dim]) for k, dataset in having.items()}
    first = next(iter(own.values()))
    if all(np.array_equal(labels, first) for labels in own.values()):
        everywhere = np.arange(len(first))
        return _Labels(len(first), first if labelled else None, dict.fromkeys(own, everywhere))
    index = pd.Index(np.concatenate(list(own.values()))).unique()
    if first.dtype.kind != "U":
        index = index.sort_values(ascending=not all(np.all(np.diff(labels) < 0) for labels in own.values()))
    for labels in own.values():
        if len(np.unique(labels)) < len(labels):
            raise error("result", f"different labels along {dim!r}", "a label twice", "return them without")
    positions = {k: np.asarray(index.get_indexer(labels)) for k, labels in own.items()}
    coordinate = np.asarray(index, dtype=None if first.dtype.kind != "U" else np.str_)
    return _Labels(len(index), coordinate if labelled else None, positions)


def _stack(name: Hashable, parts: dict[int, Any], swept: dict[str, int], inner: dict[Hashable, _Labels]) -> Any:
    """Return (dims, values, attrs) of one variable over all points."""
    first = next(iter(parts.values()))
    for part in parts.values():
        if set(part.dims) != set(first.dims) or (part.dtype.kind == "U") != (first.dtype.kind == "U"):
            shapes = f"{first.dtype} over {first.dims} and {part.dtype} over {part.dims}"
            raise error("result", f"{name!r} of one kind at all points", shapes, "give them different names")
    sizes = tuple(inner[dim].size for dim in first.dims)
    points = int(np.prod(list(swept.values())))
    whole = len(parts) == points and all(part.shape == sizes for part in _ordered(parts, first.dims))
    values = _blank((points, *sizes), [part.dtype for part in parts.values()], whole=whole)
    for k, part in zip(parts, _ordered(parts, first.dims), strict=True):
        values[np.ix_(np.array([k]), *(inner[dim].positions[k] for dim in first.dims))] = part.values
    shaped = values.reshape(*swept.values(), *sizes)
    return ((*swept, *first.dims), shaped, _common([part.attrs for part in parts.values()]))


def _ordered(parts: dict[int, Any], dims: tuple[Hashable, ...]) -> list[Any]:
    return [part.transpose(*dims) for part in parts.values()]


def _blank(shape: tuple[int, ...], dtypes: list[np.dtype[Any]], *, whole: bool) -> NDArray[Any]:
    """Allocate: NaN or "" until filled, of a type that holds all parts and, unless all is filled, NaN."""
    dtype = np.result_type(*dtypes)
    if dtype.kind == "U":
        return np.full(shape, "", dtype)
    if whole:
        return np.empty(shape, dtype)
    return np.full(shape, np.nan, dtype if dtype.kind == "f" else np.float64)


def _common(attrs: Sequence[dict[Any, Any]]) -> dict[Any, Any]:
    """Attributes that all have, with one value."""
    if not attrs:
        return {}
    return {
        key: value
        for key, value in attrs[0].items()
        if all(key in other and np.array_equal(other[key], value) for other in attrs[1:])
    }
