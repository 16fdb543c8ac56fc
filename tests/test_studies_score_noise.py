"""The study of score error as noise: checks pass as shipped, fail when what they check is wrong; rank correlations."""

import cases
import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.stats import spearmanr

import fpsolve as fp
from fpsolve import stochastic, studies
from fpsolve.settings import build
from fpsolve.studies import _score_noise_cases as ensembles
from fpsolve.studies import options, score_noise
from fpsolve.studies.config import by_clock, own_units
from fpsolve.studies.report import check_table

#: Fewer errors, paths, resamples and half the times; in the nightly command as shipped.
FEWER = cases.sample((), ("errors=40", "paths=3", "resamples=400", "intervals=40", "oracle.paths=4"))


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    out = tmp_path_factory.mktemp("score-noise") / "out"
    return studies.run("score-noise", out=out, changes=FEWER, progress=False), out


@pytest.mark.slow
def test_checks_pass_and_files_are_there(report):
    found, folder = report
    for check in found.checks:
        print(f"{check.name}: {check.value:.3g}")
    assert [check.name for check in found.checks if not check.passed] == []
    assert {path.name for path in folder.iterdir()} == {
        "run.nc",
        "figure.png",
        "figure.pdf",
        "report.html",
        "report.md",
        "summary.json",
    }
    assert found.datasets[""].sizes["case"] >= 40
    assert len(found.checks) >= 6
    assert max(len(line) for line in (found.table.text() + "\n" + check_table(found.checks).text()).splitlines()) <= 100


@pytest.mark.slow
def test_correlations_are_those_of_the_cases(report):
    found, table = report[0].datasets[""], report[0].datasets["correlations"]
    one = found.sel(population="steady")
    rho = float(table["value"].sel(population="steady", predictor="whole", distance="weighted_tv"))
    assert rho == pytest.approx(spearmanr(one["metric"].sel(share=1.0), one["weighted_tv"]).statistic, abs=1e-12)
    assert np.all(table["low"] <= table["value"])
    assert np.all(table["value"] <= table["high"])
    # errors that last are ordered better than by chance, by the whole trajectory and by its first tenth
    steady = table.sel(population="steady", distance="weighted_tv")
    assert np.all(steady["low"] > 0.0)
    # and the first tenth is blind to errors that begin later
    late = table.sel(population="windowed", predictor="first", distance="weighted_tv")
    assert float(late["low"]) < 0.0 < float(table["low"].sel(population="windowed", predictor="whole", distance="w2"))


@pytest.mark.slow
def test_checks_fail_on_wrong_numbers(report):
    cases, table = report[0].datasets[""], report[0].datasets["correlations"]
    names = ("mean", "variance", "variation", "scatter", "mass", "halving", "coarser")
    known = {name: report[0].metrics[f"oracle_{name}"] for name in names}
    wrong = {
        "oracle: mean": (cases, table, known | {"mean": 2e-3}),
        "oracle: variance": (cases, table, known | {"variance": 2e-3}),
        "oracle: quadratic variation": (cases, table, known | {"variation": 2e-3}),
        "oracle: realised": (cases, table, known | {"scatter": 6.0}),
        "mass: change": (cases.assign(mass=cases["mass"] + 1e-9), table, known),
        "mass of negative": (cases.assign(negative=cases["negative"] + 1e-6), table, known),
        "entropy above": (cases.assign(margin=cases["margin"] - cases["margin"].max() - 1.0), table, known),
        "entropy bounds that": (cases.assign(margin=cases["margin"] * np.nan), table, known),
        "metric of a given": (cases, table, known | {"halving": 1.0}),
        "distance on half": (cases, table, known | {"coarser": 0.1}),
        "widest interval": (cases, table.assign(high=table["high"] + 1.0), known),
    }
    assert len(wrong) == len(report[0].checks)
    for name, arguments in wrong.items():
        failed = [check.name for check in score_noise.checks(*arguments) if not check.passed]
        assert any(one.startswith(name) for one in failed), name


def test_settings_that_do_not_fit_are_told(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text(studies.settings("score-noise").replace("errors = 50", "errors = 12"))
    with pytest.raises(ValueError, match="errors"):
        studies.run("score-noise", config=path, progress=False)


def test_rank_correlation_is_spearmans_and_its_interval_covers():
    rng = np.random.default_rng(0)
    x = rng.standard_normal(60)
    y = np.exp(x + 0.7 * rng.standard_normal(60))
    found = stochastic.rank_correlation(x, y, seed=1)
    assert found.value == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)
    # Fisher's transformation, for what the width should be
    half = 1.96 / (60 - 3) ** 0.5
    low, high = (np.tanh(np.arctanh(found.value) + side * half) for side in (-1.0, 1.0))
    assert found.low == pytest.approx(low, abs=0.06)
    assert found.high == pytest.approx(high, abs=0.06)
    # bivariate normals of correlation r have Spearman's rho 6/pi arcsin(r/2): covered in about 95 % of all samples
    r, hits = 0.6, 0
    truth = 6.0 / np.pi * np.arcsin(r / 2.0)
    for seed in range(200):
        x, z = np.random.default_rng([seed, 1]).standard_normal((2, 50))
        one = stochastic.rank_correlation(x, r * x + (1.0 - r**2) ** 0.5 * z, seed=seed, resamples=400)
        hits += one.low <= truth <= one.high
    print(f"covered: {hits} of 200")
    assert 178 <= hits <= 200


@pytest.mark.parametrize("kind", ["cosine-vp", "edm", "sub-vp"])
def test_noise_of_a_rate_moves_a_point_alike_on_every_process(kind):
    """White in the clock: int c^2 lambda e^2 dr is the rate times int g^2 dr, whatever the times of the process."""
    process = own_units(build({"kind": kind}, fp.Process))
    case = ensembles.noises(process, 1, (0.01, 0.01 + 1e-15), seed=0)[0]  # the first is constant
    t = by_clock(process, 0.01 * process.T, np.linspace(0.0, 1.0, 4001))
    squares = [float(case.error.variances @ case.error.values(u, np.array([0.3]))[:, 0] ** 2) for u in t.tolist()]
    moved = -np.trapezoid(process.diffusion(t) ** 4 * squares, t)
    # in own units g^2 dr is twice the step of tau = log(1 + (s/alpha)^2)/2
    tau = [0.5 * np.log1p(process.variance(0.0, u) / process.scale(0.0, u) ** 2) for u in (t[0], t[-1])]
    assert moved == pytest.approx(0.01 * 2.0 * (tau[0] - tau[1]), rel=2e-3)


def test_quick_draws_every_family():
    """Ten of sixty: with every fifth there was one family alone, whose errors any number orders."""
    config = options.read("score-noise", score_noise.Config, None, options.Options(quick=True))
    drawn = ensembles.noises(config.process, config.errors, config.rates, 0)[:: config.thinned]
    assert {case.family for case in drawn} == set(ensembles.FAMILIES)


def test_rank_correlation_refuses():
    good = np.arange(20.0)
    for message, pair in {
        "at least 10": (good[:5], good[:5]),
        "same everywhere": (good, np.ones(20)),
        "finite": (good, np.where(good > 3.0, good, np.nan)),
    }.items():
        with pytest.raises(ValueError, match=message):
            stochastic.rank_correlation(*pair, seed=0)
    with pytest.raises(ValueError, match="level"):
        stochastic.rank_correlation(good, good**2, seed=0, level=1.5)


@pytest.mark.slow
def test_figures(report):
    cases, table = report[0].datasets[""], report[0].datasets["correlations"]
    ax = fp.plots.metric_against_distance(cases.sel(population="steady"))
    assert ax.get_xscale() == "log"
    assert len(ax.lines) == 5
    ranks = fp.plots.metric_against_distance(cases.sel(population="noise"), distance="w2", ranks=True)
    assert len(ranks.lines) == 6
    rows = {"steady": {"population": "steady", "predictor": "whole"}}
    both = fp.plots.rank_correlations(table, rows=rows, distances={"weighted_tv": "TV", "w2": "W2"})
    assert both.lines[0].get_xdata() == pytest.approx(
        float(table["value"].sel(rows["steady"] | {"distance": "weighted_tv"}))
    )
    with pytest.raises(ValueError, match="family"):
        fp.plots.metric_against_distance(cases.drop_vars("family"))
    plt.close("all")
