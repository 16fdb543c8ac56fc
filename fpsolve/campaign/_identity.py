"""What a point of a sweep is: canonical JSON of its settings and of everything its function reads, and the hash of
both.

A value is the same whatever the process, machine and run. What a function reads beside its arguments is followed
through its closure, the globals and attributes of modules that its code names, defaults, partials, methods and
decorators, and through every function and class of the user's own that is met on the way. Libraries (the standard
library, what is installed, fpsolve itself) are taken as they are.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from functools import partial
from pathlib import PurePath
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from fpsolve._checks import error
from fpsolve._messages import Failure

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
        # what __post_init__ derives (init=False) adds nothing
        content = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
        return {
            "class": _class_name(type(value)),
            "fields": {key: canonical(f"{name}.{key}", item) for key, item in content.items()},
        }
    if isinstance(value, type) or callable(value):
        # a class or a function, which must be found under its own name; a numba function by the Python one in it
        value = getattr(value, "py_func", value)
        qualified = getattr(value, "__qualname__", "")
        found: Any = sys.modules.get(getattr(value, "__module__", None) or "")
        for part in qualified.split("."):
            found = getattr(found, part, None)
        if not qualified or getattr(found, "py_func", found) is not value:
            raise error(name, _STABLE, _shown(value), _REMEDY)
        return {"name": _class_name(value)}
    if type(value).__module__.partition(".")[0] == "xarray" and hasattr(value, "to_dict"):
        # A DataArray or Dataset: everything `to_dict` tells but the values, and those by their bytes
        content = value.to_dict(data="array")
        return {"xarray": canonical(name, content)}
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


def _partial(name: str, value: partial[Any]) -> Any:
    parts = {"function": value.func, "arguments": value.args, "keywords": value.keywords}
    return {"partial": {key: canonical(f"{name}.{key}", item) for key, item in parts.items()}}


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


@dataclass
class Reads:
    """What was found.

    Attributes
    ----------
    values : dict
        Numbers, strings, arrays, tuples, laws and so on, by the function that reads them and their name: JSON trees.
        They belong to what a stored result is known by.
    states : dict
        Hashes of lists, dicts and other objects that a function may change itself; the best that can be had.
    codes : dict
        Hashes of the code of the function and of those it calls.
    """

    values: dict[str, Any] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    codes: dict[str, str] = field(default_factory=dict)
    _seen: dict[int, Any] = field(default_factory=dict)

    def follow(self, value: Any) -> None:
        """Add a callable of the user's and what it reads."""
        if id(value) in self._seen or _library(value):
            return
        self._seen[id(value)] = value  # kept, or its id might be given away
        inner = getattr(value, "py_func", None) or getattr(value, "__wrapped__", None)
        if inner is not None:
            self.follow(inner)
        if isinstance(value, partial):
            self.follow(value.func)
            for name, item in [*enumerate(value.args), *value.keywords.items()]:
                self._add(f"partial.{name}", item)
        elif isinstance(value, MethodType):
            self.follow(value.__func__)
            self._add(f"{value.__qualname__}: self", value.__self__)
        elif isinstance(value, FunctionType):
            self._function(value)
        elif isinstance(value, type):
            self._class(value)

    def _function(self, function: FunctionType) -> None:
        name = function.__qualname__
        self.codes[f"{name}:{len(self.codes)}"] = fingerprint(function.__code__)
        for at, default in enumerate(function.__defaults__ or ()):
            self._add(f"{name}: default {at}", default)
        for key, default in (function.__kwdefaults__ or {}).items():
            self._add(f"{name}: default {key}", default)
        for key, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            with Failure():  # a cell may be empty still
                self._add(f"{name}: {key}", cell.cell_contents)
        named = set(_names(function.__code__))
        for key in sorted(named & function.__globals__.keys()):
            found = function.__globals__[key]
            if isinstance(found, ModuleType):
                for attribute in sorted(named & vars(found).keys()) if not _library(found) else ():
                    self._add(f"{key}.{attribute}", vars(found)[attribute])
            else:
                self._add(f"{name}: {key}", found)

    def _class(self, kind: type) -> None:
        for base in kind.__bases__:
            self.follow(base)
        for key, member in sorted(vars(kind).items()):
            inner = getattr(member, "__func__", None) or getattr(member, "fget", None) or member
            if isinstance(inner, FunctionType):
                self.follow(inner)
            elif not key.startswith("__") and not hasattr(member, "__get__"):
                self._add(f"{kind.__qualname__}.{key}", member)

    def _add(self, label: str, value: Any) -> None:
        """Add a value that is read: to be known by, if it has an identity that a function cannot change."""
        if callable(value) and (isinstance(value, _FUNCTIONS) or hasattr(value, "py_func")):
            self.follow(value)
            return
        if isinstance(value, ModuleType):
            return
        for part in _parts(value):
            if callable(part) and isinstance(part, _FUNCTIONS):
                self.follow(part)
            elif not isinstance(part, _PLAIN):
                self.follow(type(part))
        while label in self.values or label in self.states:  # functions made twice by the same code
            label += "*"
        try:
            tree = canonical(label, value)
        except ValueError:
            self.states[label] = self._loose(value)
            return
        if isinstance(value, list | set | Mapping):
            self.states[label] = digest(tree)
        else:
            self.values[label] = tree

    def _loose(self, value: Any) -> str:
        """Hash of an object without an identity: its pickle, else its attributes, else its class alone."""
        with Failure():
            return hashlib.sha256(pickle.dumps(value)).hexdigest()
        parts = [type(value).__qualname__]
        if id(value) not in self._seen:
            self._seen[id(value)] = value
            for part in _parts(value):
                with Failure() as failure:
                    parts.append(digest(canonical("part", part)))
                if failure.cause is not None and not isinstance(part, _FUNCTIONS):
                    parts.append(self._loose(part))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def reads(function: Callable[..., Any]) -> Reads:
    """Return what a function reads beside its arguments."""
    found = Reads()
    found.follow(function)
    if not isinstance(function, _FUNCTIONS):
        # an object with __call__: its own attributes are its identity already
        found.follow(type(function))
    return found


def fingerprint(code: CodeType) -> str:
    """Hash of what the code does: instructions, names and constants, those of inner functions included."""
    parts = [code.co_code.hex(), *code.co_names]
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            parts.append(fingerprint(constant))
        elif constant is not Ellipsis:
            parts.append(repr(canonical("constant", constant)))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


_FUNCTIONS = (FunctionType, MethodType, partial, BuiltinFunctionType, type)
_PLAIN = (type(None), bool, int, float, complex, str, bytes)


def _names(code: CodeType) -> Iterator[str]:
    """Names of globals and attributes in the code and in that of inner functions."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _parts(value: Any) -> Iterator[Any]:
    """What a container or an object is made of, itself included."""
    yield value
    if isinstance(value, Mapping):
        yield from value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        yield from value
    elif not isinstance(value, type):
        yield from getattr(value, "__dict__", {}).values()


def _library(value: Any) -> bool:
    """Whether a module, or that of a function or class, is not the user's own."""
    if isinstance(value, partial | MethodType):
        return False
    name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None) or ""
    top = name.partition(".")[0]
    if top in {"fpsolve", "builtins"} or (top in sys.stdlib_module_names and top != "__main__"):
        return True
    place = str(getattr(sys.modules.get(name), "__file__", None) or "")
    return "site-packages" in place or "dist-packages" in place
