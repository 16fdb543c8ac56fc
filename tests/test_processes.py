"""Forward processes against quadrature of a and g, long arithmetic, the semigroup and published tables."""

from dataclasses import FrozenInstanceError, dataclass
from typing import Any

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

import fpsolve as fp
from fpsolve.processes import OwnUnits, Process

PROCESSES: dict[str, Process] = {
    "ou": fp.OrnsteinUhlenbeck(T=3.0),
    "vp": fp.VP(),
    "vp-wide": fp.VP(0.2, 5.0, T=2.0, sigma=1.5),
    "vp-late": fp.VP(curvature=6.0, sigma=0.7),
    "vp-early": fp.VP(curvature=-4.0),
    "vp-nearly-linear": fp.VP(curvature=1e-9),
    "cosine": fp.CosineVP(),
    "cosine-long": fp.CosineVP(T=2.5),
    "sub-vp": fp.SubVP(),
    "ve": fp.VE(),
    "ve-score-sde": fp.VE(0.1, 20.0, T=2.0, convention="score_sde"),
    "edm": fp.EDM(),
}
EACH = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES.keys())
unit = st.floats(0.0, 1.0)


def check_against_quadrature(process: Process, s: float, t: float) -> None:
    """Assert alpha against quad of a, then sigma2 against quad of g with the scale that has just passed."""
    kinks = [c for c in [getattr(process, "clip_time", -1.0)] if s < c < t]
    options: dict[str, Any] = {"epsabs": 1e-13, "epsrel": 1e-11, "limit": 200, "points": kinks or None}
    exponent = quad(process.drift_rate, s, t, **options)[0]
    np.testing.assert_allclose(process.scale(s, t), np.exp(exponent), rtol=1e-9)

    def added(u: float) -> float:
        return float(process.scale(u, t) ** 2 * process.diffusion(u) ** 2)

    jump = process.sigma_min**2 if getattr(process, "convention", "sde") == "score_sde" and s == 0.0 < t else 0.0
    np.testing.assert_allclose(process.variance(s, t), quad(added, s, t, **options)[0] + jump, rtol=1e-9, atol=1e-12)


@EACH
@given(first=unit, second=unit)
def test_scale_and_variance_are_the_integrals_of_a_and_g(process: Process, first: float, second: float) -> None:
    s, t = sorted((first * process.T, second * process.T))
    check_against_quadrature(process, s, t)


@pytest.mark.parametrize("inner", [fp.EDM(), fp.SubVP(), fp.VE(), fp.VP(sigma=2.0), fp.RectifiedFlow()])
def test_own_units_are_a_process_of_unit_variance(inner: Process) -> None:
    process = OwnUnits(inner, T=0.9 * inner.T)
    for s, t in ((0.0, 1e-3), (0.0, 0.5), (0.3, 0.9), (0.7, 0.7001)):
        check_against_quadrature(process, s * inner.T, t * inner.T)
    t = np.linspace(0.01, 0.9, 7) * inner.T
    assert process.scale(0.0, t) ** 2 + process.variance(0.0, t) == pytest.approx(1.0, abs=1e-13)
    # x = c y: the same law
    assert process.length(t) * process.scale(0.0, t) == pytest.approx(inner.scale(0.0, t), rel=1e-12)
    # coefficients are held from where those of the process are, if that is on the way
    assert OwnUnits(inner).held_from == inner.held_from
    assert OwnUnits(inner, T=0.1 * inner.T).held_from == 0.1 * inner.T
    assert (
        process.plain is inner
        and inner.plain is inner
        and eval(repr(process), vars(fp) | {"OwnUnits": OwnUnits}) == process
    )


@EACH
@pytest.mark.parametrize("fraction", [1e-3, 0.5, 1.0])
def test_the_same_from_time_zero(process: Process, fraction: float) -> None:
    check_against_quadrature(process, 0.0, fraction * process.T)


@dataclass(frozen=True)
class WrongVE(fp.VE):
    """The classical slip: std sigma(t) taken for every s."""

    def variance(self, s: Any, t: Any) -> Any:
        return self.sigma(t) ** 2 + 0.0 * np.asarray(s)


@dataclass(frozen=True)
class UnclippedCosine(fp.CosineVP):
    """The other slip: the scale of the unclipped schedule."""

    def scale(self, s: Any, t: Any) -> Any:
        angle = [0.5 * np.pi * (u / self.T + 0.008) / 1.008 for u in (s, t)]
        return np.cos(angle[1]) / np.cos(angle[0])


@pytest.mark.parametrize("wrong", [WrongVE(), UnclippedCosine()], ids=["VE", "cosine"])
def test_the_quadrature_check_catches_wrong_formulas(wrong: Process) -> None:
    with pytest.raises(AssertionError):
        check_against_quadrature(wrong, 0.5 * wrong.T, wrong.T)


@EACH
@given(fractions=st.lists(unit, min_size=3, max_size=3))
def test_transitions_compose(process: Process, fractions: list[float]) -> None:
    r, s, t = (fraction * process.T for fraction in sorted(fractions))
    np.testing.assert_allclose(process.scale(r, t), process.scale(r, s) * process.scale(s, t), rtol=1e-11)
    composed = process.scale(s, t) ** 2 * process.variance(r, s) + process.variance(s, t)
    np.testing.assert_allclose(process.variance(r, t), composed, rtol=1e-11, atol=1e-300)


@EACH
def test_a_transition_over_no_time_does_nothing(process: Process) -> None:
    s = process.T * np.array([0.0, 0.3, 1.0])
    np.testing.assert_array_equal(process.scale(s, s), 1.0)
    np.testing.assert_array_equal(process.variance(s, s), 0.0)


def _exact_integral(process: Any, s: Any, t: Any) -> Any:
    """Return int_s^t beta to fifty digits from its antiderivative."""
    T = mp.mpf(process.T)
    if isinstance(process, fp.OrnsteinUhlenbeck):
        return 2 * (t - s)
    if isinstance(process, fp.CosineVP):
        clip = mp.mpf(process.clip_time)
        low, high = min(s, clip), min(t, clip)
        offset = mp.mpf(0.008)
        angle = [mp.pi / 2 * (u / T + offset) / (1 + offset) for u in (low, high)]
        return -2 * mp.log(mp.cos(angle[1]) / mp.cos(angle[0])) + 999 * (max(t, clip) - max(s, clip)) / T
    low, high, c = (
        mp.mpf(process.beta_min),
        mp.mpf(process.beta_max),
        mp.mpf(getattr(process, "curvature", 0.0)),
    )
    if c == 0:
        return low * (t - s) + (high - low) * (t - s) * (t + s) / (2 * T)
    ramp = (mp.exp(c * t) - mp.exp(c * s)) / c - (t - s)
    return low * (t - s) + (high - low) * ramp / (mp.exp(c * T) - 1)


def _exact_variance(process: Any, s: float, t: float) -> Any:
    with mp.workdps(50):
        s, t = mp.mpf(s), mp.mpf(t)
        if isinstance(process, fp.EDM):
            return t**2 - s**2
        if isinstance(process, fp.VE):
            ratio, low = mp.mpf(process.sigma_max) / mp.mpf(process.sigma_min), mp.mpf(process.sigma_min)
            level = [low * ratio ** (u / mp.mpf(process.T)) for u in (s, t)]
            jump = process.convention == "score_sde" and s == 0
            return level[1] ** 2 - (0 if jump else level[0] ** 2)
        between = _exact_integral(process, s, t)
        if isinstance(process, fp.SubVP):
            total = _exact_integral(process, mp.mpf(0), s) + _exact_integral(process, mp.mpf(0), t)
            return mp.expm1(-between) * mp.expm1(-total)
        square = mp.mpf(getattr(process, "sigma", 1.0)) ** 2
        return -square * mp.expm1(-between / square)


@EACH
@pytest.mark.parametrize("gap", [1e-14, 1e-8, 1e-3, 0.1])
@pytest.mark.parametrize("start", [0.0, 1e-9, 0.31, 0.9])
def test_variance_has_twelve_digits_over_short_steps(process: Process, start: float, gap: float) -> None:
    s = start * process.T
    t = s + gap * process.T
    if t > s:
        exact = _exact_variance(process, s, t)
        assert abs(mp.mpf(float(process.variance(s, t))) / exact - 1) < 1e-12


@EACH
def test_scale_has_twelve_digits(process: Process) -> None:
    if isinstance(process, fp.VE | fp.EDM):
        assert process.scale(0.0, process.T) == 1.0
        return
    with mp.workdps(50):
        exponent = _exact_integral(process, mp.mpf(0), mp.mpf(0.7 * process.T))
        exact = mp.exp(-exponent / (2 * mp.mpf(getattr(process, "sigma", 1.0)) ** 2))
    assert abs(mp.mpf(float(process.scale(0.0, 0.7 * process.T))) / exact - 1) < 1e-12


def test_table_of_marginals_from_zero() -> None:
    t = np.array([0.1, 0.5, 0.9])
    integral = 0.1 * t + 19.9 * t**2 / 2
    vp, sub, edm, ve = fp.VP(), fp.SubVP(), fp.EDM(), fp.VE(0.01, 50.0)
    np.testing.assert_allclose(vp.scale(0.0, t), np.exp(-integral / 2), rtol=1e-14)
    np.testing.assert_allclose(vp.variance(0.0, t), 1 - np.exp(-integral), rtol=1e-13)
    np.testing.assert_allclose(sub.variance(0.0, t), (1 - np.exp(-integral)) ** 2, rtol=1e-13)
    np.testing.assert_allclose(sub.diffusion(t) ** 2, vp.beta(t) * (1 - np.exp(-2 * integral)), rtol=1e-13)
    np.testing.assert_allclose(edm.variance(0.0, t), t**2, rtol=1e-15)
    np.testing.assert_allclose(ve.variance(0.0, t), 1e-4 * (5000 ** (2 * t) - 1), rtol=1e-12)
    ou = fp.OrnsteinUhlenbeck(T=1.0)
    np.testing.assert_allclose(ou.variance(0.0, t), 1 - np.exp(-2 * t), rtol=1e-14)


def test_ornstein_uhlenbeck_is_vp_with_constant_rate_two() -> None:
    ou, vp = fp.OrnsteinUhlenbeck(T=3.0), fp.VP(2.0, 2.0, T=3.0)
    t = np.linspace(0.0, 3.0, 7)
    for name in ("drift_rate", "diffusion", "beta"):
        np.testing.assert_allclose(getattr(ou, name)(t), getattr(vp, name)(t), rtol=1e-15)
    np.testing.assert_allclose(ou.variance(0.5, t[2:]), vp.variance(0.5, t[2:]), rtol=1e-14)


def test_curved_schedule_runs_between_its_ends_and_tends_to_the_linear_one() -> None:
    t = np.linspace(0.0, 1.0, 11)
    for curvature in (-10.0, -1.0, 1.0, 10.0):
        np.testing.assert_allclose(fp.VP(curvature=curvature).beta([0.0, 1.0]), [0.1, 20.0], rtol=1e-14)
    assert np.all(fp.VP(curvature=3.0).beta(t[1:-1]) < fp.VP().beta(t[1:-1]))
    assert np.all(fp.VP(curvature=-3.0).beta(t[1:-1]) > fp.VP().beta(t[1:-1]))
    gaps = [np.abs(fp.VP(curvature=c).variance(0.0, t) - fp.VP().variance(0.0, t)).max() for c in (1e-2, 1e-4)]
    assert gaps[0] / gaps[1] == pytest.approx(100.0, rel=0.02)
    assert fp.VP(curvature=1e-200).beta(0.5) == fp.VP().beta(0.5)


def test_cosine_schedule_follows_nichol_and_dhariwal_until_its_clip() -> None:
    process = fp.CosineVP(T=2.0)
    t = 2.0 * np.array([0.2, 0.6, 0.99])
    cosine = np.cos(0.5 * np.pi * (t / 2.0 + 0.008) / 1.008) ** 2 / np.cos(0.5 * np.pi * 0.008 / 1.008) ** 2
    np.testing.assert_allclose(process.scale(0.0, t) ** 2, cosine, rtol=1e-12)
    clip = process.clip_time
    assert 0.997 < clip / 2.0 < 0.999
    np.testing.assert_allclose(process.beta([clip * (1 - 1e-9), clip, 2.0]), 999 / 2.0, rtol=1e-6)
    # their discrete betas, 1000 steps: beta_k = 1 - abar_k/abar_{k-1}, capped at 0.999
    edges = np.arange(1001) / 500
    with np.errstate(over="raise"):
        discrete = process.variance(edges[:-1], edges[1:])
    assert discrete[:900].max() < 0.02
    assert 0.6 < discrete[-1] < 0.999


def test_ve_offers_both_conventions() -> None:
    equation, statement = fp.VE(0.1, 20.0), fp.VE(0.1, 20.0, convention="score_sde")
    t = np.array([1e-6, 0.5, 1.0])
    np.testing.assert_allclose(statement.variance(0.0, t), statement.sigma(t) ** 2, rtol=1e-13)
    np.testing.assert_allclose(statement.variance(0.0, t) - equation.variance(0.0, t), 0.01, rtol=1e-10)
    np.testing.assert_array_equal(statement.variance(0.25, t[1:]), equation.variance(0.25, t[1:]))
    assert statement.variance(0.0, 0.0) == 0.0


@pytest.mark.parametrize(
    ("process", "std"),
    [
        (fp.OrnsteinUhlenbeck(2.0), 1.0),
        (fp.VP(sigma=1.5), 1.5),
        (fp.CosineVP(), 1.0),
        (fp.SubVP(), 1.0),
        (fp.VE(), 50.0),
        (fp.EDM(), 80.0),
    ],
)
def test_prior_is_a_centred_gaussian(process: Process, std: float) -> None:
    assert process.prior().mean == 0.0
    assert process.prior().cov == pytest.approx(std**2)
    in_the_plane = process.prior(dim=2)
    assert in_the_plane.dim == 2
    np.testing.assert_allclose(in_the_plane.cov, std**2 * np.eye(2))
    with pytest.raises(ValueError, match="dim: expected 1 or 2"):
        process.prior(dim=3)


@EACH
def test_methods_broadcast_and_keep_scalars(process: Process) -> None:
    early, late = process.T * np.linspace(0.0, 0.4, 3), process.T * np.linspace(0.5, 1.0, 4)
    for two_times in (process.scale, process.variance):
        table = two_times(early[:, None], late)
        assert table.shape == (3, 4)
        assert table[1, 2] == pytest.approx(float(two_times(early[1], late[2])), rel=1e-14)
        assert np.ndim(two_times(0.0, process.T)) == 0
    for one_time in (process.drift_rate, process.diffusion):
        assert one_time(late).shape == (4,)
        assert float(one_time(late[1])) == one_time(late)[1]
        assert isinstance(one_time(late[1]), np.floating)
        assert one_time(np.array([])).shape == (0,)


@EACH
def test_processes_are_values(process: Process) -> None:
    assert hash(process) == hash(PROCESSES[next(k for k, v in PROCESSES.items() if v is process)])
    assert eval(repr(process), vars(fp)) == process
    with pytest.raises(FrozenInstanceError):
        process.T = 2.0


@EACH
def test_times_outside_of_the_process_are_refused(process: Process) -> None:
    for bad in (-1e-3, 1.001 * process.T, np.nan, [0.0, 2 * process.T]):
        with pytest.raises(ValueError, match=r"^t: expected"):
            process.drift_rate(bad)
        with pytest.raises(ValueError, match=r"^t: expected"):
            process.variance(0.0, bad)
    with pytest.raises(ValueError, match=r"^s: expected times s <= t"):
        process.scale(process.T, 0.5 * process.T)
    assert np.isfinite(process.variance(0.0, process.T * (1 + 4e-16)))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: fp.OrnsteinUhlenbeck(0.0), "T: expected a finite number > 0, got 0.0"),
        (lambda: fp.VP(T=-1.0), "T: expected"),
        (lambda: fp.VP(beta_min=-0.1), "beta_min: expected a finite number >= 0"),
        (lambda: fp.VP(beta_max=np.inf), "beta_max: expected"),
        (lambda: fp.VP(sigma=0.0), "sigma: expected"),
        (lambda: fp.VP(curvature=11.0), r"curvature: expected a number in \[-10, 10\], got 11.0"),
        (lambda: fp.VP(curvature=10.0, T=100.0), r"curvature \* T: expected"),
        (lambda: fp.CosineVP(T=np.nan), "T: expected"),
        (lambda: fp.SubVP(beta_max=0.0), "beta_max: expected"),
        (lambda: fp.VE(sigma_min=0.0), "sigma_min: expected"),
        (lambda: fp.VE(2.0, 1.0), "sigma_max: expected a number > sigma_min=2, got 1.0"),
        (lambda: fp.VE(convention="song"), "convention: expected one of 'sde', 'score_sde', got 'song'"),
        (lambda: fp.EDM(80.0, 0.002), "sigma_max: expected"),
        (lambda: fp.VP("0.1"), "beta_min: expected"),
    ],
)
def test_bad_parameters_are_named(build: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        build()
