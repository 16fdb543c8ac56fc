"""What the result of a function depends on beside its arguments: the code it runs, and the values it reads.

Followed from the function through its closure, the globals and attributes of modules that its code names, defaults,
partials, methods and decorators, and through every function and class of the user's own that is met on the way.
Libraries (the standard library, what is installed, fpsolve itself) are taken as they are.
"""

from __future__ import annotations

import hashlib
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from fpsolve._failure import Failure
from fpsolve.campaign._identity import canonical, digest

__all__ = ["Reads", "reads"]


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
            self._add_code(part)
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

    def _add_code(self, value: Any) -> None:
        if callable(value) and isinstance(value, _FUNCTIONS):
            self.follow(value)
        elif not isinstance(value, _PLAIN):
            self.follow(type(value))

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
