"""Tables of a file as objects and back, by the signatures of the classes themselves.

A class is named by its `kind`, its name in lower case with hyphens (``GaussianMixture`` is "gaussian-mixture"), and can
be named as soon as the door of its room exports it: nowhere is there a list of its parameters beside the class. A
kernel density may also be written as columns of a file.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from importlib import import_module
from itertools import chain
from types import MappingProxyType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from fpsolve import data
from fpsolve._checks import error
from fpsolve.dynamics import BaseDynamics, Churn, Eta, edm_churn
from fpsolve.grid import Grid
from fpsolve.laws import KernelDensity, Law
from fpsolve.processes import Process
from fpsolve.scores.errors import ScoreError
from fpsolve.settings._files import Misfit, Misfits, among, shown, unknown, unknown_key
from fpsolve.weights import Weight


def kernel_density(
    file: str = "old_faithful",
    *,
    columns: tuple[str | int, ...],
    standardise: bool = True,
    bandwidth: Literal["scott"] | float | tuple[float, float] = "scott",
    bins: float | None = None,
) -> KernelDensity:
    """Return the kernel density of one or two columns of a CSV or .npy file, by name or by place from 0.

    Bundled tables go by their names (`data.read`). The bandwidth is in standard deviations of the data, or in their own
    units where they are not standardised.
    """
    table = data.read(file, columns)
    samples = data.standardise(table).samples if standardise else table.samples
    return KernelDensity(samples, bandwidth=None if bandwidth == "scott" else bandwidth, bins=bins)


def record(
    file: str = "old_faithful", *, columns: Sequence[str | int], standardise: bool = True, **_: Any
) -> dict[str, Any]:
    """Return file, checksum and columns, and the mean and standard deviation that were taken out, if any."""
    found = data.standardise(data.read(file, columns)).record()
    count = len(columns)
    return found if standardise else found | {"mean": [0.0] * count, "std": [1.0] * count}


Maker = Callable[..., Any]

#: How a class is made where not by itself alone: by the first that has all it needs, else by the last.
_MAKERS: dict[type, tuple[Maker, ...]] = {
    Churn: (edm_churn,),
    Grid: (Grid.uniform,),
    KernelDensity: (KernelDensity, kernel_density),
}
_SCALARS: dict[Any, str] = {
    float: "a number",
    int: "a whole number",
    bool: "true or false",
    str: "text in quotes",
    Any: "a number or a list of numbers",
}
#: Values to put in place of what a class refuses, to see what else it refuses whatever they are.
_TRIALS = (1.0, 1e-3, 1e3, [1.0, 1.0])
NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Family:
    """Classes that one table may name by their kinds: those that a door exports and that are of a base class.

    Attributes
    ----------
    base : class
    door : str
        The module.
    """

    base: type
    door: str

    def classes(self) -> dict[str, type]:
        """Return the classes by kind, as the door has them now."""
        door = import_module(self.door)
        listed = [getattr(door, name) for name in door.__all__]
        return _classes(self.base, tuple(one for one in listed if isinstance(one, type)))


@cache
def _classes(base: type, listed: tuple[type, ...]) -> dict[str, type]:
    own = [one for one in listed if "__dataclass_fields__" in vars(one)]
    return {kind_of(one): one for one in own if issubclass(one, base) and not inspect.isabstract(one)}


def family_of(base: type) -> Family:
    """Return the family of a class: its door is the room that it is defined in."""
    return Family(base, ".".join(base.__module__.split(".")[:2]))


#: The ready errors of a score, which have no class in common.
ERRORS = Family(object, "fpsolve.scores.errors")
_BASES = (Law, Process, Weight, BaseDynamics, Churn, Grid)
#: All that can be written, in the order in which a kind is looked for where nothing says what is meant.
_FAMILIES = (*(family_of(base) for base in _BASES), ERRORS)
#: Functions that a file can name.
_FUNCTIONS: dict[Any, Family] = {ScoreError: ERRORS, get_args(Eta)[1]: family_of(Churn)}


def kind_of(made: type) -> str:
    """Return the kind of a class: its own `kind`, or its name in lower case with hyphens.

    Examples
    --------
    >>> import fpsolve as fp
    >>> kind_of(fp.GaussianMixture), kind_of(fp.CosineVP), kind_of(fp.PolynomialWeight)
    ('gaussian-mixture', 'cosine-vp', 'polynomial')
    """
    own = getattr(made, "kind", None)
    split = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", made.__name__)
    return own if isinstance(own, str) else split.lower()


@cache
def _can_be_written(maker: Maker) -> bool:
    """Whether all that it needs has a form in files."""
    return all(_words(_annotations(maker)[name]) for name in _required(maker))


@dataclass(frozen=True)
class Made:
    """An object, with what was written of it: its kind and the arguments that were given, in the class's order."""

    kind: str
    given: dict[str, Any]
    value: Any


def build(table: Mapping[str, Any], of: type | None = None) -> Any:
    """Return the object that a table describes.

    Parameters
    ----------
    table : mapping of str to object
        ``kind`` and the arguments of the class by name: numbers, lists of numbers, text and further tables.
    of : class, optional
        Law, Process, Weight, BaseDynamics, Grid or one of their subclasses: what is expected. Default: any of them.

    Raises
    ------
    ValueError
        A kind that is none, unknown and missing keys, values of another type, and what the class itself refuses; all of
        them at once, each with its path.

    Examples
    --------
    >>> build({"kind": "gaussian", "mean": 0.5, "std": 2.0})
    Gaussian(0.5, cov=4.0)
    >>> build({"kind": "vp", "beta_mx": 10, "T": -1})
    Traceback (most recent call last):
    ...
    ValueError: beta_mx: unknown key, perhaps 'beta_max' is meant; T: expected a finite number > 0, got -1.0.
    """
    try:
        return made(table, *(_FAMILIES if of is None else (family_of(of),))).value
    except Misfits as misfits:
        raise ValueError(str(misfits)) from None


@cache
def _written_parts(kind: Any) -> list[tuple[Any, str]]:
    """Arguments of a class, and the names it keeps them under, in their order; ValueError where no file can hold it."""
    families = [family for family in _FAMILIES if issubclass(kind, family.base)]
    if not any(kind in family.classes().values() for family in families) or not _can_be_written(_makers(kind)[0]):
        got = f"a {kind.__name__}, which a file cannot hold"
        raise error("value", "a law, process, weight, grid or dynamics made of numbers", got)
    names = [field.name for field in fields(kind) if field.init]
    return list(zip(_parameters(_makers(kind)[0]), names, strict=True))


def dump(value: Any) -> dict[str, Any]:
    """Return the table that `build` makes the same object of, every number to its last bit.

    Parameters
    ----------
    value : Law, Process, Weight, Grid, Forward, Langevin, or Reverse with the exact score

    Returns
    -------
    dict
        For ``json.dumps``; also TOML, which has no null, can hold it.

    Raises
    ------
    ValueError
        A part that no file can hold, such as the function of a `FromLogDensity` or a score model.

    Examples
    --------
    >>> import fpsolve as fp
    >>> dump(fp.Gaussian(0.5, std=2.0))
    {'kind': 'gaussian', 'mean': 0.5, 'cov': 4.0}
    """
    kind = type(value)
    table: dict[str, Any] = {}
    maker: Maker = kind
    for parameter, name in _written_parts(maker):
        part = getattr(value, name)
        # an infinite default is no number of JSON, and what is derived is made anew of the rest
        infinite = isinstance(part, float) and part == math.inf == parameter.default
        if part is not None and not infinite and name not in getattr(kind, "derived", ()):
            table[parameter.name] = _plain(parameter.name, part)
    return {"kind": kind_of(kind)} | table


def made(table: Any, *families: Family, default: str | None = None, also: Mapping[str, Any] = NONE) -> Made:
    """Return the object of a table with the arguments it was made of; Misfits with all that does not fit.

    `also` are kinds without arguments that stand for a value each.
    """
    if not isinstance(table, Mapping):
        raise Misfits([Misfit((), f"expected a table with its kind, got {shown(table)}")])
    named = dict(chain.from_iterable(family.classes().items() for family in families))
    known = {kind: one for kind, one in named.items() if _can_be_written(_makers(one)[0])}
    only = next(iter(known)) if len(known) == 1 else None
    kind = table.get("kind", default or only)
    if kind is None:
        raise Misfits([Misfit(("kind",), f"missing, expected {among([*also, *known])}")])
    written = {key: value for key, value in table.items() if key != "kind"}
    if isinstance(kind, str) and kind in also:
        if written:
            raise Misfits(Misfit((key,), f"expected nothing beside the kind {kind!r}") for key in written)
        return Made(kind, {}, also[kind])
    if not isinstance(kind, str) or kind not in known:
        functions = f"expected {among([*also, *known])}, got {kind!r}, made of functions, which no file can hold"
        raise Misfits([Misfit(("kind",), functions if kind in [*named] else unknown(kind, [*also, *known]))])
    makers = _makers(known[kind])
    maker = next((one for one in makers if _required(one) <= written.keys()), makers[-1])
    given, found = _arguments(maker, written)
    value, refused = _tried(maker, given, sure=not found)
    if found or refused:
        raise Misfits(found + refused)
    return Made(kind, given, value)


def _makers(kind: type) -> tuple[Maker, ...]:
    return _MAKERS.get(kind, (kind,))


@cache
def _parameters(maker: Maker) -> tuple[inspect.Parameter, ...]:
    return tuple(inspect.signature(maker).parameters.values())


@cache
def _required(maker: Maker) -> set[str]:
    return {p.name for p in _parameters(maker) if p.default is p.empty}


@cache
def _annotations(maker: Maker) -> dict[str, Any]:
    hints = get_type_hints(vars(maker)["__init__"] if isinstance(maker, type) else maker)
    return {p.name: hints[p.name] for p in _parameters(maker)}


def _arguments(maker: Maker, written: Mapping[str, Any]) -> tuple[dict[str, Any], list[Misfit]]:
    """The arguments that were given, in the maker's order, and what does not fit of keys and types."""
    wanted, given = _annotations(maker), dict[str, Any]()
    found = [Misfit((key,), unknown_key(key, wanted)) for key in written if key not in wanted]
    missing = _required(maker) - written.keys()
    found += [Misfit((key,), f"missing, expected {_words(wanted[key])}") for key in wanted if key in missing]
    for key in wanted:
        if key in written:
            try:
                given[key] = _read(wanted[key], written[key])
            except Misfits as misfits:
                found += [one.under(key) for one in misfits.found]
    return given, found


def _tried(maker: Maker, given: dict[str, Any], sure: bool) -> tuple[Any, list[Misfit]]:
    """The object; or what the class refuses: what it names first, and what else it does whatever stands there.

    Not `sure`: some arguments did not fit already, and only what is refused without them counts.
    """
    parameters = _parameters(maker)
    loose = [] if sure else [p.name for p in parameters if p.name not in given and type(p.default) in (type, float)]
    value, refused = _refusal(maker, given) if sure else (None, _common(maker, given, loose))
    if refused is not None and not refused[0]:
        return None, [Misfit((), refused[1])] if sure else []
    found: dict[str, str] = {}
    while refused is not None and refused[0]:
        found[refused[0]] = refused[1]
        refused = _common(maker, given, [*found, *loose])
    return value, [Misfit((key,), text) for key, text in found.items()]


def _refusal(maker: Maker, arguments: dict[str, Any]) -> tuple[Any, tuple[str, str] | None]:
    """The object, or None and what the class says: the argument ("" where it names none) and the sentence."""
    try:
        return maker(**arguments), None
    except (ValueError, TypeError) as reason:
        said = str(reason).rstrip(".")
        head, _, rest = said.partition(": ")
        key = head.removeprefix(f"{maker.__name__} ")
        return None, (key, rest) if key in arguments else ("", rest if head == maker.__name__ else said)


def _common(maker: Maker, given: dict[str, Any], put: Collection[str]) -> tuple[str, str] | None:
    """What else is refused whatever is put in some arguments: lists of the same shape, else a few that may be right.

    What is refused with some of them only is no fault of its own.
    """
    for alike in (True, False):
        refused = set()
        for trial in _TRIALS:
            there = {key: _filled(given.get(key), trial, alike) for key in put}
            refused.add(_refusal(maker, given | there)[1])
        others = {one for one in refused if one is None or one[0] not in put}
        if others:
            return others.pop() if len(others) == 1 else None
    return None


def _filled(value: Any, trial: Any, alike: bool) -> Any:
    """The trial, or a list of the shape of a list, its numbers positive and of sum one along the first axis."""

    def like(part: Any) -> Any:
        return [like(one) for one in part] if isinstance(part, list) else 1.0 / len(value)

    return like(value) if alike and isinstance(value, list) and value else trial


def _family(wanted: Any) -> Family | None:
    """The family of what an annotation wants as a table, or None."""
    if get_origin(wanted) is Callable:
        return _FUNCTIONS.get(wanted)
    return family_of(wanted) if isinstance(wanted, type) and issubclass(wanted, _BASES) else None


def _words(wanted: Any) -> str:
    """What an annotation wants, in words; "" where no file can hold it."""
    origin, inner = get_origin(wanted), get_args(wanted)
    if origin is Literal:
        return among(inner)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(words for one in inner if (words := _words(one))))
    if origin in (tuple, Sequence):
        return f"a list of {len(inner)}" if origin is tuple and Ellipsis not in inner else "a list"
    return "a table with its kind" if _family(wanted) else _SCALARS.get(wanted, "")


def _read(wanted: Any, value: Any) -> Any:
    """A value as an annotation wants it; Misfits where it is not so."""
    origin, inner, family = get_origin(wanted), get_args(wanted), _family(wanted)
    if family is not None and isinstance(value, Mapping):
        return made(value, family).value
    if family is not None and isinstance(value, _BASES) and isinstance(value, family.base):
        return value
    if origin in (Union, UnionType):
        # a value as one of several annotations wants it; where it is as none does, what is wrong inside goes first
        words = _words(wanted)
        inside: list[Misfit] = []
        for one in inner:
            try:
                return _read(one, value)
            except Misfits as misfits:
                inside += [misfit for misfit in misfits.found if misfit.path]
        raise Misfits(inside or [Misfit((), f"expected {words}, got {shown(value)}")])
    listed = isinstance(value, list | tuple | np.ndarray)
    if origin in (tuple, Sequence) and listed:
        many = origin is Sequence or Ellipsis in inner
        if many or len(inner) == len(value):
            return tuple(_each([inner[0]] * len(value) if many else inner, value))
    if origin is Literal and isinstance(value, str | bool):
        if value in inner:
            return value
        raise Misfits([Misfit((), unknown(value, inner))])
    if wanted in (Any, float) and isinstance(value, float | int) and not isinstance(value, bool):
        if math.isfinite(value):
            return float(value)
        raise Misfits([Misfit((), f"expected a finite number, got {shown(value)}")])
    if wanted is Any and listed:
        return _each([Any] * len(value), value)
    if wanted in (int, bool, str) and type(value) is wanted:
        return value
    raise Misfits(
        [Misfit((), f"expected {_words(wanted) or 'nothing, for files hold no functions'}, got {shown(value)}")]
    )


def _each(wanted: Sequence[Any], values: Any) -> list[Any]:
    """The items of a list as annotations want them."""
    read, found = [], []
    for k, (one, value) in enumerate(zip(wanted, values, strict=True)):
        try:
            read.append(_read(one, value))
        except Misfits as misfits:
            found += [misfit.under(k) for misfit in misfits.found]
    if found:
        raise Misfits(found)
    return read


def _plain(name: str, value: Any) -> Any:
    """A value in the types of JSON."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, tuple | list):
        return [_plain(name, one) for one in value]
    if isinstance(value, str | bool | int | float):
        return value
    if callable(value) and not is_dataclass(value):
        raise error(name, "numbers, or what is made of numbers", "a function, which a file cannot hold")
    return dump(value)
