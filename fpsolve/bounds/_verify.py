"""Named checks of a ladder: every inequality between its rungs, with margins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fpsolve import _checks
from fpsolve.bounds._ladder import CLOSED, HARRIS, PRODUCT, SHARP
from fpsolve.bounds._record import Hypothesis

if TYPE_CHECKING:
    import xarray as xr

Array = NDArray[np.float64]

#: Relative slack for rounding and for the finite lists of gamma, R and beta that are tried.
SLACK = 2e-3
#: Times of the curve and of the ladder that agree to this share of the horizon are the same.
_SAME = 1e-9


def verify(ladder: xr.Dataset, curve: xr.Dataset | None = None) -> tuple[Hypothesis, ...]:
    """Return the inequalities that a ladder must satisfy, each as a named hypothesis with its margin.

    "measured <= B" for every bound B (at every boundary after the first, beyond the measured error), and "A <= B" for
    the rungs in order: the sharp coefficient and its product, the sharp coefficient, Harris, Harris in closed form (the
    bounds at the boundaries and the factors block by block, where both have a value). A negative margin is a bug, or a
    statement used without one of its hypotheses. Margins are relative: ``min (B - A)/B``, plus a slack of 0.2 % between
    rungs, for the finite lists of gamma, R and beta that are tried.

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
        A curve in another weight, or without a common start or time.

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.Gaussian(0.5, std=0.5), fp.VP())
    >>> found = fp.bounds.ladder(reverse, grid=fp.Grid.uniform((-9, 9), cells=120), blocks=2)
    >>> all(check.holds for check in verify(found))
    True
    """
    checks = [
        Hypothesis(
            f"measured <= {bound}",
            _margin(ladder["measured"] - ladder["measured_error"], ladder, str(bound)),
            "relative, at the block boundaries",
        )
        for bound in ladder["bound"].values
    ]
    for lower, upper in ((SHARP, PRODUCT), (SHARP, HARRIS), (HARRIS, CLOSED)):
        pairs = [ladder["factor"], *(ladder[str(label)] for label in ladder["start"].values)]
        margin = min(_least(np.asarray(p.sel(bound=lower)), np.asarray(p.sel(bound=upper))) for p in pairs)
        checks.append(Hypothesis(f"{lower} <= {upper}", margin + SLACK, "relative, over blocks and boundaries"))
    if curve is not None:
        checks += _against_curve(ladder, curve)
    return tuple(checks)


def _margin(measured: xr.DataArray, ladder: xr.Dataset, bound: str) -> float:
    """Smallest relative margin over the starts, 1e-12 of rounding allowed."""
    margins = [
        _least(np.asarray(measured.sel(start=label))[1:], np.asarray(ladder[str(label)].sel(bound=bound))[1:])
        for label in ladder["start"].values
    ]
    return min(margins) + 1e-12


def _least(small: Array, large: Array) -> float:
    """``min (large - small)/large`` over the finite pairs; 1 where there is none."""
    both = np.isfinite(small) & np.isfinite(large)
    return float(np.min((large[both] - small[both]) / np.maximum(large[both], 1e-300), initial=1.0))


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
        margins = []
        for label in labels:
            one = curve.sel(start=label).isel(t=[i for i, keep in zip(at, shared, strict=True) if keep])
            lower = np.asarray(one["distance"] - one["error"])
            margins.append(_least(lower, np.asarray(ladder[label].sel(bound=bound))[shared]))
        checks.append(Hypothesis(f"curve <= {bound}", min(margins) + 1e-12, "relative, at the times in common"))
    return checks
