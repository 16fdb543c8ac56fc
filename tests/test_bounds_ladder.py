"""The ladder: order of its rungs on fixed and on random cases, against evolved curves, and what breaks it."""

from itertools import pairwise

import cases
import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

import fpsolve as fp
from fpsolve import bounds, closed_form, kernels, weights

WEIGHT = fp.PolynomialWeight(power=2, beta=0.1)


def failed(checks):
    return [str(check) for check in checks if check.fails]


def not_checked(checks):
    """Names of the checks that had nothing to compare."""
    return {check.name for check in checks if not (check.holds or check.fails)}


CLOSED_RUNGS = {"measured <= Harris, closed form", "Harris <= Harris, closed form"}
HARRIS_RUNGS = {"measured <= Harris", "sharp Dobrushin <= Harris"}


@pytest.fixture(scope="module")
def reverse():
    return fp.Reverse(fp.GaussianMixture([0.5, 0.5], [-2.0, 2.0], stds=[0.3, 0.5]), fp.VP())


@pytest.fixture(scope="module")
def ladder(reverse):
    return bounds.ladder(reverse, grid=fp.Grid.uniform((-9, 9), cells=300), blocks=4, weight=WEIGHT)


def test_the_rungs_are_in_order(ladder):
    print(ladder.prior.to_pandas().T)
    assert list(ladder.bound.values) == [
        "sharp Dobrushin",
        "product of sharp Dobrushin",
        "Harris",
        "Harris, closed form",
        "Poincare",
    ]
    assert {check.verdict for check in bounds.verify(ladder)} == {"holds"}
    assert np.all(np.diff(ladder.t) < 0.0) and ladder.sizes["block"] == 4
    certified = ladder.prior.sel(bound="Harris")
    assert np.all(np.isfinite(certified)), "Harris certifies the whole run"


def test_an_evolved_curve_stays_below(reverse, ladder):
    starts = {"exact": reverse.marginal(1.0), "prior": fp.VP().prior()}
    run = fp.evolve(reverse, starts, t_min=float(ladder.t[-1]), tol=1e-6, save_at=ladder.t.values[1:-1])
    curve = fp.forgetting_curve(run, reference="exact", weight=WEIGHT)
    checks = bounds.verify(ladder, curve)
    print(*checks, sep="\n")
    assert {check.verdict for check in checks} == {"holds"}
    assert sum(check.name.startswith("curve <=") for check in checks) == 5
    measured = ladder.measured.sel(start="prior").values
    assert np.allclose(measured, curve.distance.sel(start="prior"), rtol=1e-3)


def test_plots_draw_it(reverse, ladder):
    starts = {"exact": reverse.marginal(1.0), "prior": fp.VP().prior()}
    run = fp.evolve(reverse, starts, grid=fp.Grid.uniform((-9, 9), cells=200), steps=100, t_min=0.02)
    axes = fp.plots.forgetting(fp.forgetting_curve(run, weight=WEIGHT), ladder=ladder)
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    plt.close(axes.figure)
    assert sum("Harris" in label for label in labels) == 2


def test_it_survives_saving(ladder, tmp_path):
    ladder.to_netcdf(tmp_path / "ladder.nc", engine="h5netcdf")
    import xarray as xr

    with xr.open_dataset(tmp_path / "ladder.nc", engine="h5netcdf") as loaded:
        rows = bounds.records(loaded)
        assert {check.verdict for check in bounds.verify(loaded.load())} == {"holds"}
    one = next(r for r in rows if r["bound"] == "Harris" and r["span"] == "from T")
    assert one["value"] is not None and one["constants"]["gamma"] < 1.0
    # a rung without a number says why
    lacking = [r for r in rows if r["value"] is None]
    assert lacking and all(r["reason"] for r in lacking)


def test_another_norm_costs_its_ratio(reverse, ladder):
    norm = fp.PolynomialWeight(2, 1.0)
    other = bounds.ladder(
        reverse, grid=fp.Grid.uniform((-9, 9), cells=300), blocks=ladder.t.values, weight=WEIGHT, norm=norm
    )
    ratio = float(np.max((1 + ladder.attrs.get("beta", 1.0) * 81.0) / (1 + 0.1 * 81.0)))
    sharp = [d.prior.sel(bound="sharp Dobrushin").values for d in (ladder, other)]
    assert np.allclose(sharp[1] / sharp[0], ratio, rtol=2e-2)
    assert {check.verdict for check in bounds.verify(other)} == {"holds"}
    with pytest.raises(ValueError, match="curve: expected distances in the ladder's norm"):
        bounds.verify(ladder, fp.forgetting_curve(small_run(reverse), weight=norm))


def small_run(reverse):
    starts = {"exact": reverse.marginal(1.0), "prior": fp.VP().prior()}
    return fp.evolve(reverse, starts, grid=fp.Grid.uniform((-9, 9), cells=100), steps=40, t_min=0.02)


def test_scores_and_other_eta_by_finite_volumes(reverse):
    model = fp.Reverse(reverse.target, reverse.process, score=lambda t, x: reverse.score(t, x) + 0.1 * np.sin(x))
    for dynamics in (model, fp.Reverse(reverse.target, reverse.process, eta=0.8)):
        found = bounds.ladder(dynamics, grid=fp.Grid.uniform((-9, 9), cells=120), blocks=2, weight=WEIGHT)
        checks = bounds.verify(found)
        assert not failed(checks)
        assert np.all(np.isnan(found.prior.sel(bound="Harris, closed form")[1:]))
        # drift and overlap of these kernels are known on the box only
        assert not_checked(checks) == CLOSED_RUNGS | HARRIS_RUNGS | {"measured <= Poincare"}
        row = next(r for r in bounds.records(found) if r["bound"] == "Harris")
        assert row["value"] is None and "on the cells of the box only" in row["reason"]


def test_a_scaled_grid_follows_edm():
    edm = fp.Reverse(cases.ou_mixture().target, fp.EDM(0.02, 80.0))
    grid = fp.Grid.uniform((-8, 8), cells=240)
    found = bounds.ladder(edm, grid=grid, frame="scaled", t_min=0.02, weight=WEIGHT)
    checks = bounds.verify(found)
    assert not failed(checks)
    assert not_checked(checks) == {"measured <= Poincare"}
    with pytest.raises(ValueError, match="frame='scaled'"):
        bounds.ladder(edm, grid=grid, weight=WEIGHT)


def test_planes():
    found = bounds.ladder(
        cases.rotated_five(), grid=fp.Grid.uniform([(-7, 7), (-7, 7)], cells=20), blocks=[3.0, 1.0, 0.5], weight=WEIGHT
    )
    checks = bounds.verify(found)
    assert not failed(checks)
    assert not_checked(checks) == CLOSED_RUNGS | HARRIS_RUNGS | {"measured <= Poincare"}


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        ({"blocks": [0.5, 1.0]}, "blocks: expected a number, or at least two decreasing"),
        ({"blocks": [2.0, 0.5]}, "blocks: expected forward times in"),
        ({"blocks": 0}, "blocks: expected an integer"),
        ({"t_min": 2.0}, "t_min: expected a number in"),
        ({"weight": lambda x: 0.0 * x}, "weight: expected V >= 1"),
        (
            {"grid": fp.Grid.uniform((-9, 9), cells=2500)},
            "at most 2000 cells, got 2500, whose matrix would take 0.05 GB",
        ),
        ({"grid": fp.Grid.uniform((-1, 1), cells=50)}, "grid: expected a box that holds p_T"),
        ({"start": {"beta": fp.Gaussian(0.0, std=1.0)}}, "start: expected laws by labels"),
        ({"frame": "moving"}, "frame: expected one of"),
    ],
)
def test_bad_requests_are_one_clear_sentence(reverse, ask, message):
    with pytest.raises(ValueError, match=message):
        bounds.ladder(reverse, **({"grid": fp.Grid.uniform((-6, 6), cells=40)} | ask))


def broken_by(dynamics, reverse):
    """The checks that fail when what was measured on `reverse` is replaced by a run of other dynamics."""
    grid, start = fp.Grid.uniform((-9, 9), cells=300), fp.Gaussian(0.5, std=0.8)
    found = bounds.ladder(reverse, grid=grid, blocks=4, weight=WEIGHT, start=start)
    assert not failed(bounds.verify(found))
    runs = [grid.cell_average(start) - grid.cell_average(reverse.marginal(1.0))]
    for t0, t1 in pairwise(found.t.values):
        runs.append(kernels.finite_volume_operator(dynamics, grid, t0, t1).push(runs[-1]))
    distances = [float(weights.evaluate(WEIGHT, grid) @ np.abs(w) * grid.volume) for w in runs]
    print("measured", found.measured.values, "in its place", distances)
    changed = found.assign(measured=found.measured.copy(data=[distances]))
    return failed(bounds.verify(changed))


def test_a_score_of_the_wrong_sign_breaks_named_checks(reverse):
    """Negative control; the same replacement with the right score breaks nothing."""
    assert not broken_by(reverse, reverse)
    flipped = fp.scores.perturbed(reverse.score, fp.scores.errors.Scaling(-2.0))
    wrong = fp.Reverse(reverse.target, reverse.process, score=flipped)
    broken = broken_by(wrong, reverse)
    print(*broken, sep="\n")
    for name in ("sharp Dobrushin", "Harris", "Poincare"):
        assert any(f"measured <= {name} " in check for check in broken)


def test_a_halved_sigma_breaks_named_checks(reverse):
    """Negative control: half the noise, in the equation of the dynamics."""

    def drift(t, x):
        process = reverse.process
        return -process.drift_rate(t) * x + 0.25 * process.diffusion(t) ** 2 * reverse.score(t, x)

    class Halved(fp.Reverse):
        def drift(self, t, x):
            return drift(t, x)

        def noise(self, t):
            return 0.5 * self.process.diffusion(t)

        def log_gibbs_on_axes(self, times, *axes):
            return None

    broken = broken_by(Halved(reverse.target, reverse.process), reverse)
    print(*broken, sep="\n")
    for name in ("sharp Dobrushin", "Harris", "Poincare"):
        assert any(f"measured <= {name} " in check for check in broken)


# random cases


@st.composite
def random_cases(draw):
    def real(low, high):
        return draw(st.floats(low, high, allow_nan=False))

    count = draw(st.integers(1, 3))
    shares = np.array([real(0.2, 1.0) for _ in range(count)])
    target = fp.GaussianMixture(
        shares / shares.sum(), [real(-2.0, 2.0) for _ in range(count)], stds=[real(0.35, 1.0) for _ in range(count)]
    )
    process = draw(
        st.sampled_from(
            [fp.VP(), fp.VP(beta_max=8.0), fp.VP(curvature=4.0), fp.OrnsteinUhlenbeck(T=2.0), fp.SubVP(), fp.CosineVP(),
             fp.VE(sigma_min=0.01, sigma_max=2.5)]
        )
    )  # fmt: skip
    start = fp.Gaussian(real(-1.5, 1.5), std=real(0.4, 1.1))
    fractions = sorted({round(real(0.02, 0.9), 3) for _ in range(draw(st.integers(1, 3)))}, reverse=True)
    return target, process, start, [process.T, *(process.T * f for f in fractions)], real(0.03, 1.0)


@pytest.mark.parametrize("mean", [5e-324, -1e-310, 1e-160])
def test_a_mean_that_is_zero_but_for_rounding_breaks_nothing(mean):
    near, zero = (
        checked_ladder(fp.Gaussian(m, std=1.0), fp.VP(), fp.Gaussian(0.5, std=1.0), [1.0, 0.25], 1.0)
        for m in (mean, 0.0)
    )
    # the closed form is an upper bound in either case, by other constants
    rest = [name for name in near.bound.values if name != "Harris, closed form"]
    np.testing.assert_allclose(near["nu"].sel(bound=rest), zero["nu"].sel(bound=rest), rtol=1e-9)


def test_the_sharp_rung_knows_the_level_that_the_certificate_found():
    """On coarse cells the coefficient is known from above by the certificate only, which looks between its levels."""
    target = fp.GaussianMixture([0.68221899, 0.31778101], [0.0, 0.0], stds=[0.35, 0.91511282])
    start = fp.Gaussian(0.056848217255989195, std=1.1)
    checked_ladder(target, fp.VP(beta_max=8.0), start, [1.0, 0.264, 0.057], 0.2329024917685178)


@pytest.mark.slow
def test_no_random_case_breaks_the_ladder():
    """measured <= sharp <= Harris <= closed form, measured <= Poincare, KL <= Girsanov; and the rungs are there."""
    tally = {"cases": 0, "Harris": 0, "Harris, closed form": 0, "Poincare": 0}

    count = cases.sample(200, 8)

    @settings(max_examples=count)
    @given(case=random_cases())
    def check(case):
        last = checked_ladder(*case)["nu"].isel(t=-1)
        tally["cases"] += 1
        for name in ("Harris", "Harris, closed form", "Poincare"):
            tally[name] += bool(np.isfinite(last.sel(bound=name)))

    check()
    print("certified at the last boundary:", tally)
    assert tally["cases"] >= count
    assert min(tally.values()) >= count // 4


def checked_ladder(target, process, start, blocks, beta):
    reverse, weight = fp.Reverse(target, process), fp.PolynomialWeight(2, beta)
    half = 9.0 if process.prior_std < 2.0 else 16.0
    grid = fp.Grid.uniform((-half, half), cells=90 if half == 9.0 else 120)
    found = bounds.ladder(reverse, grid=grid, blocks=blocks, weight=weight, start={"nu": start})
    checks = bounds.verify(found)
    assert not failed(checks)
    # what is not compared is a rung without a number, and the sharp ones always have one
    empty = {str(b) for b in found.bound.values if not np.isfinite(found["nu"].sel(bound=b)[1:]).any()}
    assert {f"measured <= {b}" for b in empty} == {n for n in not_checked(checks) if n.startswith("measured")}
    assert not any("Harris" not in name and "Poincare" not in name for name in not_checked(checks))
    # the oracle shares no code with the kernels
    q = closed_form.cell_averages(reverse, start, blocks[-1], grid)
    gap = np.abs(q - grid.cell_average(reverse.marginal(blocks[-1])))
    measured = float(np.sum(weights.evaluate(weight, grid) * gap) * grid.volume)
    bound = found["nu"].isel(t=-1).values
    assert np.all(measured <= bound[np.isfinite(bound)] * (1 + 1e-3) + 1e-9)
    model = fp.Reverse(target, process, score=lambda t, x: reverse.score(t, x) + 0.2 * np.cos(x))
    entropy = bounds.girsanov(reverse, model, t_min=blocks[-1], grid=grid)
    other = kernels.finite_volume_operator(model, grid, process.T, blocks[-1]).push(
        grid.cell_average(reverse.marginal(process.T))
    )
    p = kernels.finite_volume_operator(reverse, grid, process.T, blocks[-1]).push(
        grid.cell_average(reverse.marginal(process.T))
    )
    inside = (p > 1e-14) & (other > 1e-14)
    kl = float(np.sum(p[inside] * np.log(p[inside] / other[inside])) * grid.volume)
    assert kl <= entropy.kl_path * (1 + 1e-2) + 1e-6
    return found


# nothing to compare is not a check that passed


def verdicts(ladder, curve=None):
    return {check.name: check.verdict for check in bounds.verify(ladder, curve)}


def test_a_ladder_without_numbers_is_not_checked(ladder):
    """All rungs NaN: nothing holds and nothing fails."""
    empty = ladder.assign(prior=np.nan * ladder["prior"], factor=np.nan * ladder["factor"])
    found = bounds.verify(empty)
    assert {check.verdict for check in found} == {"not checked"}
    assert not any(check.holds or check.fails for check in found)
    assert all("nothing to compare" in str(check) and np.isnan(check.margin) for check in found)


def test_one_rung_without_numbers_is_named_and_the_others_are_compared(ladder):
    prior, factor = ladder["prior"].copy(), ladder["factor"].copy()
    prior.loc[{"bound": "Harris"}] = factor.loc[{"bound": "Harris"}] = np.nan
    found = verdicts(ladder.assign(prior=prior, factor=factor))
    missing = {name for name, verdict in found.items() if verdict == "not checked"}
    assert missing == {"measured <= Harris", "sharp Dobrushin <= Harris", "Harris <= Harris, closed form"}
    assert set(found.values()) == {"holds", "not checked"}


@pytest.mark.parametrize(("spoiled", "verdict"), [(np.nan, "not checked"), (np.inf, "FAILS")])
def test_a_distance_that_is_no_number(ladder, spoiled, verdict):
    """A missing distance cannot be compared; an infinite one is above every bound."""
    found = verdicts(ladder.assign(measured=ladder["measured"] + spoiled))
    assert {v for name, v in found.items() if name.startswith("measured")} == {verdict}


def test_an_infinite_error_leaves_nothing_to_compare(reverse, ladder):
    curve = fp.forgetting_curve(small_run(reverse), weight=WEIGHT).isel(t=slice(1, None))
    curve = curve.assign_coords(t=np.append(curve.t.values[:-1], ladder.t.values[-1]))
    blind = curve.assign(error=np.inf * (1.0 + curve["error"]))
    found = {name: v for name, v in verdicts(ladder, blind).items() if name.startswith("curve")}
    assert len(found) == 5 and set(found.values()) == {"not checked"}


def test_every_number_says_what_it_is(ladder):
    words = dict(zip(ladder.bound.values.tolist(), ladder.status.values.tolist(), strict=True))
    # an exact kernel of a mixture has an upper bound on the whole line; the spectral gap is one of a grid
    assert words["sharp Dobrushin"] == words["Harris"] == "certified" and words["Poincare"] == "estimated"
    rows = bounds.records(ladder)
    assert {row["status"] for row in rows if row["value"] is None} <= {"no certificate"}
    assert {row["status"] for row in rows if row["bound"] == "sharp Dobrushin"} == {"estimated"}, "the maximum on cells"
    for bound, word in words.items():
        found = {row["status"] for row in rows if row["bound"] == bound}
        assert bound in {"sharp Dobrushin", "product of sharp Dobrushin"} or word in found


def test_a_rung_without_an_upper_bound_is_an_estimate():
    flat = fp.Reverse(fp.Laplace(0.0, 1.0), fp.VP())
    found = bounds.ladder(flat, grid=fp.Grid.uniform((-9, 9), cells=60), blocks=2, weight=WEIGHT)
    words = dict(zip(found.bound.values.tolist(), found.status.values.tolist(), strict=True))
    assert words["sharp Dobrushin"] == "estimated" and words["Harris, closed form"] == "no certificate"
    assert "(estimated)" in str(bounds.dobrushin(kernels.exact(flat, fp.Grid.uniform((-9, 9), cells=60), 1.0, 0.1)))


def test_a_poincare_constant_is_an_estimate_or_certified(reverse):
    grid = fp.Grid.uniform((-9, 9), cells=200)
    words = [bounds.poincare(reverse, 1.0, 0.1, grid=grid, constant=given).status for given in (None, "bracket")]
    assert words == ["estimated", "certified"]


@pytest.mark.parametrize(("process", "eta"), [(fp.OrnsteinUhlenbeck(T=2.0), 1.6), (fp.VP(), 0.4), (fp.VP(), 1.0)])
def test_what_is_measured_has_the_error_of_its_kernels(process, eta):
    """Gaussian data: mean and variance less those of p_t fall by c and c^2, c by quadrature of the drift's slope."""
    m, s, start = 0.4, 0.9, fp.Gaussian(1.0, std=0.6)
    reverse = fp.Reverse(fp.Gaussian(m, std=s), process, eta=eta)
    found = bounds.ladder(reverse, grid=fp.Grid.uniform((-9.0, 9.0), cells=160), blocks=3, start=start)
    x = np.linspace(-9.0, 9.0, 400_001)

    def spread(t):
        return (s * process.scale(0.0, t)) ** 2 + process.variance(0.0, t)

    def slope(t):
        return -process.drift_rate(t) - 0.5 * (1.0 + eta**2) * process.diffusion(t) ** 2 / spread(t)

    T = process.T
    for t, value, error in zip(found.t.values, found.measured.values[0], found.measured_error.values[0], strict=True):
        c = np.exp(quad(slope, t, T, epsabs=1e-12, epsrel=1e-12)[0])
        mean, v = m * process.scale(0.0, t), spread(t)
        shift, more = c * (1.0 - m * process.scale(0.0, T)), c**2 * (0.36 - spread(T))
        # p (q/p - 1), without cancellation
        z = x - mean
        log_ratio = 0.5 * z**2 / v - 0.5 * (z - shift) ** 2 / (v + more) - 0.5 * np.log1p(more / v)
        apart = np.abs(np.exp(-0.5 * z**2 / v) * np.expm1(log_ratio)) / np.sqrt(2.0 * np.pi * v)
        truth = np.sum((1.0 + x**2) * apart) * (x[1] - x[0])
        assert value == pytest.approx(truth, rel=1e-8, abs=error) and error < 0.2 * truth
    odd = bounds.ladder(reverse, grid=fp.Grid.uniform((-9.0, 9.0), cells=81), blocks=2, start=start)
    assert np.isfinite(odd.measured_error.values[0, 1:]).all() == (eta == 1.0)
