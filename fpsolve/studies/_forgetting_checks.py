"""What the forgetting study checks, each check one that can fail."""

from __future__ import annotations

import numpy as np

from fpsolve import weights
from fpsolve._checks import FloatArray
from fpsolve.studies._forgetting_case import REFERENCE, Case
from fpsolve.studies._report import Check

__all__ = ["checks", "final_truth", "leading_order"]

#: Mass is never renormalised, so it shows what the steps lose.
MASS_TOLERANCE = 1e-12
#: Rounding of a weighted norm, relative to the weighted mass.
ROUNDING = 1e-13


def checks(case: Case) -> list[Check]:
    """Return all checks of one dimension."""
    return [*_of_the_run(case), *_of_the_curves(case), *_of_the_particles(case)]


def _of_the_run(case: Case) -> list[Check]:
    run, label = case.run, case.label
    mass = run["mass"].values
    estimate = run["error_estimate"].sel(t=case.truth["t"]).values
    # what rounding alone does to a norm of the densities themselves
    noise = ROUNDING * (case.curve["distance"].max() + 2.0)
    return [
        Check.at_most(f"{label} mass: largest change", np.abs(mass - mass[:, :1]).max(), MASS_TOLERANCE),
        Check.at_most(f"{label} densities: error estimate", run["error_estimate"].values.max(), case.settings.tol),
        Check.at_most(
            f"{label} densities: true error / estimate",
            _worst_ratio(case.truth["density_error"].values, estimate + float(noise)),
            1.0,
        ),
    ]


def _of_the_curves(case: Case) -> list[Check]:
    label, found = case.label, []
    for start in case.others:
        distance, error = (float(case.curve[name].sel(start=start)[-1]) for name in ("distance", "error"))
        name = f"{label} {start}: final weighted TV vs closed form"
        found.append(Check(name, distance, final_truth(case, start), error))
    here = case.curve.sel(t=case.truth["t"])
    off = abs(here["distance"] - case.truth["distance"].sel(start=case.others))
    ratio = _worst_ratio(off.values, here["error"].values)
    found.append(Check.at_most(f"{label} curves: true error / reported", ratio, 1.0))
    found.append(Check.at_most(f"{label} plain TV: growth beyond its errors", _growth(case), 0.0))
    for start in case.others:
        ratio, tolerance = leading_order(case, start)
        # equal means: the leading term is zero and says nothing
        if tolerance > 0.0:
            found.append(Check(f"{label} {start}: final weighted TV / leading order", ratio, 1.0, tolerance))
    return found


def final_truth(case: Case, start: str) -> float:
    """Return the closed form of the final distance: by quadrature where that is affordable, else from cells."""
    one = case.truth.sel(start=start)
    direct = float(one["quadrature"])
    return direct if np.isfinite(direct) else float(one["distance"][-1])


def _of_the_particles(case: Case) -> list[Check]:
    found = []
    for start, compared in case.checks.items():
        wrong = int(np.sum(compared["verdict"].values != "agree"))
        name = f"{case.label} {start}: times at which particles disagree, of {compared.sizes['t']}"
        found.append(Check.at_most(name, wrong, 0.0))
    return found


def _worst_ratio(error: FloatArray, estimate: FloatArray) -> float:
    """Largest error/estimate; an estimate of zero covers an error of zero only."""
    if np.any((estimate <= 0.0) & (error > 0.0)):
        return float("inf")
    known = estimate > 0.0
    return float(np.max(error[known] / estimate[known], initial=0.0))


def _growth(case: Case) -> float:
    """Largest increase of plain total variation between saved times beyond both errors; 0 if there is none."""
    distance, error = case.plain["distance"].values, case.plain["error"].values
    growth = np.diff(distance, axis=1) - error[:, 1:] - error[:, :-1]
    return float(max(0.0, growth.max()))


def leading_order(case: Case, start: str) -> tuple[float, float]:
    r"""Return measured/predicted final distance and how close to 1 first order in alpha should be.

    .. math:: \|q_t - q_t'\|_V \approx \frac{\alpha}{\sigma^2} \int V p_t |\langle dm, x - m_t \rangle| dx,
       \quad \alpha = \alpha(t, T),\ \sigma^2 = \sigma^2(t, T)

    with dm the difference of the initial means; the next term is smaller by a factor alpha |dm|. NaN and 0 where that
    is no small number.
    """
    process, grid = case.reverse.process, case.run.fpsolve.grid
    t = float(case.run["t"][-1])
    alpha, variance = float(process.scale(t, process.T)), float(process.variance(t, process.T))
    law = case.reverse.marginal(t)
    gap = np.atleast_1d(case.starts[start].mean) - np.atleast_1d(case.starts[REFERENCE].mean)
    size = float(np.linalg.norm(gap))
    # the means of the prior and of standardised data agree up to rounding
    if size < 1e-9 or alpha * size >= 1.0:
        return float("nan"), 0.0
    x = grid.x if grid.dim == 2 else grid.x[:, None]
    moment = np.abs((x - np.atleast_1d(law.mean)) @ gap)
    v = weights.evaluate(case.weight, grid)
    predicted = alpha / variance * float(np.sum(v * moment * grid.cell_average(law))) * grid.volume
    measured = float(case.curve["distance"].sel(start=start)[-1])
    return measured / predicted, alpha * size
