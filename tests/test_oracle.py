"""The oracle against formulas that need no quadrature, reference values, and a case it has to refuse."""

import cases
import numpy as np
import pytest

import fpsolve as fp
from fpsolve import closed_form


def test_gaussian_target_against_the_linear_formula():
    reverse = fp.Reverse(fp.Gaussian(1.0, std=0.5**0.5), fp.VP())
    process, t, x = reverse.process, 0.1, np.linspace(-2, 3, 41)
    v = [float(process.scale(0.0, s)) ** 2 * 0.5 + float(process.variance(0.0, s)) for s in (t, 1.0)]
    m = [float(process.scale(0.0, s)) for s in (t, 1.0)]
    gain = v[0] * float(process.scale(t, 1.0)) / v[1]
    spread = v[0] * float(process.variance(t, 1.0)) / v[1] + gain**2 * 0.25
    exact = fp.Gaussian(m[0] + gain * (1.5 - m[1]), std=spread**0.5).density(x)
    np.testing.assert_allclose(closed_form.density(reverse, fp.Gaussian(1.5, std=0.5), t, x), exact, rtol=1e-10)


def test_start_from_the_marginal_gives_the_marginal():
    reverse, x = cases.ou_mixture(), np.linspace(-4, 4, 33)
    q = closed_form.density(reverse, reverse.marginal(3.0), 0.01, x)
    np.testing.assert_allclose(q, reverse.marginal(0.01).density(x), rtol=1e-10)


def test_reference_distances():
    reverse, unit = cases.ou_mixture(), fp.UnitWeight()
    starts = reverse.marginal(3.0), fp.Gaussian(0.0, std=1.0)
    end = 0.5 * closed_form.weighted_tv(reverse, *starts, 0.01, unit).value
    begin = 0.5 * closed_form.weighted_tv(reverse, *starts, 3.0, unit).value
    print("TV at t = 0.01 and at the start:", end, begin)
    assert end == pytest.approx(6.5589e-6, rel=1e-5)
    assert begin == pytest.approx(1.902e-3, rel=1e-3)


def test_a_score_model_and_an_unreached_accuracy_are_refused():
    reverse = cases.ou_mixture()
    model = fp.Reverse(reverse.target, reverse.process, score=lambda t, x: -x)
    with pytest.raises(ValueError, match="score"):
        closed_form.density(model, fp.Gaussian(0.0, std=1.0), 0.1, 0.0)
    with pytest.raises(ValueError):
        closed_form.density(reverse, fp.StudentT(5.0), 0.15, np.linspace(-15, 15, 301))
