"""Transport without noise: the probability flow keeps plain total variation, product-form flows end where they must."""

import numpy as np

import fpsolve as fp
from fpsolve import flows
from fpsolve.studies._report import Check
from fpsolve.verification._cases import ou_mixture

__all__ = ["probability_flow", "product_form"]

#: Data {-1, 1}, sigma uniform on [0.02, 3]: zeros of the best product-form score, and where orbits end from -6 and 2.
ZEROS = (-0.98614, 0.0, 0.98614)
ENDS = {-6.0: -1.8248, 2.0: 0.9861}


def probability_flow() -> tuple[Check, ...]:
    """OU mixture at eta = 0: the flow is a bijection, so the total variation of two laws does not move."""
    exact = ou_mixture()
    reverse = fp.Reverse(exact.target, exact.process, eta=0.0)
    starts = {"exact": reverse.marginal(3.0), "shifted": fp.Gaussian(1.5, std=0.5)}
    run = fp.evolve(reverse, starts, t_min=0.01, tol=1e-6, save_at=np.geomspace(0.01, 3.0, 8), progress=False)
    curve = fp.forgetting_curve(run, weight=fp.UnitWeight())
    cost = fp.distances.to_marginals(run, reverse).sel(start="exact")
    return (
        Check.at_most("probability flow: change of plain total variation", float(np.ptp(curve.distance.values)), 1e-8),
        Check.at_most("from p_T: distance to p_t / its error", float((cost.distance / cost.error).max()), 1.0),
    )


def product_form() -> tuple[Check, ...]:
    """Data points -1 and 1 under the best product-form score: stationary points and ends of orbits."""
    points = fp.GaussianMixture([0.5, 0.5], [-1.0, 1.0], stds=1e-6)
    score = fp.scores.product_form(points, fp.EDM(sigma_min=0.02, sigma_max=3.0))
    found = flows.stationary_points(score, (-4.0, 4.0))
    ends = flows.end_points(score, list(ENDS), duration=score.duration(0.02))
    zeros = [Check(f"product form: zero at {x:g}", float(at), x, 1e-3) for at, x in zip(found.at, ZEROS, strict=True)]
    return (
        *zeros,
        *(
            Check(f"product form: end of the orbit from {x:g}", float(end), known, 1e-3)
            for end, (x, known) in zip(ends, ENDS.items(), strict=True)
        ),
    )
