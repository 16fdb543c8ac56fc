"""What does not fit in a file, said in words of the file: a path, what was expected, what came."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from fpsolve._checks import meant


class Misfit(NamedTuple):
    """One of them: where, as keys and places in lists, and a sentence without its stop."""

    path: tuple[str | int, ...]
    text: str

    def under(self, *path: str | int) -> Misfit:
        """Return it as seen from further up."""
        return Misfit((*path, *self.path), self.text)

    def __str__(self) -> str:
        """Return ``path: text``."""
        return f"{place(self.path)}: {self.text}" if self.path else self.text


class Misfits(ValueError):
    """All that does not fit, at once.

    Attributes
    ----------
    found : list of Misfit
    """

    def __init__(self, found: Iterable[Misfit]) -> None:
        self.found = list(found)
        super().__init__("; ".join(str(one) for one in self.found) + ".")


def place(path: Iterable[str | int]) -> str:
    """Return a path as it is written here: ``starts.far.std``, ``targets.0.mean``."""
    return ".".join(str(part) for part in path)


def shown(value: Any) -> str:
    """Return the beginning of a value, nearly as a file writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a table"
    text = repr(list(value) if isinstance(value, tuple) else value) if isinstance(value, str | list | tuple) else ""
    text = text or str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def among(options: Collection[Any]) -> str:
    """Return "'a'", "'a' or 'b'", "one of 'a', 'b', 'c'"."""
    listed = [repr(option) for option in options]
    return " or ".join(listed) or "nothing" if len(listed) < 3 else f"one of {', '.join(listed)}"


def unknown(name: Any, known: Collection[str]) -> str:
    """Return the sentence about a value that is none of those known, with the one that may have been meant."""
    near = meant(name, known) if isinstance(name, str) else ""
    return f"expected {among(known)}, got {shown(name)}{f'; {near}' if near else ''}"


def unknown_key(name: str, known: Collection[str]) -> str:
    """Return the sentence about a key that is none of those known: what may have been meant, else all of them."""
    return f"unknown key, {meant(name, known) or f'expected {among(known)}'}"
