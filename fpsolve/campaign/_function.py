"""The function of a sweep: which names it takes, what else its results depend on, what its code looks like."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from fpsolve._checks import error
from fpsolve.campaign._identity import Reads, canonical, reads

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
    parameters = _parameters(function)
    if parameters is None:
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


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter] | None:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None  # a built-in that does not tell; it will at the first call
