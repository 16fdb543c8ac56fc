"""Verification: reference values of the documentation, computed again on this machine and held against their truth.

``fpsolve verify`` runs every group of `GROUPS` and prints one row per check. A group is a function without arguments
that returns checks; a new one is a file here and a line in `GROUPS`. ``fpsolve verify RUN.nc`` is `check_file`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, cast

from fpsolve.verification.command import check_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpsolve.studies.report import Check

__all__ = ["GROUPS", "check_file", "run"]

Group = Callable[[], "tuple[Check, ...]"]


def _later(module: str, function: str) -> Group:
    # imported when it runs, so that listing the groups stays light
    def group() -> tuple[Check, ...]:
        return cast("Group", getattr(import_module(f"fpsolve.verification.{module}"), function))()

    return group


GROUPS: dict[str, Group] = {
    "densities": _later("_cases", "densities"),
    "plane": _later("_cases", "plane"),
    "coverage": _later("coverage", "coverage"),
    "distances": _later("_cases", "distances"),
    "steady states": _later("_cases", "steady_states"),
    "theory": _later("_cases", "theory"),
    "samplers": _later("_cases", "sampler_errors"),
    "probability flow": _later("_cases", "probability_flow"),
    "product form": _later("_cases", "product_form"),
    "score noise": _later("_cases", "score_noise"),
}


def run(groups: Sequence[str] | None = None, *, progress: bool | None = None) -> dict[str, tuple[Check, ...]]:
    """Compute the reference values again, some seconds of work.

    Parameters
    ----------
    groups : sequence of str, optional
        Names out of `GROUPS`, default all.
    progress : bool, optional
        Show a bar; default only on a terminal or in a notebook.

    Returns
    -------
    dict of str to tuple of Check
        By group; a check passes if ``|value - reference| <= tolerance``, NaN fails.

    Raises
    ------
    ValueError
        An unknown group; the known ones are named.

    Examples
    --------
    >>> from fpsolve import verification
    >>> found = verification.run(["steady states"])
    >>> all(check.passed for check in found["steady states"])
    True
    """
    from fpsolve import _checks
    from fpsolve._messages import progress as progress_bar

    names = list(GROUPS) if groups is None else [_checks.one_of("group", name, tuple(GROUPS)) for name in groups]
    return {name: GROUPS[name]() for name in progress_bar(names, "verify", progress)}
