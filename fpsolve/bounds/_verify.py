"""Named checks of a ladder: every inequality between its rungs, with margins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fpsolve import _checks, _runs
from fpsolve.bounds._ladder import CLOSED, HARRIS, PRODUCT, SHARP
from fpsolve.bounds._record import Hypothesis

if TYPE_CHECKING:
    import xarray as xr

#: Relative slack for rounding and for the finite lists of gamma, R and beta that are tried.
SLACK = 2e-3
#: Relative rounding of a measured distance.
_ROUNDING = 1e-12
#: Times of the curve and of the ladder that agree to this share of the horizon are the same.
_SAME = 1e-9


def verify(ladder: xr.Dataset, curve: xr.Dataset | None = None) -> tuple[Hypothesis, ...]:
    """Return the inequalities that a ladder must satisfy, each as a named hypothesis with its margin.

    "measured <= B" for every bound B (at every boundary after the first, beyond the measured error), and "A <= B" for
    the rungs in order: the sharp coefficient and its product, the sharp coefficient, Harris, Harris in closed form (the
    bounds at the boundaries and the factors block by block, where both have a value). A negative margin is a bug, or a
    statement used without one of its hypotheses. Margins are relative: ``min (B - A)/B``, plus a slack of 0.2 % between
    rungs, for the finite lists of gamma, R and beta that are tried. Where a rung has no certificate anywhere there is
    nothing to compare: the margin is NaN, the verdict "not checked", and the check neither holds nor fails. The detail
    says how many pairs of numbers were compared.

    Parameters
    ----------
    ladder : Dataset
        From `fpsolve.bounds.ladder`.
    curve : Dataset, optional
        From `fpsolve.forgetting_curve`, with the same starts and weight: its distances are compared too, at the times
        that it shares with the ladder.

    Raises
    ------
    ValueError
        A curve of other dynamics or in another weight, or without a common start or time.

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.Gaussian(0.5, std=0.5), fp.VP())
    >>> found = fp.bounds.ladder(reverse, grid=fp.Grid.uniform((-9, 9), cells=120), blocks=2)
    >>> all(check.holds for check in verify(found))
    True
    """
    for name, table, wanted in (("ladder", ladder, "bound"), ("curve", curve, "distance")):
        if (table is not None or name == "ladder") and wanted not in getattr(table, "variables", ()):
            got = f"a {type(table).__name__} without it"
            raise _checks.error(name, f"a {name} as fpsolve returns it, with {wanted!r}", got)
    if curve is not None:
        _runs.require_same_dynamics(curve.attrs, ladder.attrs, ("curve", "ladder"))
    labels = [str(label) for label in ladder["start"].values]
    lower = ladder["measured"] - ladder["measured_error"]
    checks = []
    for bound in ladder["bound"].values:
        pairs = [(lower.sel(start=label)[1:], ladder[label].sel(bound=bound)[1:]) for label in labels]
        checks.append(_compared(f"measured <= {bound}", pairs, _ROUNDING, "block boundaries"))
    rungs = [ladder["factor"], *(ladder[label].isel(t=slice(1, None)) for label in labels)]
    for small, large in ((SHARP, PRODUCT), (SHARP, HARRIS), (HARRIS, CLOSED)):
        pairs = [(rung.sel(bound=small), rung.sel(bound=large)) for rung in rungs]
        checks.append(_compared(f"{small} <= {large}", pairs, SLACK, "blocks and boundaries"))
    if curve is not None:
        checks += _against_curve(ladder, curve)
    return tuple(checks)


def _compared(name: str, pairs: Sequence[tuple[xr.DataArray, xr.DataArray]], slack: float, where: str) -> Hypothesis:
    """The check that the first of each pair is nowhere larger; a NaN margin where no pair has two numbers."""
    small, large = (np.concatenate([np.asarray(pair[k], dtype=np.float64).ravel() for pair in pairs]) for k in (0, 1))
    # an infinite bound, a missing number and one whose error is infinite say nothing; an infinite distance does
    both = np.isfinite(large) & (small > -np.inf)
    if not both.any():
        return Hypothesis(name, float("nan"), f"nothing to compare: {large.size} {where}, none with both numbers")
    margin = float(np.min((large[both] - small[both]) / np.maximum(large[both], 1e-300)))
    return Hypothesis(name, margin + slack, f"relative, over {int(both.sum())} of {large.size} {where}")


def _against_curve(ladder: xr.Dataset, curve: xr.Dataset) -> list[Hypothesis]:
    if curve.attrs.get("weight") != ladder.attrs["norm"]:
        got = str(curve.attrs.get("weight"))
        raise _checks.error("curve", f"distances in the ladder's norm {ladder.attrs['norm']}", got, "set norm= there")
    horizon = float(np.max(ladder["t"]))
    t, wanted = np.asarray(curve["t"], dtype=np.float64), np.asarray(ladder["t"], dtype=np.float64)
    at = [int(np.argmin(np.abs(t - s))) for s in wanted]
    shared = np.abs(t[at] - wanted) <= _SAME * horizon
    shared[0] = False  # equal by definition there
    labels = [str(s) for s in ladder["start"].values if s in curve["start"].values]
    if not labels or not shared.any():
        raise _checks.error("curve", "a start and a time in common with the ladder", "none", "save the run at ladder.t")
    checks = []
    for bound in ladder["bound"].values:
        pairs = []
        for label in labels:
            one = curve.sel(start=label).isel(t=[i for i, keep in zip(at, shared, strict=True) if keep])
            pairs.append((one["distance"] - one["error"], ladder[label].sel(bound=bound)[shared]))
        checks.append(_compared(f"curve <= {bound}", pairs, _ROUNDING, "times in common"))
    return checks
