"""What could hide an error: mass that is made up, negative densities, factors of safety, where a result is from."""

import json
from importlib import import_module
from typing import Any

import numpy as np
import pytest

import fpsolve as fp

FACTORS: Any = import_module("fpsolve.evolution._estimate")
TARGET = fp.GaussianMixture([0.4, 0.6], [-1.0, 1.0], stds=[0.4, 0.5])
REVERSE = fp.Reverse(TARGET, fp.VP())
#: Orders that are believed at least and at most, and those assumed of levels of lower and of full order.
LOW, HIGH, UNSEEN = 1.0, 4.0, (2.0, 3.0)
GRID = fp.Grid.uniform((-6, 6), cells=240)


@pytest.mark.parametrize("mass", [0.7, -0.5], ids=["0.7", "signed"])
def test_a_start_of_another_mass_keeps_it(mass: float) -> None:
    """Densities are neither renormalised nor made positive, and `mass` is theirs."""
    q, other = GRID.cell_average(fp.Gaussian(0.3, std=1.0)), GRID.cell_average(fp.Gaussian(0.5, std=1.0))
    start = 0.7 * q if mass > 0.0 else q - 1.5 * other
    run = fp.evolve(REVERSE, {"a": start}, grid=GRID, steps=200, t_min=0.1)
    np.testing.assert_allclose(run.mass.values[0], float(start.sum()) * GRID.volume, rtol=1e-12)
    np.testing.assert_allclose(run.density.values.sum(axis=-1) * GRID.volume, run.mass.values, rtol=1e-12)
    assert run.mass.values[0, -1] == pytest.approx(mass, abs=1e-6)
    assert (run.attrs["smallest_density"] < -0.1) == (mass < 0.0)
    assert run.attrs["smallest_density"] == float(run.density.min())


@pytest.mark.filterwarnings("ignore::fpsolve.UnresolvedWarning")
def test_crank_nicolson_in_few_steps_reports_its_negative_densities() -> None:
    grid = fp.Grid.uniform((-6, 6), cells=480)
    run = fp.evolve(REVERSE, fp.Gaussian(2.0, std=0.1), grid=grid, steps=6, t_min=0.1, scheme="crank-nicolson")
    assert run.attrs["smallest_density"] < -0.1
    assert run.attrs["smallest_density"] == float(run.density.min())


def test_negative_densities_that_the_levels_agree_on_are_said_with_their_mass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FACTORS, "_below_zero", lambda problem, fine: np.full(fine.values.shape[:2], 0.125))
    with pytest.warns(fp.UnresolvedWarning, match=r"negative densities of weighted mass 0\.12, more than its levels"):
        run = fp.evolve(REVERSE, fp.Gaussian(0.3, std=1.0), grid=GRID, steps=200, t_min=0.1)
    assert np.all(np.isinf(run.error_estimate.values[:, 1:])) and run.attrs["resolved"] == "no"


def test_the_factor_of_a_given_grid_is_three() -> None:
    """Of a second-order scheme the difference to half the cells and steps is 3 times the error: estimate = 3 errors."""
    start = fp.Gaussian(0.3, std=1.0)
    run = fp.evolve(REVERSE, {"a": start}, grid=GRID, steps=200, t_min=0.1)
    for k in (1, 20, -1):
        truth = fp.closed_form.cell_averages(REVERSE, start, float(run.t[k]), GRID)
        error = float(np.sum(np.abs(run.density.values[0, k] - truth) * (1.0 + GRID.x**2))) * GRID.volume
        assert run.error_estimate.values[0, k] / error == pytest.approx(3.0, rel=0.05)


def test_the_factors_of_extrapolations_are_what_they_are_said_to_be() -> None:
    """``4/(2^p - 1)``, by hand: p = 4 seen, an order too low, an accident, none seen."""
    orders = np.array([LOW, HIGH, LOW - 1.0, 0.5 * (LOW + HIGH)])
    wanted = 4.0 / (2.0 ** np.array([LOW, HIGH, LOW, 0.5 * (LOW + HIGH)]) - 1.0)
    np.testing.assert_allclose(FACTORS.later_factor(orders), wanted)
    # an accident: the order below the highest, and what the difference fell too fast
    accident = HIGH + 3.0
    believed = 4.0 / (2.0 ** (HIGH - 1.0) - 1.0) * 2.0 ** (accident - (HIGH - 1.0))
    np.testing.assert_allclose(FACTORS.later_factor(np.array([accident])), [believed])
    # nothing seen: a cautious order, and never less than a share of the level's own error
    none = FACTORS.first_factor(np.array([2.0, 0.5]), 2, np.zeros(2), np.ones(2))
    np.testing.assert_allclose(none, 4.0 / (2.0 ** np.array([UNSEEN[1], UNSEEN[0]]) - 1.0))
    assert float(FACTORS.first_factor(np.array([2.0]), 2, np.array([1e6]), np.ones(1))[0]) > 1e3


def test_the_sixth_order_is_believed_only_where_levels_and_the_fourth_come_down_as_they_should() -> None:
    """By hand: all steady; the fourth order at 3 and at 1; levels of the first order; a fourth order far away."""
    levels, pairs = np.array([2.0, 2.0, 2.0, 1.0, 2.0]), np.array([4.0, 3.0, 1.0, 4.0, 4.0])
    found = FACTORS.third_factor(levels, pairs, 2, np.array([0.0, 0.0, 0.0, 0.0, 3e3]), np.ones(5))
    np.testing.assert_allclose(found, [4.0 / 31.0, 4.0 / 7.0, 4.0, 4.0 / 3.0, 20.0])


def flat(value: float, cells: int) -> np.ndarray[Any, Any]:
    return np.full((cells, cells), value)


def test_six_runs_in_the_plane_have_no_terms_below_the_sixth_order() -> None:
    """Planes that are ``1 + a h^2 + b k^2 + ...`` everywhere: all terms go but those of the sixth order."""
    plane, none = import_module("fpsolve.evolution._adaptive"), np.empty((0, 0))

    def run(i: int, j: int) -> float:
        """2^-i times the cells' width, 2^-j times the steps."""
        h2, k2 = 0.09 * 4.0**i, 0.16 * 4.0**-j
        return 1.0 + 3.0 * h2 - 2.0 * k2 + 5.0 * h2**2 + 7.0 * h2 * k2 - 4.0 * k2**2

    runs = [flat(run(0, 0), 32), flat(run(1, 0), 16), flat(run(1, 1), 16)]
    runs += [flat(run(2, j), 8) for j in range(3)]
    for more in ([none] * 4, [flat(run(3, j), 4) for j in range(4)]):
        out, first, others, last = np.zeros((16, 16)), np.zeros((16, 16)), np.zeros((8, 8)), np.zeros((8, 8))
        sums = np.zeros(3)
        v, w = flat(2.0, 16), flat(2.0, 8)
        plane.combine((*runs, *more), v, w, False, (out, first, others, last), sums)
        np.testing.assert_allclose(out, 1.0, rtol=1e-12)
        apart = run(0, 0) - run(1, 0), run(1, 1) - run(1, 0)
        np.testing.assert_allclose(sums[[0, 2]], np.abs(apart) * 2.0 * 256)
    # what half the cells say, and what the corrections in time may be off by, part by part
    before, off, two = flat(1.5, 8), np.zeros((8, 8)), np.zeros(2)
    previous = np.zeros((8, 8))
    parts = flat(0.3, 16), flat(0.2, 8), flat(-0.1, 8)
    these, those = (flat(1.0, 16), *parts), (before, flat(0.7, 8), flat(0.4, 4))
    plane.compare(these, those, flat(2.0, 8), False, 0.25, (previous, off), two)
    np.testing.assert_allclose(previous, 1.5 + (0.3 - 0.7) + (0.2 - 0.4))
    shares = 4.0 / 15.0 * -0.4, 4.0 / 3.0 * -0.2, 0.5 * -0.1, 0.25 * 0.2
    np.testing.assert_allclose(off, sum(shares))
    np.testing.assert_allclose(two, [128 * abs(1.0 - 0.9), 128 * np.abs(shares).sum()])


@pytest.mark.parametrize("cells", [(41,), (41, 33)], ids=str)
def test_levels_of_odd_cells_are_compared_on_the_coarser_ones(cells: tuple[int, ...]) -> None:
    """Averages over (n + 1)/2 cells of those over n, of several densities at several times."""
    box = [(-5.0, 5.0), (-4.0, 4.0)][: len(cells)]
    fine, coarse = (fp.Grid.uniform(box, cells=n) for n in (cells, tuple((n + 1) // 2 for n in cells)))
    law = fp.Gaussian(0.3, std=0.9) if len(cells) == 1 else fp.Gaussian([0.3, -0.2], std=0.9)
    values = np.multiply.outer(np.arange(1.0, 7.0).reshape(2, 3), fine.cell_average(law))
    wanted = np.multiply.outer(np.arange(1.0, 7.0).reshape(2, 3), coarse.cell_average(law))
    found = FACTORS.moved(values, fine, coarse)
    assert found.shape == wanted.shape and np.abs(found - wanted).max() < 1e-3 * wanted.max()


def test_kinks_of_a_start_double_all_of_an_estimate_in_the_plane(monkeypatch: pytest.MonkeyPatch) -> None:
    reverse = fp.Reverse(fp.Gaussian([0.3, -0.2], std=0.8), fp.OrnsteinUhlenbeck(T=2.0))
    start, grid = fp.Gaussian([0.5, 0.2], std=0.9), fp.Grid.uniform([(-7.0, 7.0)] * 2, cells=16)
    ask = {"t_min": 0.3, "save_at": [0.3], "grid": grid, "tol": 1.0, "progress": False}
    plain = fp.evolve(reverse, start, **ask).error_estimate.values[:, 1:]
    problem = import_module("fpsolve.evolution._problem").Problem
    monkeypatch.setattr(problem, "caution", property(lambda self: np.full(len(self.starts), 2.0)))
    np.testing.assert_allclose(fp.evolve(reverse, start, **ask).error_estimate.values[:, 1:], 2.0 * plain, rtol=1e-3)


def test_a_report_names_the_seed_that_was_asked_for() -> None:
    collect: Any = import_module("fpsolve.studies.options").collect

    class Settings:
        seed = 41

        def model_dump(self, **_: object) -> dict[str, Any]:
            return {}

    assert collect(Settings(), {}, 1.0)["seed"] == 41


def test_a_pair_is_extrapolated_with_second_order() -> None:
    """``(4 fine - coarse)/3`` on the coarse cells, by hand."""
    run = fp.evolve(REVERSE, fp.Gaussian(0.3, std=1.0), grid=GRID, steps=100, t_min=0.1)
    fine = run.density.values.reshape(1, -1, 120, 2).mean(axis=-1)
    by_hand = (4.0 * fine - run.density_previous.values) / 3.0
    np.testing.assert_allclose(run.fpsolve.extrapolated.values, by_hand, rtol=1e-12, atol=1e-15)


def test_cells_are_merged_up_to_stated_counts() -> None:
    """Mann and Wald: 5, and ``n^(3/5)/2`` where that is more, which leaves about ``2 n^(2/5)`` cells."""
    smallest = import_module("fpsolve.particles._agreement").smallest_expected
    assert smallest(10) == 5.0
    assert smallest(10**6) == pytest.approx(10**6 / (2.0 * 10**2.4), rel=1e-12)


def test_levels_of_a_tolerance_are_extrapolated_with_their_order() -> None:
    """From p_T, whose truth is p_t: far below the error of the finest level, of which a wrong weight leaves 1/4."""
    start = {"exact": REVERSE.marginal(1.0)}
    run = fp.evolve(REVERSE, start, tol=1e-5, t_min=0.1, save_at=[0.1])
    finest = json.loads(run.attrs["levels"])[-1]
    box = fp.Grid.uniform(json.loads(run.attrs["bounds"])[0], cells=finest["cells"][0])
    alone = fp.evolve(REVERSE, start, grid=box, steps=finest["steps"], t_min=0.1, save_at=[0.1], estimate=False)
    errors = []
    for one in (run, alone):
        grid = one.fpsolve.grid
        exact = grid.cell_average(REVERSE.marginal(0.1))
        errors.append(float(np.abs(one.density.values[0, -1] - exact).sum() * grid.volume))
    assert errors[0] <= 0.05 * errors[1]


def test_a_leak_of_a_millionth_a_step_is_seen_in_the_mass(monkeypatch: pytest.MonkeyPatch) -> None:
    march: Any = import_module("fpsolve.evolution._march")
    sound = march.advance_through

    def leaking(q: np.ndarray, rates: Any, table: Any, ends: np.ndarray, **options: Any) -> Any:
        q, kept = sound(q, rates, table, ends, **options)
        loss = (1.0 - 1e-6) ** ends.astype(float)
        return q * (1.0 - 1e-6) ** len(table.dt), kept * loss.reshape(-1, *(1,) * (kept.ndim - 1))

    monkeypatch.setattr(march, "advance_through", leaking)
    run = fp.evolve(REVERSE, fp.Gaussian(0.3, std=1.0), grid=GRID, steps=100, t_min=0.1, estimate=False)
    assert 1.0 - run.mass.values[0, -1] == pytest.approx(1e-4, rel=1e-3)
    np.testing.assert_allclose(run.density.values.sum(axis=-1) * GRID.volume, run.mass.values, rtol=1e-12)


def test_runs_with_a_tolerance_show_a_bar_per_level(capsys: pytest.CaptureFixture[str]) -> None:
    fp.evolve(REVERSE, fp.Gaussian(0.0, std=1.0), t_min=0.3, tol=1e-2, progress=True)
    told = capsys.readouterr().err
    assert "level 1, (" in told and "level 3, (" in told
    fp.evolve(REVERSE, fp.Gaussian(0.0, std=1.0), t_min=0.3, tol=1e-2, progress=False)
    assert not capsys.readouterr().err


@pytest.mark.parametrize("factor", ["KINKED_CAUTION", "JUMP_SHARE"])
def test_starts_that_jump_have_wider_error_bars(monkeypatch: pytest.MonkeyPatch, factor: str) -> None:
    """Twice the factor, twice the estimate: of starts with jumps, and of no other. Any tolerance has a box."""
    starts = {"box": fp.Uniform(-1.0, 1.0), "smooth": fp.Gaussian(0.0, std=1.0)}
    place = import_module("fpsolve.evolution._problem" if factor == "KINKED_CAUTION" else "fpsolve.evolution._estimate")
    # without caution estimates fell to 0.62 times the error; extrapolations keep up to a fifth of that of a level
    assert getattr(place, factor) >= {"KINKED_CAUTION": 1.0 / 0.62, "JUMP_SHARE": 2.0 / 5.0}[factor]
    found = []
    for size in (1.0, 2.0):
        # a share so large that it decides, whatever the orders say
        monkeypatch.setattr(place, factor, size if factor == "KINKED_CAUTION" else 1e4 * size)
        run = fp.evolve(REVERSE, starts, t_min=0.3, tol=1e6, save_at=[0.3])
        # without what is beyond the box, which counts twice
        found.append(run.error_estimate.values[:, -1] - 2.0 * run["tail"].values[:, -1])
    box, smooth = found[1] / found[0]
    assert box == pytest.approx(2.0, rel=1e-3) and smooth == 1.0


def test_an_estimate_holds_rounding_and_what_is_beyond_the_box() -> None:
    """Rounding of 400 cells and 200 steps at the start, and twice the weighted mass beyond +-3.5."""
    wide, narrow = fp.Grid.uniform((-10, 10), cells=400), fp.Grid.uniform((-3.5, 3.5), cells=400)
    run = fp.evolve(REVERSE, fp.Gaussian(0.0, std=1.0), grid=wide, steps=200, t_min=0.1)
    rounding = np.finfo(float).eps * (4.0 + 200**0.5 + 200 / 8) * 2.0
    assert run.error_estimate.values[0, 0] == pytest.approx(rounding, rel=0.2, abs=0.0)
    cut = fp.evolve(REVERSE, fp.Gaussian(0.0, std=1.0), grid=narrow, steps=200, t_min=0.1)
    assert cut["tail"].values[0, 0] > 1e-3
    assert np.all(cut.error_estimate.values[0] >= 2.0 * cut["tail"].values[0])
