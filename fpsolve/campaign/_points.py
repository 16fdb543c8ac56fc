"""The points of a sweep: checked axes, their labels, and the product of them with hash and seed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from numbers import Real
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from fpsolve._checks import error
from fpsolve.campaign._identity import canonical, digest, spelled

__all__ = ["Axis", "Point", "axes", "points"]


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
