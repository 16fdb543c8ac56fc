"""Distances far below the densities' own errors: level errors cancel in signed differences, and the bars know."""

import cases
import numpy as np
import pytest

import fpsolve as fp
from fpsolve import closed_form

UNIT = fp.UnitWeight()


@pytest.mark.parametrize("weight", [fp.PolynomialWeight(power=2, beta=1.0), UNIT])
def test_weighted_distance_between_evolved_laws_against_the_oracle(weight):
    reverse = cases.ou_mixture()
    starts = cases.starts_1d(reverse)
    run = fp.evolve(reverse, starts, t_min=0.01, tol=1e-7)
    curve = fp.forgetting_curve(run, reference="exact", weight=weight)
    for name in ("shifted", "prior"):
        truth = closed_form.weighted_tv(reverse, starts[name], starts["exact"], 0.01, weight).value
        value, error = (float(curve[key].sel(start=name)[-1]) for key in ("distance", "error"))
        print(f"{name}: measured {value:.12g} +- {error:.1e}, oracle {truth:.12g}, off by {abs(value - truth):.1e}")
        assert abs(value - truth) <= 2e-7
        assert abs(value - truth) <= error


@pytest.mark.parametrize("tol", [1e-5, 1e-7])
def test_true_distance_of_six_millionths(tol):
    reverse = cases.ou_mixture()
    starts = cases.starts_1d(reverse)
    curve = fp.forgetting_curve(fp.evolve(reverse, starts, t_min=0.01, tol=tol), reference="exact", weight=UNIT)
    truth = 0.5 * closed_form.weighted_tv(reverse, starts["prior"], starts["exact"], 0.01, UNIT).value
    value, error = (0.5 * float(curve[key].sel(start="prior")[-1]) for key in ("distance", "error"))
    print(f"tol {tol:g}: TV {value:.10g} +- {error:.1e}, oracle {truth:.10g}, relative {abs(value / truth - 1):.1e}")
    assert truth == pytest.approx(6.5589e-6, rel=1e-5)
    assert abs(value / truth - 1) <= 1e-4
    assert abs(value - truth) <= error


@pytest.mark.parametrize("shift", [1e-4, 1e-7, 1e-10])
def test_ever_closer_starts(shift):
    reverse = cases.ou_mixture()
    starts = {"right": fp.Gaussian(shift, std=1.0), "left": fp.Gaussian(-shift, std=1.0)}
    curve = fp.forgetting_curve(fp.evolve(reverse, starts, t_min=0.01, tol=1e-7), reference="left", weight=UNIT)
    truth = closed_form.weighted_tv(reverse, starts["right"], starts["left"], 0.01, UNIT).value
    value, error = (float(curve[key].sel(start="right")[-1]) for key in ("distance", "error"))
    print(f"starts +-{shift:g}: TV {value / 2:.6g} +- {error / 2:.1e}, relative error {abs(value / truth - 1):.1e}")
    assert abs(value - truth) <= error
    assert abs(value / truth - 1) <= max(1e-4, 2e-3 * (1e-10 / shift))


def test_a_single_level_knows_its_own_error_of_the_difference():
    reverse = cases.ou_mixture()
    starts = cases.starts_1d(reverse)
    run = fp.evolve(reverse, starts, grid=fp.Grid.uniform((-6, 6), cells=400), steps=200, t_min=0.01)
    curve = fp.forgetting_curve(run, reference="exact", weight=UNIT)
    truth = closed_form.weighted_tv(reverse, starts["prior"], starts["exact"], 0.01, UNIT).value
    value, error = (float(curve[key].sel(start="prior")[-1]) for key in ("distance", "error"))
    own = float(run.error_estimate.sel(start="exact")[-1])
    print(f"one level: {value / 2:.6g} +- {error / 2:.1e}, true {truth / 2:.6g}; the density's own error {own:.1e}")
    assert abs(value - truth) <= error < 0.1 * truth < own
    assert np.all(np.isfinite(curve.rate))
