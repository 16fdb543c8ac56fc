"""The rung of proofs in a ladder: above the truth and the sharp coefficient, and absent with a reason."""

import sys

import cases
import numpy as np
import pytest

import fpsolve as fp
from fpsolve import bounds, closed_form

REVERSE = cases.two_mode_vp()
GRID = fp.Grid.uniform((-9, 9), cells=120)
STARTS = {"near": fp.Gaussian(1.5, std=0.5), "laplace": fp.Laplace(0.0, scale=0.4)}
RUNG = "Harris, proved"


def made(**options):
    asked = {"grid": GRID, "blocks": [1.0, 0.6, 0.4], "weight": fp.PolynomialWeight(2, 0.1), "start": STARTS}
    return bounds.ladder(REVERSE, proved=True, **(asked | options))


@pytest.fixture(scope="module")
def ladder():
    return made()


def rows(found, **wanted):
    return [r for r in bounds.records(found) if r["bound"] == RUNG and all(r[k] == v for k, v in wanted.items())]


def test_the_rung_is_a_theorem_above_the_distance(ladder):
    words = dict(zip(ladder.bound.values.tolist(), ladder.status.values.tolist(), strict=True))
    assert words[RUNG] == "proved" and words["Harris"] == "certified"
    exact, weight = REVERSE.marginal(1.0), fp.PolynomialWeight(2, 0.1)
    for t, bound in zip(ladder.t.values, ladder.near.sel(bound=RUNG).values, strict=True):
        truth = closed_form.weighted_tv(REVERSE, STARTS["near"], exact, float(t), weight=weight)
        assert truth.value - truth.error <= bound, t
    assert float(ladder.near.sel(bound=RUNG, t=1.0)) == pytest.approx(truth_at_the_start(weight), rel=1e-5)
    assert {check.verdict for check in bounds.verify(ladder)} == {"holds"}
    names = [check.name for check in bounds.verify(ladder)]
    assert {f"measured <= {RUNG}", f"sharp Dobrushin <= {RUNG}"} <= set(names)


def truth_at_the_start(weight):
    return closed_form.weighted_tv(REVERSE, STARTS["near"], REVERSE.marginal(1.0), 1.0, weight=weight).value


def test_proved_factors_are_near_the_certified_ones_and_in_the_records(ladder):
    certified, proved = (ladder.factor.sel(bound=name).values for name in ("Harris", RUNG))
    assert np.all(np.abs(proved - certified) <= 0.03)
    one = rows(ladder, span="block")[0]
    assert one["status"] == "proved" and one["value"] == proved[0] and "Arb" in " ".join(one["unchecked"])
    K, overlap, gamma, R, beta = (one["constants"][name] for name in ("K", "overlap", "gamma", "R", "beta"))
    # the constants are those of V = 0.1 x^2: they give the number
    again = max(1 - overlap + beta * K, gamma, (2 + beta * (gamma * R + 2 * K)) / (2 + beta * R))
    assert one["value"] == pytest.approx(again, rel=1e-12)


def test_a_start_that_is_no_mixture_has_no_number_but_a_reason(ladder):
    assert np.isnan(ladder.laplace.sel(bound=RUNG)).all() and np.isfinite(ladder.laplace.sel(bound="Harris")).all()
    (row,) = rows(ladder, start="laplace")
    assert row["value"] is None and row["status"] == "no certificate" and "got Laplace" in row["reason"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"weight": fp.PolynomialWeight(1, 0.1)}, "power 2, 4 or 6"),
        ({"norm": fp.ExponentialWeight(0.1)}, "polynomial weights of one power"),
    ],
)
def test_what_cannot_be_proved_is_said_in_the_records(options, told):
    found = made(blocks=[1.0, 0.5], start=STARTS["near"], **options)
    assert np.isnan(found.given.sel(bound=RUNG)[1:]).all() and any(told in row["reason"] for row in rows(found))


def test_another_norm_of_the_same_power_and_another_beginning():
    """The norm 1 + x^2 costs the factor 10, and at 0.5 the start is held against p_0.5."""
    norm, weight = fp.PolynomialWeight(2, 1.0), fp.PolynomialWeight(2, 0.1)
    found = made(blocks=[0.5, 0.4], start=STARTS["near"], norm=norm).given.sel(bound=RUNG)
    half = REVERSE.marginal(0.5)
    shift = np.linspace(-8.0, 8.0, 20001)
    gap = np.abs(STARTS["near"].density(shift) - half.density(shift)) * weight(shift)
    assert float(found[0]) == pytest.approx(10.0 * np.trapezoid(gap, shift), rel=1e-5)


def test_without_the_extra_there_is_one_sentence_and_without_the_wish_no_rung(monkeypatch):
    assert RUNG not in bounds.ladder(REVERSE, grid=GRID, blocks=[1.0, 0.6]).bound.values
    monkeypatch.delattr(fp, "proofs", raising=False)
    monkeypatch.setitem(sys.modules, "fpsolve.proofs", None)
    with pytest.raises(ValueError, match=r"proved: expected python-flint.*pip install 'fpsolve\[proofs\]'"):
        made()
    with pytest.raises(ValueError, match="proved: expected"):
        bounds.ladder(REVERSE, grid=GRID, blocks=1, proved="yes")
