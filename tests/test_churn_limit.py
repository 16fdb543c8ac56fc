"""EDM's stochastic sampler tends to the reverse dynamics with eta(sigma) of its churn.

Over the whole range of noise levels, where the start is forgotten, the difference falls like 1/n with Euler's steps and
1/n^2 with Heun's. What is remembered of the start comes at 1/n with either: noise first, then the flow, is a splitting
of first order. With Gaussian data every step is affine, so means and variances follow scalar recursions.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pytest

import fpsolve as fp
from fpsolve import closed_form, samplers
from fpsolve.dynamics import edm_churn

RHO = 7.0
DATA = fp.Gaussian(0.5, std=0.5)


@dataclass(frozen=True)
class Case:
    """A range of noise levels, a churn with its levels, and a start."""

    low: float
    high: float
    churn: float
    s_min: float
    s_max: float
    start: fp.Gaussian


FULL = Case(0.002, 80.0, 40.0, 0.0, math.inf, fp.Gaussian(3.0, std=70.0))
SOME = Case(0.002, 80.0, 40.0, 0.05, 20.0, fp.Gaussian(3.0, std=70.0))
REMEMBERED = Case(0.1, 2.0, 4.0, 0.0, math.inf, fp.Gaussian(3.0, std=0.3))


def karras(case, n):
    power = 1.0 / RHO
    return (np.linspace(case.high**power, case.low**power, n + 1)) ** RHO


def score(t, x):
    return -(x - 0.5) / (0.25 + t**2)


def heun(case, t_from, t_to, n):
    """Noise, shift and gain of one step of the package's sampler, whose map is affine here: read off two points."""
    # the first step rises above the level where the run begins
    process = fp.EDM(sigma_min=case.low, sigma_max=2.0 * case.high)
    step = samplers.step(
        "edm", process, 0.0, t_from, t_to, churn=case.churn, steps=n, s_min=case.s_min, s_max=case.s_max
    )
    shift, moved = step.move(score, np.array([0.0, 1.0]))
    return step.std_before**2, float(shift), float(moved - shift)


def euler(case, t_from, t_to, n):
    """The same with Euler's step in place of Heun's."""
    gamma = min(case.churn / n, math.sqrt(2.0) - 1.0) if case.s_min <= t_from <= case.s_max else 0.0
    top = (1.0 + gamma) * t_from
    gain = 1.0 + (t_to - top) * top / (0.25 + top**2)
    return top**2 - t_from**2, 0.5 * (1.0 - gain), gain


def sampled(method, case, n):
    """Mean and variance after n steps."""
    mean, variance = float(case.start.mean), float(case.start.cov)
    for t_from, t_to in itertools.pairwise(karras(case, n)):
        added, shift, gain = method(case, float(t_from), float(t_to), n)
        mean, variance = shift + gain * mean, gain**2 * (variance + added)
    return np.array([mean, variance])


def limit(case, churn=None):
    """Mean and variance of the continuous dynamics, from the oracle's Gaussian formula."""
    amount = case.churn if churn is None else churn
    eta = edm_churn(amount, case.s_min, case.s_max, sigma_min=case.low, sigma_max=case.high, rho=RHO)
    reverse = fp.Reverse(DATA, fp.EDM(sigma_min=case.low, sigma_max=case.high), eta=eta)
    x = np.linspace(-6.0, 6.0, 4001)
    q = closed_form.density(reverse, case.start, case.low, x) * (x[1] - x[0])
    mean = float(q @ x)
    return np.array([mean, float(q @ (x - mean) ** 2)])


def measured(method, case, numbers):
    """Differences to the limit and their slopes."""
    assert min(numbers) > case.churn / 0.41
    exact = limit(case)
    differences = np.array([np.abs(sampled(method, case, n) - exact).max() for n in numbers])
    slopes = -np.diff(np.log(differences)) / np.diff(np.log(numbers))
    print(f"{method.__name__}: n {numbers}, differences {differences}, slopes {slopes.round(3)}")
    return differences, slopes


@pytest.mark.parametrize(("method", "order"), [(heun, 2.0), (euler, 1.0)], ids=["heun", "euler"])
@pytest.mark.parametrize("case", [FULL, SOME], ids=["all levels", "some levels"])
def test_the_difference_to_the_limit_falls_at_the_order_of_the_method(method, order, case):
    differences, slopes = measured(method, case, [400, 800, 1600])
    assert np.all(np.abs(slopes - order) <= 0.1) and differences[-1] < 5e-3


def test_what_is_remembered_of_the_start_has_first_order_and_the_limit_of_this_churn():
    for method in (heun, euler):
        differences, slopes = measured(method, REMEMBERED, [1600, 3200, 6400])
        assert np.all(np.abs(slopes - 1.0) <= 0.1)
    wrong = np.abs(sampled(heun, REMEMBERED, 1600) - limit(REMEMBERED, churn=2.0)).max()
    print("difference to the limit of half the churn:", wrong)
    assert wrong > 0.1 > 100.0 * differences[-1]
