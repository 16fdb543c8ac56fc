"""A measured curve held against enclosures of the same distances."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fpsolve import _checks, weights
from fpsolve.dynamics import Reverse
from fpsolve.laws import Law
from fpsolve.proofs._enclosure import check_reverse, forgetting_curve

if TYPE_CHECKING:
    import xarray as xr


def verify(
    curve: xr.Dataset, reverse: Reverse, starts: dict[str, Law], *, rtol: float = 1e-10, budget: float = 600.0
) -> xr.Dataset:
    """Say of every start and time whether a measured distance and its error bar agree with an enclosure of it.

    A run stores its laws as text, so dynamics and starts are given again. Weight and reference are those of the curve;
    the reference "exact" is the exact law p_T unless `starts` says another.

    Parameters
    ----------
    curve : Dataset
        What `fpsolve.forgetting_curve` returns.
    reverse : Reverse
        The dynamics of the run, as for `weighted_tv`.
    starts : dict of str to law
        The laws of the run at time T, at least those of the curve and the reference if it is not "exact".
    rtol, budget : float
        As for `forgetting_curve`.

    Returns
    -------
    Dataset
        ``distance``, ``error`` of the curve, ``lower``, ``upper``, ``reason`` of the enclosure, and ``agrees`` over
        (start, t): ``[distance - error, distance + error]`` meets ``[lower, upper]``. Where the error bar is not finite
        nothing agrees: there is no claim. The attribute ``all_agree`` is "yes" or "no".

    Raises
    ------
    ValueError
        As `weighted_tv`; a curve of another kind, labels without a law, a run that did not begin at T.
    """
    check_reverse(reverse)
    reference, weight = _asked(curve, reverse)
    labels = [str(label) for label in curve["start"].values]
    laws = dict(starts)
    missing = [label for label in labels if label not in laws]
    if missing or (reference != "exact" and reference not in laws):
        got = f"none for {missing or reference}"
        raise _checks.error("starts", "a law for every start of the curve and its reference", got)
    given = reference if reference in laws else None
    wanted = {label: laws[label] for label in [*labels, *([] if given is None else [given])]}
    times = np.atleast_1d(curve["t"].values)
    proved = forgetting_curve(reverse, wanted, t=times, weight=weight, reference=given, rtol=rtol, budget=budget)
    place = [list(proved["start"].values).index(label) for label in labels]
    found = {name: proved[name].values[place] for name in ("lower", "upper", "reason")}
    distance, error = (curve[name].transpose("start", "t").values for name in ("distance", "error"))
    known = np.isfinite(distance) & np.isfinite(error)
    meets = (distance - error <= found["upper"]) & (distance + error >= found["lower"])
    columns: dict[str, Any] = {"distance": distance, "error": error, "agrees": known & meets} | found
    notes = proved.attrs | {"reference": reference, "all_agree": "yes" if bool((known & meets).all()) else "no"}
    rows = {name: (("start", "t"), values) for name, values in columns.items()}
    return proved[["reason"]].isel(start=place).assign(rows).assign_attrs(notes)


def _asked(curve: Any, reverse: Reverse) -> tuple[str, Any]:
    """Reference and weight of a curve; ValueError where it is none."""
    held = getattr(curve, "data_vars", ())
    if "distance" not in held or "error" not in held or not {"reference", "weight"} <= set(curve.attrs):
        remedy = "pass what fpsolve.forgetting_curve returns"
        raise _checks.error("curve", "a Dataset of distance and error with a reference", type(curve).__name__, remedy)
    end = float(reverse.process.T)
    if "reverse_time" in curve.coords:
        # t + r is the time at which the run began
        began = float((curve["t"] + curve["reverse_time"]).max())
        if not math.isclose(began, end, rel_tol=1e-12):
            raise _checks.error("curve", f"distances of a run from T = {end!r}", f"one from {began!r}", "begin at T")
    return str(curve.attrs["reference"]), weights.from_json(str(curve.attrs["weight"]))
