"""Distances far below the densities' own errors, against the closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import fpsolve as fp
from fpsolve import closed_form
from fpsolve.studies._report import Check
from fpsolve.verification._cases import ou_mixture

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["distances"]

T_MIN = 0.01
#: Total variation at t = 0.01 between the runs from p_T and from N(0, 1).
SIX_MILLIONTHS = 6.558881828e-6


def distances() -> tuple[Check, ...]:
    """TV at t = 0.01 under the OU mixture: p_T against N(0, 1), and starts 2e-4 apart."""
    reverse = ou_mixture()
    starts = {
        "exact": reverse.marginal(3.0),
        "prior": fp.Gaussian(0.0, std=1.0),
        "right": fp.Gaussian(1e-4, std=1.0),
        "left": fp.Gaussian(-1e-4, std=1.0),
    }
    run = fp.evolve(reverse, starts, t_min=T_MIN, tol=1e-6, save_at=[T_MIN], progress=False)
    known = _tv(run, "prior", "exact")
    near = _tv(run, "right", "left")
    truth = 0.5 * closed_form.weighted_tv(reverse, starts["right"], starts["left"], T_MIN, fp.UnitWeight()).value
    return (
        Check("TV of the runs from p_T and N(0, 1)", known[0], SIX_MILLIONTHS, 1e-4 * SIX_MILLIONTHS),
        Check.at_most("the same: true error / error bar", abs(known[0] - SIX_MILLIONTHS) / known[1], 1.0),
        Check("TV of the runs from N(1e-4, 1) and N(-1e-4, 1)", near[0], truth, 1e-4 * truth),
        Check.at_most("the same: true error / error bar", abs(near[0] - truth) / near[1], 1.0),
    )


def _tv(run: xr.Dataset, start: str, reference: str) -> tuple[float, float]:
    """Total variation between two starts at the end of a run, and its error bar."""
    last = fp.forgetting_curve(run, reference=reference, weight=fp.UnitWeight()).sel(start=start).isel(t=-1)
    return 0.5 * float(last["distance"]), 0.5 * float(last["error"])
