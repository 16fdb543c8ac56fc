"""What is told: warnings, what a number is in one of four words (the same in records, Datasets, figures and reports),
and tqdm behind one name, a bar in a terminal or notebook and nothing elsewhere.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeVar, cast, overload


class ToleranceWarning(UserWarning):
    """A run with `tol` ended before its error estimate was below it."""


class ScoreWarning(UserWarning):
    """A score model is further from the exact score than any plausible model error."""


class UnresolvedWarning(UserWarning):
    """Cells or steps are too coarse for an error estimate of what was computed."""


#: The four words, and what stands where there is no number.
Status = Literal["proved", "certified", "estimated", "Monte Carlo", "no certificate"]

#: From the strongest to the weakest. An attribute `status` of a Dataset speaks for all its numbers, that of a variable
#: or a coordinate `status` for what is otherwise.
MEANING: dict[Status, str] = {
    "proved": "an interval or bound that is a theorem, by ball arithmetic",
    "certified": "a statement gives it; its hypotheses were checked on a grid, in floating point, or are listed",
    "estimated": "computed, with an error estimate where there is one",
    "Monte Carlo": "made of random samples",
    "no certificate": "no number",
}


def weakest(words: Iterable[Status]) -> Status:
    """Return the weakest word of several numbers; where there is no number at all, "no certificate".

    Examples
    --------
    >>> weakest(["proved", "no certificate", "certified"]), weakest([])
    ('certified', 'no certificate')
    """
    order = list(MEANING)
    known = [order.index(word) for word in words if word != "no certificate"]
    return order[max(known)] if known else "no certificate"


_T_co = TypeVar("_T_co", covariant=True)
_T = TypeVar("_T")


class Progress(Protocol[_T_co]):
    """What fpsolve uses of a tqdm bar; a context manager that closes the bar."""

    def __iter__(self) -> Iterator[_T_co]: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def update(self, n: float = 1) -> Any:
        """Advance the bar by `n` steps."""

    def set_postfix_str(self, s: str = "", refresh: bool = True) -> None:
        """Show a short text behind the bar."""

    def close(self) -> None:
        """End the bar."""


@overload
def progress(iterable_or_total: int, description: str, enabled: bool | None = None) -> Progress[int]: ...
@overload
def progress(iterable_or_total: Iterable[_T], description: str, enabled: bool | None = None) -> Progress[_T]: ...
def progress(iterable_or_total: Iterable[Any] | int, description: str, enabled: bool | None = None) -> Progress[Any]:
    """Return a progress bar over an iterable, or one to be advanced by hand up to a total.

    Parameters
    ----------
    iterable_or_total : iterable or int
        What to iterate over, or the number of steps to be reported with ``bar.update(n)``.
    description : str
        Text in front of the bar.
    enabled : bool, optional
        Show the bar; by default only when standard error is a terminal or in a notebook.

    Examples
    --------
    >>> [k for k in progress(range(3), "counting", enabled=False)]
    [0, 1, 2]
    """
    shown = interactive() if enabled is None else enabled
    options = {"desc": description, "disable": not shown, "leave": False, "dynamic_ncols": True}
    if isinstance(iterable_or_total, int):
        return cast(Progress[Any], _tqdm()(total=iterable_or_total, **options))
    return cast(Progress[Any], _tqdm()(iterable_or_total, **options))


def interactive() -> bool:
    """Return whether somebody is watching: standard error is a terminal, or this is a notebook."""
    return in_notebook() or bool(getattr(sys.stderr, "isatty", lambda: False)())


def in_notebook() -> bool:
    """Return whether the code runs in a Jupyter kernel, without importing IPython."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"


def _tqdm() -> Any:
    # tqdm.auto warns in a notebook without ipywidgets: choose by what is there
    if in_notebook() and find_spec("ipywidgets") is not None:
        from tqdm.notebook import tqdm as notebook_bar

        return notebook_bar
    from tqdm.std import tqdm

    return tqdm
