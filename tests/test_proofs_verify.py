"""Measured curves held against proofs: a right one agrees everywhere, one that is off by two error bars does not."""

import cases
import numpy as np
import pytest

import fpsolve as fp
from fpsolve import proofs

TWO_MODES = cases.two_mode_vp()
STARTS = {"near": fp.Gaussian(1.5, std=0.5), "prior": fp.Gaussian(0.0, std=1.0)}


@pytest.fixture(scope="module")
def run():
    laws = {"exact": TWO_MODES.marginal(1.0)} | STARTS
    grid = fp.Grid.uniform((-6.0, 6.0), cells=400)
    return fp.evolve(TWO_MODES, laws, t_min=0.1, grid=grid, steps=200, save_at=[0.5, 0.1])


@pytest.mark.parametrize(("reference", "weight"), [("exact", None), ("prior", fp.UnitWeight())])
def test_a_run_agrees_and_a_false_one_does_not(run, reference, weight):
    curve = fp.forgetting_curve(run, reference=reference, weight=weight).sel(t=[0.5, 0.1], start=["near"])
    found = proofs.verify(curve, TWO_MODES, STARTS)
    assert bool(found.agrees.all()) and found.attrs["all_agree"] == "yes" and found.sizes == curve.sizes
    one = proofs.weighted_tv(
        TWO_MODES, STARTS["near"], None if reference == "exact" else STARTS[reference], t=0.1, weight=weight
    )
    assert float(found.lower.sel(start="near", t=0.1)) == one.lower
    shifted = curve.assign(distance=curve.distance + 2.0 * curve.error * np.array([0.0, 1.0]))
    spoilt = proofs.verify(shifted, TWO_MODES, STARTS)
    assert spoilt.agrees.values.tolist() == [[True, False]] and spoilt.attrs["all_agree"] == "no"


def test_an_error_bar_that_is_not_known_agrees_with_nothing(run):
    curve = fp.forgetting_curve(run).sel(t=[0.1])
    for unknown in (np.nan, np.inf):
        found = proofs.verify(curve.assign(error=curve.error + unknown), TWO_MODES, STARTS, rtol=1e-3)
        assert not found.agrees.any() and found.attrs["all_agree"] == "no"


def test_what_cannot_be_held_against_a_proof_is_refused(run):
    curve = fp.forgetting_curve(run)
    with pytest.raises(ValueError, match=r"starts: expected a law for every start .*'prior'"):
        proofs.verify(curve, TWO_MODES, {"near": STARTS["near"]})
    with pytest.raises(ValueError, match="curve: expected a Dataset of distance and error"):
        proofs.verify(run, TWO_MODES, STARTS)
    late = curve.assign_coords(reverse_time=curve.reverse_time - 0.25)
    with pytest.raises(ValueError, match=r"curve: expected distances of a run from T = 1\.0"):
        proofs.verify(late, TWO_MODES, STARTS)
    with pytest.raises(ValueError, match="pass weight= explicitly"):
        proofs.verify(fp.forgetting_curve(run, weight=lambda x: 1.0 + x**2), TWO_MODES, STARTS)
