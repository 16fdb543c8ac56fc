"""What ``fpsolve sweep`` does at a point: evolve, and the forgetting curves of all starts against the exact one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpsolve.campaign._sweep import sweep
from fpsolve.campaign.settings import ScoreModel, SweepSettings
from fpsolve.distances import forgetting_curve, to_marginals
from fpsolve.dynamics import Reverse
from fpsolve.evolution import evolve
from fpsolve.grid import Grid
from fpsolve.laws import Law
from fpsolve.processes import Process
from fpsolve.settings import record
from fpsolve.weights import Weight

if TYPE_CHECKING:
    import xarray as xr

#: Label of the reference: the law p_T of the forward process.
REFERENCE = "exact"
EXACT = ScoreModel(None)


def forgetting(
    target: Law,
    process: Process,
    eta: float,
    *,
    score_error: ScoreModel = EXACT,
    tol: float | None = None,
    grid: tuple[Grid, int] | None = None,
    starts: Mapping[str, Law | None],
    t_min: float,
    save_at: tuple[float, ...] | None = None,
    weight: Weight | None = None,
) -> xr.Dataset:
    """Return how the starts of one reverse dynamics approach the reference, in the weighted norm.

    Parameters
    ----------
    target, process, eta
        The dynamics ``Reverse(target, process, score, eta=eta)``.
    score_error : ScoreModel, default none
        Error of the score.
    tol : float, or grid : (Grid, steps)
        Exactly one: tolerance of the run, or its grid and number of steps.
    starts : mapping of str to Law or None
        Initial laws; None is the prior of the process.
    t_min, save_at, weight
        As in `evolve`.

    Returns
    -------
    xarray.Dataset
        `weighted_tv` and `weighted_tv_error` (start): the distance at `t_min` and its error estimate; `distance`,
        `distance_error` and `rate` (start, save): the curve; `t` (save): its forward times, decreasing; `tol_met`;
        `run_error`: the largest error estimate of the densities, what `tol_met` is about;
        `model_error` and `model_error_error`: distance of the run from p_T to the law p_{t_min} of the forward process,
        what the score error costs (0 within its error for the exact score).
    """
    import xarray as xr

    reverse = Reverse(target, process, score_error.of(target, process), eta=eta)
    laws = {REFERENCE: reverse.marginal(float(process.T))}
    laws |= {label: process.prior(target.dim) if law is None else law for label, law in starts.items()}
    box, steps = (None, None) if grid is None else grid
    run = evolve(
        reverse, laws, grid=box, steps=steps, t_min=t_min, tol=tol, save_at=save_at, weight=weight, progress=False
    )
    curve = forgetting_curve(run, REFERENCE, weight).sel(start=list(starts))
    last = curve.isel(t=-1)
    cost = to_marginals(run.sel(start=[REFERENCE]).isel(t=[-1]), reverse, weight).isel(start=0, t=0)
    return xr.Dataset(
        {
            "weighted_tv": ("start", last["distance"].values, {"long_name": "weighted total variation at t_min"}),
            "weighted_tv_error": ("start", last["error"].values, {"long_name": "error estimate of weighted_tv"}),
            "distance": (("start", "save"), curve["distance"].values, {"long_name": "forgetting curve"}),
            "distance_error": (("start", "save"), curve["error"].values),
            "rate": (("start", "save"), curve["rate"].values, {"long_name": "-d log(distance)/dr"}),
            "t": ("save", curve["t"].values, {"long_name": "forward time"}),
            "model_error": ((), float(cost["distance"]), {"long_name": "distance to the forward law at t_min"}),
            "model_error_error": ((), float(cost["error"])),
            "tol_met": ((), str(run.attrs["tol_met"])),
            "run_error": ((), float(run["error_estimate"].max()), {"long_name": "largest error estimate of the run"}),
        },
        coords={"start": list(starts)},
        attrs={"status": "estimated"},
    )


def run(
    settings: SweepSettings, *, out: str | Path | None = None, n_jobs: int = 1, progress: bool | None = None
) -> xr.Dataset:
    """Return the results of a sweep over (target, process[, score error], eta, tol or grid), see `SweepSettings`.

    The attribute `tol_missed` counts the points whose tolerance was not met; `data` (JSON, by label) says of laws made
    from files which, and how they were standardised.
    """
    accuracy: dict[str, Any]
    errors = {one.label: one.value for one in settings.score_errors or ()}
    if settings.grids is None:
        accuracy = {"tol": settings.tol}
    else:
        accuracy = {"grid": {one.label: (one.build(), one.steps) for one in settings.grids}}
    fixed: dict[str, Any] = {
        "starts": {one.label: one.value for one in settings.starts},
        "t_min": settings.t_min,
        "save_at": settings.save_at,
        "weight": settings.weight,
    }
    written = (*settings.targets, *settings.starts)
    records = {one.label: record(**one.made.given) for one in written if "columns" in one.made.given}
    found = sweep(
        partial(forgetting, **fixed),
        n_jobs=n_jobs,
        seed=settings.seed,
        out=out,
        progress=progress,
        target={one.label: one.value for one in settings.targets},
        process={one.label: one.value for one in settings.processes},
        **({"score_error": errors} if errors else {}),
        eta=settings.eta,
        **accuracy,
    )
    found = found.assign_attrs(tol_missed=int((found["tol_met"] == "no").sum()))
    return found.assign_attrs(data=json.dumps(records)) if records else found
