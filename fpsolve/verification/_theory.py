"""Contraction, certificates and sampler errors against reference values."""

from itertools import pairwise

import numpy as np

import fpsolve as fp
from fpsolve import bounds, kernels, weights
from fpsolve.studies._report import Check
from fpsolve.verification._cases import ou_mixture

__all__ = ["sampler_errors", "theory"]

#: Errors in ``1 + x^2`` of 25 and 50 uniform steps for N(1, 1/2) under the linear VP process from N(0, 1).
GAUSSIAN_STEPS = {"euler-maruyama": {25: 0.1493, 50: 0.0725}, "exponential-integrator": {25: 0.2402, 50: 0.1170}}


def theory() -> tuple[Check, ...]:
    """Sharp Dobrushin coefficient and Harris certificate of the OU mixture, t = 3 to 0.01; the order of a ladder."""
    reverse = ou_mixture()
    kernel = kernels.exact(reverse, fp.Grid.uniform((-10, 10), cells=500), 3.0, 0.01)
    sharp = bounds.dobrushin(kernel, weight=lambda x: 1.0 + 0.1 * (1.0 + x**2)).value
    harris = bounds.harris(kernel, weight=lambda x: 1.0 + 0.03 * (1.0 + x**2)).value
    coarse, weight = fp.Grid.uniform((-10, 10), cells=240), fp.PolynomialWeight(power=2, beta=0.1)
    ladder = bounds.ladder(reverse, grid=coarse, blocks=3, weight=weight)
    broken = sum(not check.holds for check in bounds.verify(ladder))
    return (
        Check("sharp Dobrushin coefficient, weight 1 + 0.1 (1 + x^2)", _number(sharp), 0.225, 0.003),
        Check.at_most("Harris certificate, weight 1 + 0.03 (1 + x^2)", _number(harris), 0.635),
        Check.at_most("inequalities of a ladder that do not hold", float(broken), 0.0),
    )


def sampler_errors() -> tuple[Check, ...]:
    """Euler-Maruyama and the exponential integrator as kernels on a Gaussian, whose errors are known."""
    target, grid = fp.Gaussian(1.0, cov=0.5), fp.Grid.uniform((-7, 7), cells=1000)
    checks = []
    for name, known in GAUSSIAN_STEPS.items():
        for steps, reference in known.items():
            value = _end_error(fp.Reverse(target, fp.VP()), name, steps, grid)
            checks.append(Check(f"{name}, {steps} steps: weighted error at the end", value, reference, 1e-4))
    return tuple(checks)


def _end_error(reverse: fp.Reverse, name: str, steps: int, grid: fp.Grid) -> float:
    q = grid.cell_average(fp.Gaussian(0.0, std=1.0))
    for t0, t1 in pairwise(np.linspace(1.0, 0.0, steps + 1)):
        q = kernels.sampler_operator(name, reverse, grid, t0, t1).push(q)
    gap = np.abs(q - grid.cell_average(reverse.target))
    return float(np.sum(weights.evaluate(None, grid) * gap) * grid.volume)


def _number(value: float | None) -> float:
    """NaN, which fails every check, where there is no certificate."""
    return float("nan") if value is None else float(value)
