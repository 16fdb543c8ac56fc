"""Settings in TOML files, read strictly: nothing but whole numbers is converted, and all misfits are told at once."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from fpsolve._checks import error
from fpsolve.settings._files import Misfit, Misfits, shown, unknown_key
from fpsolve.settings._objects import dump, family_of, made

#: Bytes of a file of settings, at most: more is a mistake, and takes minutes to read.
LIMIT = 1_000_000
#: Lines of a file within which those of misfits are looked for: the time goes with the square.
LINES = 1000
#: Integers in TOML have 64 bits.
_BITS = 2**63
#: pydantic's type of an error that is in words already.
_OURS = "words"

Seed = Annotated[int, Field(ge=0, lt=_BITS)]


class Settings(BaseModel):
    """A frozen group of settings that refuses unknown keys, and converts neither text nor true and false.

    The text below a field is its meaning, in schemas and where keys are listed.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, strict=True, use_attribute_docstrings=True
    )

    @model_validator(mode="wrap")
    @classmethod
    def _in_words(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """TOML knows lists only, frozen settings hold tuples; and what is wrong is said in words of the file."""
        try:
            return handler(_with_tuples(given))
        except ValidationError as misfits:
            raise refused(_told(misfits, tuple(cls.model_fields))) from None


@dataclass(frozen=True)
class Table:
    """For `typing.Annotated`: a table of a file that becomes an object of the class that its `kind` names.

    Parameters
    ----------
    of : class
        Law, Process, Weight or one of their subclasses.
    default : str, optional
        Kind of a table without one.
    dim : int, optional
        The one dimension that laws may have.
    """

    of: type
    default: str | None = None
    dim: int | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        """Let pydantic read tables by `read` and write objects by `dump`."""
        written = core_schema.plain_serializer_function_ser_schema(dump)
        return core_schema.no_info_plain_validator_function(self.read, serialization=written)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: Any) -> dict[str, Any]:
        """Say to editors which kinds there are."""
        kinds = {"enum": sorted(family_of(self.of).classes())}
        required = [] if self.default else ["kind"]
        return {"type": "object", "properties": {"kind": kinds}, "required": required, "default": {}}

    def read(self, value: Any) -> Any:
        """Return the object."""
        try:
            found = value if isinstance(value, self.of) else made(value, family_of(self.of), default=self.default).value
        except Misfits as misfits:
            raise refused(misfits.found) from None
        own = getattr(found, "dim", None)
        if self.dim is not None and own != self.dim:
            raise refused([Misfit((), f"expected a law in {self.dim}D, got one in {own}D")])
        return found


def refused(misfits: list[Misfit]) -> ValidationError:
    """Return pydantic's error for misfits, which it puts under the path of what is being read."""
    listed = [
        InitErrorDetails(type=PydanticCustomError(_OURS, "{text}", {"text": one.text}), loc=one.path, input=None)
        for one in misfits
    ]
    return ValidationError.from_exception_data("settings", listed)


_Read = TypeVar("_Read", bound=BaseModel)


def read(
    name: str,
    kind: type[_Read],
    expected: str,
    path: str | Path,
    text: str | None = None,
    change: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> _Read:
    """Return the settings in a file, or in a text that is called `path`.

    Parameters
    ----------
    name : str
        Of the argument, for messages.
    kind : class of Settings
    expected : str
        What the settings are of, for messages.
    path : path
    text : str, optional
        In place of the file.
    change : callable, optional
        From the tree of the file to the one that is read.

    Raises
    ------
    ValueError
        The file cannot be read, is too long or no TOML, or does not fit; all misfits are told, each with its path and
        line.
    """
    content = ""
    try:
        content = _content(name, path) if text is None else text
        tree = tomllib.loads(content)
        _check_integers(name, tree, str(path))
        return kind.model_validate(tree if change is None else change(tree))
    except OSError as reason:
        raise error(name, "a readable TOML file", f"{path}: {reason.strerror}") from None
    except RecursionError:
        raise error(name, "a TOML file", f"{path} with hundreds of brackets within each other") from None
    except ValidationError as misfits:
        raise error(name, expected, f"{path} with {_listed(_told(misfits, ()), content)}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as reason:
        raise error(name, "a TOML file", f"{path}: {reason}") from None


def _told(misfits: ValidationError, known: tuple[str, ...]) -> list[Misfit]:
    """pydantic's errors in words: one per path, the alternatives of one place joined by "or"."""
    listed = misfits.errors(include_url=False)
    places = [_path(one["loc"]) for one in listed]
    found: dict[tuple[str | int, ...], dict[str, Any]] = {}
    for one, path in zip(listed, places, strict=True):
        if any(len(other) > len(path) and other[: len(path)] == path for other in places) and one["type"] != _OURS:
            continue  # only because of what is wrong inside
        found.setdefault(path, {})[_words(one, known)] = one["input"]
    texts = []
    for path, words in found.items():
        plain = [text for text in words if not text.startswith("=")]
        wanted = " or ".join(text.removeprefix("=") for text in words if text.startswith("="))
        got = shown(next(iter(words.values())))
        texts += [Misfit(path, text) for text in (plain or [f"expected {wanted}, got {got}"])]
    return texts


def _path(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """The path as it is in the file: without pydantic's names of alternatives, such as ``tuple[float, float]``."""
    return tuple(part for part in location if not (isinstance(part, str) and ("[" in part or part in _TYPES)))


def _words(one: Any, known: tuple[str, ...]) -> str:
    """pydantic's error in words; what was expected behind a "=", to be joined with other alternatives."""
    kind, context = one["type"], one.get("ctx", {})
    if kind == _OURS:
        return str(context["text"])
    if kind == "value_error":
        return str(context["error"]).rstrip(".")
    if kind == "missing":
        return "missing"
    if kind == "extra_forbidden":
        return unknown_key(str(one["loc"][-1]), known)
    if kind == "literal_error" and isinstance(one["input"], str):
        return "=" + str(context["expected"])
    text = _PLAIN.get(kind, kind.replace("_", " "))
    return f"={text.format(**context)}"


#: Names that pydantic gives to the alternatives of a setting; no setting is called so.
_TYPES = {"float", "int", "bool", "str", "none", "constrained-float", "constrained-int", "constrained-str", "literal"}
#: What is expected, by pydantic's type of an error.
_PLAIN = {
    "float_type": "a number",
    "finite_number": "a finite number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "string_type": "text in quotes",
    "string_too_short": "text that is not empty",
    "tuple_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list of at most {max_length}",
    "greater_than": "a number > {gt:g}",
    "greater_than_equal": "a number >= {ge:g}",
    "less_than": "a number < {lt:g}",
    "less_than_equal": "a number <= {le:g}",
    "multiple_of": "a multiple of {multiple_of}",
    "literal_error": "{expected}",
}


def _listed(misfits: list[Misfit], content: str) -> str:
    """All misfits in the order of the file, with the lines of those that have one."""
    written = content.splitlines(keepends=True)
    # what the first k lines say, for every k for which they are TOML
    trees = []
    for k in range(1, len(written) + 1) if len(written) <= LINES else ():
        with suppress(tomllib.TOMLDecodeError):
            trees.append((k, tomllib.loads("".join(written[:k]))))
    lines = [_line(one.path, trees) for one in misfits]
    ordered = sorted(zip(lines, misfits, strict=True), key=lambda pair: pair[0])
    return "; ".join(f"line {line}, {one}" if line else str(one) for line, one in ordered)


def _line(path: tuple[str | int, ...], trees: list[tuple[int, Any]]) -> int:
    """The first line that the file holds the path with, or that of the table above it; 0 where none is known."""
    while path:
        line = next((k for k, tree in trees if _holds(tree, path)), 0)
        if line:
            return line
        path = path[:-1]
    return 0


def _holds(tree: Any, path: tuple[str | int, ...]) -> bool:
    for part in path:
        try:
            tree = tree[part]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def _with_tuples(given: Any) -> Any:
    if isinstance(given, dict):
        return {key: _with_tuples(value) for key, value in given.items()}
    return tuple(_with_tuples(value) for value in given) if isinstance(given, list | tuple) else given


def _content(name: str, path: str | Path) -> str:
    with Path(path).open("rb") as file:
        content = file.read(LIMIT + 1)
    if len(content) > LIMIT:
        raise error(name, f"a TOML file of at most {LIMIT // 1000} kB", f"{path} of more")
    return content.decode("utf-8")


def _check_integers(name: str, tree: Any, path: str) -> None:
    if isinstance(tree, int) and not -_BITS <= tree < _BITS:
        raise error(name, "whole numbers of at most 64 bits", f"{path} with {str(tree)[:20]}...")
    for value in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        _check_integers(name, value, path)
