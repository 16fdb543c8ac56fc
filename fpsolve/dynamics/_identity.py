"""What dynamics are made of, as text for the attributes of a Dataset: two results are held against each other by it."""

from __future__ import annotations

from fpsolve.dynamics._base import BaseDynamics
from fpsolve.scores import name_of

_LONGEST = 500


def identity(dynamics: BaseDynamics) -> dict[str, str | float | int]:
    """Return the kind of dynamics and its parts: target, process, score model and eta, or the law.

    Examples
    --------
    >>> import fpsolve as fp
    >>> identity(fp.Reverse(fp.Gaussian(0.0, std=1.0), fp.EDM(), eta=0.5))["eta"]
    0.5
    """
    attrs: dict[str, str | float | int] = {"dynamics": type(dynamics).__name__}
    for name in ("target", "process", "score_model", "eta", "law"):
        if hasattr(dynamics, name):
            value = getattr(dynamics, name)
            attrs[name] = value if isinstance(value, int | float) else "exact" if value is None else short(value)
    return attrs


def short(value: object) -> str:
    """Return the text of an object that is the same in every run, cut at 500 characters."""
    text = repr(value)
    # an address would differ from run to run
    text = name_of(value) if " at 0x" in text else text
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
