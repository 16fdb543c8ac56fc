"""Settings in TOML files, read strictly: only whole numbers become floats; all misfits are told at once."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fpsolve._checks import error

__all__ = ["Seed", "Settings", "read"]

#: Bytes of a file of settings, at most: more is a mistake, and takes minutes to read.
LIMIT = 1_000_000
#: Integers in TOML have 64 bits.
_BITS = 2**63

Seed = Annotated[int, Field(ge=0, lt=_BITS)]


class Settings(BaseModel):
    """A frozen group of settings that refuses unknown keys, and converts neither text nor true and false."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _lists(cls, given: Any) -> Any:
        """TOML knows lists only, frozen settings hold tuples."""
        return _with_tuples(given)


_Read = TypeVar("_Read", bound=BaseModel)


def read(name: str, kind: type[_Read], expected: str, path: str | Path, text: str | None = None) -> _Read:
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

    Raises
    ------
    ValueError
        The file cannot be read, is too long or no TOML, or does not fit; all misfits are told, with their paths.
    """
    try:
        tree = tomllib.loads(_content(name, path) if text is None else text)
        _check_integers(name, tree, str(path))
        return kind.model_validate(tree)
    except OSError as reason:
        raise error(name, "a readable TOML file", f"{path}: {reason.strerror}") from None
    except RecursionError:
        raise error(name, "a TOML file", f"{path} with hundreds of brackets within each other") from None
    except ValidationError as misfits:
        raise error(name, expected, f"{path} with {told(misfits)}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as reason:
        raise error(name, "a TOML file", f"{path}: {reason}") from None


def told(misfits: ValidationError) -> str:
    """Return every misfit as ``path: what is wrong (got value)``; alternatives of one place are joined by "or"."""
    found: dict[str, list[str]] = {}
    came: dict[str, str] = {}
    listed = misfits.errors(include_url=False)
    places = [_place(one["loc"]) for one in listed]
    for one, place in zip(listed, places, strict=True):
        inner = any(other.startswith(f"{place}.") for other in places)
        if one["type"] in ("too_short", "tuple_type") and inner:
            continue  # only because of what is wrong inside
        message = _words(one)
        if message not in found.setdefault(place, []):
            found[place].append(message)
        own = one["type"] in ("missing", "value_error", "union_tag_invalid")
        came[place] = "" if own else f" (got {_shown(one['input'])!r})"
    start = "input should be "
    return "; ".join(
        f"{place}: {first}{''.join(f' or {other.removeprefix(start)}' for other in others)}{came[place]}"
        for place, (first, *others) in found.items()
    )


def _shown(value: Any) -> str:
    """The beginning of a value as TOML writes it, nearly."""
    text = str(value).lower() if isinstance(value, bool) else str(list(value) if isinstance(value, tuple) else value)
    return text[:60]


def _place(location: tuple[int | str, ...]) -> str:
    """The path as it is in the file: without pydantic's names of alternatives, such as ``tuple[float, float]``."""
    kept = [str(part) for part in location if not (isinstance(part, str) and ("[" in part or part in _TYPES))]
    return ".".join(kept) or "the file"


def _words(one: Any) -> str:
    """pydantic's message in the words of a TOML file."""
    if one["type"] == "union_tag_invalid":
        return f"expected a kind that is one of {one['ctx']['expected_tags']}, got {one['ctx']['tag']!r}"
    if one["type"] == "union_tag_not_found":
        return "expected a table with its kind"
    message = str(one["msg"]).removeprefix("Value error, ").rstrip(".")
    for jargon, word in _PLAIN.items():
        message = message.replace(jargon, word)
    return message[0].lower() + message[1:]


#: Names that pydantic gives to the alternatives of a setting; no setting is called so.
_TYPES = {"float", "int", "bool", "str", "none", "constrained-float", "constrained-int", "constrained-str"}
_PLAIN = {
    "valid tuple": "list",
    "Tuple should": "the list should",
    " after validation": "",
    "valid dictionary": "table",
    "a valid string": "text in quotes",
    "a valid boolean": "true or false",
    "valid integer": "whole number",
}


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
