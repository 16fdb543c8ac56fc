"""The groups of checks by name; each is imported when it runs, so that listing them stays light."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from fpsolve.studies.report import Check

__all__ = ["GROUPS"]

Group = Callable[[], "tuple[Check, ...]"]


def _later(module: str, function: str) -> Group:
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
