"""What a value is, independent of process, machine and run: canonical JSON and its hash."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import partial
from pathlib import PurePath
from types import ModuleType
from typing import Any

import numpy as np

from fpsolve._checks import error

__all__ = ["canonical", "digest"]

_STABLE = "a value with a stable identity (a number, string, array, law, process, weight, grid or named function)"
_REMEDY = "sweep over names (strings) and look the object up inside of the function"


def digest(tree: Any) -> str:
    """Return the sha256 of a JSON tree in its one canonical spelling, as 64 hex digits.

    Examples
    --------
    >>> digest({"b": 1.0, "a": [True, None]})[:12]
    'e527a8898006'
    """
    return hashlib.sha256(spelled(tree).encode()).hexdigest()


def spelled(tree: Any) -> str:
    """Return the canonical spelling: sorted keys, no blanks, floats by their shortest exact form."""
    return json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def canonical(name: str, value: Any) -> Any:
    """Return a JSON tree that is the same for equal values in every process, and different for different ones.

    Parameters
    ----------
    name : str
        What the value is called in an error.
    value : object
        None, bool, number, string, path, enum member, array, DataArray, list, tuple, set, mapping, dataclass (laws,
        processes, weights, grids and dynamics are), class, module, partial, or a function that can be imported by its
        name; nested as deep as need be. Arrays enter by type, shape and the sha256 of their bytes. An int and the
        float of the same size are different: a function may treat them differently.

    Raises
    ------
    ValueError
        For a lambda, a function made inside of another, a generator or any object that hides what it is made of.

    Examples
    --------
    >>> canonical("x", (1, 2.0, "three"))
    [1, 2.0, 'three']
    >>> import fpsolve as fp
    >>> canonical("weight", fp.PolynomialWeight(2.0, 0.5))
    {'class': 'fpsolve:PolynomialWeight', 'fields': {'power': 2.0, 'beta': 0.5}}
    """
    if value is None or isinstance(value, bool):
        return value
    for kinds, write in _WRITERS:
        if isinstance(value, kinds):
            return write(name, value)
    if is_dataclass(value) and not isinstance(value, type):
        return _dataclass(name, value)
    if isinstance(value, type) or callable(value):
        return _named(name, value)
    if type(value).__module__.partition(".")[0] == "xarray" and hasattr(value, "to_dict"):
        return _labelled(name, value)
    raise error(name, _STABLE, _shown(value), _REMEDY)


def _array(name: str, value: Any) -> Any:
    array = np.asarray(value)
    if array.dtype.kind == "O":
        return {"objects": [canonical(name, item) for item in array.ravel()], "shape": array.shape}
    if array.dtype.kind not in "biufcUSmM":
        raise error(name, _STABLE, f"an array of {array.dtype}", "use plain arrays of numbers")
    # one byte order on every machine
    plain = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    content = hashlib.sha256(plain.tobytes()).hexdigest()
    return {"array": plain.dtype.str, "shape": list(array.shape), "sha256": content}


def _mapping(name: str, value: Mapping[Any, Any]) -> Any:
    pairs = [[canonical(name, key), canonical(f"{name}[{key!r}]", item)] for key, item in value.items()]
    return {"mapping": sorted(pairs, key=spelled)}


def _items(name: str, value: Any) -> Any:
    return [canonical(f"{name}[{k}]", item) for k, item in enumerate(value)]


def _set(name: str, value: Any) -> Any:
    return {"set": sorted((canonical(name, item) for item in value), key=spelled)}


def _dataclass(name: str, value: Any) -> Any:
    # what __post_init__ derives (init=False) adds nothing
    content = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
    return {
        "class": _class_name(type(value)),
        "fields": {key: canonical(f"{name}.{key}", item) for key, item in content.items()},
    }


def _partial(name: str, value: partial[Any]) -> Any:
    parts = {"function": value.func, "arguments": value.args, "keywords": value.keywords}
    return {"partial": {key: canonical(f"{name}.{key}", item) for key, item in parts.items()}}


def _labelled(name: str, value: Any) -> Any:
    """A DataArray or Dataset: everything `to_dict` tells but the values, and those by their bytes."""
    content = value.to_dict(data="array")
    return {"xarray": canonical(name, content)}


def _named(name: str, value: Any) -> Any:
    """A class or a function, which must be found under its own name; a numba function by the Python one in it."""
    value = getattr(value, "py_func", value)
    qualified = getattr(value, "__qualname__", "")
    found: Any = sys.modules.get(getattr(value, "__module__", None) or "")
    for part in qualified.split("."):
        found = getattr(found, part, None)
    if not qualified or getattr(found, "py_func", found) is not value:
        raise error(name, _STABLE, _shown(value), _REMEDY)
    return {"name": _class_name(value)}


def _class_name(value: Any) -> str:
    """Top package and qualified name: moving a class within its package changes no identity."""
    return f"{value.__module__.partition('.')[0]}:{value.__qualname__}"


def _shown(value: Any) -> str:
    qualified = getattr(value, "__qualname__", "")
    if qualified and "<lambda>" in qualified:
        return "a lambda"
    if qualified and "<locals>" in qualified:
        return f"the function {qualified.rpartition('.')[2]!r} made inside of another one"
    return f"an object of type {type(value).__name__}"


# Order matters: an Enum member may be an int, a numpy float is a float.
_WRITERS: tuple[tuple[tuple[type, ...], Callable[[str, Any], Any]], ...] = (
    ((Enum,), lambda name, value: {"enum": _class_name(type(value)), "member": value.name}),
    ((str,), lambda name, value: str(value)),
    ((float,), lambda name, value: float(value)),
    ((int,), lambda name, value: int(value)),
    ((complex,), lambda name, value: {"complex": [value.real, value.imag]}),
    ((bytes,), lambda name, value: {"bytes": hashlib.sha256(value).hexdigest()}),
    ((PurePath,), lambda name, value: {"path": str(value)}),
    ((np.ndarray, np.generic), _array),
    ((list, tuple, range), _items),
    ((set, frozenset), _set),
    ((Mapping,), _mapping),
    ((ModuleType,), lambda name, value: {"module": value.__name__}),
    ((partial,), _partial),
)
