"""The studies of practice: designed step grids and guidance, run small; their checks fail on wrong numbers."""

import numpy as np
import pytest
import xarray as xr
from scipy.integrate import simpson
from scipy.stats import norm

import fpsolve as fp
from fpsolve import studies
from fpsolve.studies import guidance, step_design
from fpsolve.studies.options import Options, read

FILES = {"run.nc", "figure.png", "figure.pdf", "report.html", "report.md", "summary.json"}
QUICK = {
    "guidance": {
        "w = [0.0, 1.0, 2.0, 3.0, 5.0, 8.0]": "w = [1.0, 3.0]",
        "tol = 1e-3": "tol = 4e-3",
        "particles = 20_000": "particles = 2_000",
    },
    "step-design": {
        "cells = 300": "cells = 200",
        'samplers = ["ddim", "dpm-solver++(2m)", "heun"]': 'samplers = ["ddim", "heun"]',
        "evaluations = [4, 6, 10]": "evaluations = [4, 5]",
        "tries = 500": "tries = 60",
    },
}


@pytest.fixture(scope="module", params=sorted(QUICK))
def small(request, tmp_path_factory):
    folder, text = tmp_path_factory.mktemp(request.param), studies.settings(request.param)
    for old, new in QUICK[request.param].items():
        assert old in text, old
        text = text.replace(old, new)
    (folder / "settings.toml").write_text(text)
    report = studies.run(request.param, config=folder / "settings.toml", out=folder / "out", progress=False)
    return report, folder / "out"


def test_checks_pass_and_files_are_there(small):
    report, out = small
    assert [check.name for check in report.checks if not check.passed] == []
    assert len(report.checks) >= 3
    assert {path.name for path in out.iterdir()} == FILES
    assert max(len(line) for line in report.table.text().splitlines()) <= 100
    spoil = {"step-design": spoiled_design, "guidance": spoiled_guidance}[report.study]
    for name, failed in spoil(report.datasets[""]):
        assert any(one.startswith(name) for one in failed), name


def spoiled_guidance(right):
    # w = 3 by the SDE: moments of a quadrature of the tilted density, written out
    x = np.linspace(-6.0, 6.0, 4001)
    parts = [s * norm.pdf(x, m, d) for s, m, d in ((0.2, -2.0, 0.4), (0.3, 0.0, 0.6), (0.5, 1.5, 0.5))]
    tilted = sum(parts) ** -2.0 * parts[2] ** 3
    mean = simpson(x * tilted, x=x) / simpson(tilted, x=x)
    half = 0.5 * (0.1 * 0.01 + 0.5 * 19.9 * 0.01**2)
    assert float(right["tilted_mean"].sel(w=3.0, way="SDE")) == pytest.approx(np.exp(-half) * mean, rel=1e-5)
    assert float(right["apart"].sel(w=3.0, way="SDE")) == pytest.approx(0.1523, abs=2e-3)
    for name, spoiled, agree in (
        ("w = 1", right.assign(apart=right["apart"] + 0.1), True),
        ("error bar", right.assign(bar=right["bar"] + 0.1), True),
        ("particles", right, False),
    ):
        yield name, [check.name for check in guidance.checks(spoiled, agree) if not check.passed]


def spoiled_design(right):
    for name, spoiled in {
        "designed / best": right.assign(designed=2.0 * right["named"].max("grid")),
        "error bar / error, designed": right.assign(bar=right["designed"]),
        "error bar / error, best named": right.assign(named_bar=right["named"]),
        "error by cells less": right.assign(by_ranks=1.01 * right["by_ranks"]),
        "wrong score": right.assign(kept=0.5 * right["redesigned"]),
    }.items():
        yield name, [check.name for check in step_design.checks(spoiled) if not check.passed]


def test_a_distance_that_few_cells_do_not_tell_is_taken_on_more(tmp_path):
    """Labels of own data: a loose tolerance is met on cells as wide as a mode, which leave 0.03 open."""
    sample = np.random.default_rng(3).gamma(2.0, 1.5, 180)
    np.savetxt(tmp_path / "own.csv", sample, header="wait", comments="")
    config = read("guidance", guidance.Config, None, Options(quick=True, data=tmp_path / "own.csv"))
    found = guidance._one(config, guidance._run(config, "SDE, interval", 0.0), 0.0)
    reverse = config.reverse("SDE, interval", 0.0)
    fine = fp.evolve(reverse, reverse.marginal(config.process.T), t_min=config.t_min, tol=1e-5, progress=False)
    density, grid = fine["density"].isel(start=0, t=-1).values, fine.fpsolve.grid
    truth = (
        0.5 * float(np.abs(density - grid.cell_average(config.tilted(0.0).marginal(config.t_min))).sum()) * grid.volume
    )
    assert float(found["bar"]) < 0.01
    # sums over cells miss where the difference changes its sign within one
    assert float(found["apart"]) == pytest.approx(truth, abs=1e-3)


def test_standard_deviations_by_cells_lack_what_cells_are_wide():
    """Exact averages of the tilted law on cells of half its narrowest component: the moments are those of the law."""
    config = read("guidance", guidance.Config)
    reverse, tilted = config.reverse("SDE", 1.0), config.tilted(1.0).marginal(config.t_min)
    grid = fp.Grid.uniform((-8.0, 8.0), cells=80)
    start = reverse.marginal(config.process.T)
    with pytest.warns(UserWarning, match="start 'start' at t ="):
        run = fp.evolve(reverse, start, grid=grid, steps=8, t_min=config.t_min, progress=False)
    run["density"][0, -1] = grid.cell_average(tilted)
    found = guidance._one(config, (reverse, run), 1.0)
    assert float(found["std"]) == pytest.approx(float(np.sqrt(tilted.cov)), rel=1e-5)
    assert float(found["mean"]) == pytest.approx(float(tilted.mean), abs=1e-6)
    assert grid.spacing[0] ** 2 / 24.0 > 1e-3 * tilted.cov


def test_the_answer_of_designs_is_read_from_the_numbers():
    """Two samplers, two numbers of evaluations, numbers made up: ratios, the front and what a wrong score moves."""

    def said(kept):
        by = ("sampler", "evaluations")
        found = xr.Dataset(
            {
                "designed": (by, [[0.4, 0.2], [0.5, 0.1]]),
                "named": ((*by, "grid"), [[[0.8, 1.0], [0.5, 0.4]], [[2.0, 1.0], [0.5, 0.4]]]),
                "kept": ("sampler", kept),
                "redesigned": ("sampler", [0.2, 0.1]),
                "levels": ((*by, "node"), [[[9.0, 1.0], [70.0, 1.0]], [[8.0, 1.0], [60.0, 1.0]]]),
                "wrong_levels": (("sampler", "node"), [[35.0, 1.0], [60.0, 2.0]]),
            },
            coords={"sampler": ["ddim", "heun"], "evaluations": [4, 6], "grid": ["karras", "even"]},
        )
        return step_design._answer(read("step-design", step_design.Config), found)

    first, second = said([0.3, 0.11])
    assert "have 0.25 to 0.50 of the error" in first and "0.40 with 4 (ddim), 0.10 with 6 (heun)" in first
    assert "ddim from 70 to 35, heun from 60 to 60" in second and "costs up to 1.50 times" in second
    assert "(ddim)" in second
    # where the design for the wrong score is no better, nothing costs anything
    assert "has no more than 0.950 times the error" in said([0.19, 0.09])[1]


def test_a_run_of_one_step_is_refused(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text(studies.settings("step-design").replace("evaluations = [4, 6, 10]", "evaluations = [3]"))
    config = read("step-design", step_design.Config, path)
    with pytest.raises(ValueError, match="evaluations: expected at least 4 for heun"):
        config.design(config.samplers[2], 3)
