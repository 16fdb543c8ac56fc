"""The notebooks: every source runs as it stands and finds what its text says; the executed copies belong to them."""

from itertools import pairwise
from pathlib import Path

import forks
import jupytext
import numpy as np
import pytest
from scipy.integrate import quad, simpson
from scipy.interpolate import PchipInterpolator
from scipy.optimize import minimize_scalar
from scipy.stats import norm

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.py"))
NAMES = [path.stem for path in NOTEBOOKS]


def pdf(x, mean=0.0, std=1.0):
    """The normal density; scipy's takes twice the time for its checks."""
    return np.exp(-0.5 * ((x - mean) / std) ** 2) / (std * np.sqrt(2.0 * np.pi))


def headline(name, folder):
    """Run a source in a process of its own and an empty folder; return what its last cell calls the headline."""
    said, found = forks.run(ROOT / "notebooks" / f"{name}.py", folder, "headline")
    assert not list(Path(folder).iterdir()), "a notebook leaves no files behind"
    print(*said.strip().splitlines()[-1:])
    return found


@pytest.mark.notebook
@pytest.mark.slow
def test_first_steps(tmp_path):
    found = headline("01_first_steps", tmp_path)
    assert found["distance"] == pytest.approx(2.13285e-8, rel=1e-5)
    assert abs(found["distance"] - found["closed_form"]) <= found["error"] <= 1e-12
    assert found["covered"] is True


@pytest.mark.notebook
@pytest.mark.slow
def test_forgetting_on_old_faithful(tmp_path):
    found = headline("02_forgetting_on_old_faithful", tmp_path)
    expected = {"far 1D": 0.0649320, "prior 1D": 2.29707e-10, "far 2D": 0.0394923, "prior 2D": 5.82347e-9}
    for name, value in expected.items():
        distance, error, closed_form = found[name]
        assert closed_form == pytest.approx(value, rel=1e-5), name
        assert abs(distance - closed_form) <= error <= 5e-3 * distance, name
    assert 7.0 <= found["whitening"] <= 7.6


@pytest.mark.notebook
@pytest.mark.slow
def test_grid_against_particles(tmp_path):
    found = headline("03_grid_against_particles", tmp_path)
    assert 4e8 <= found["particles_like_400_cells"] <= 6e8
    assert 4e15 <= found["particles_like_extrapolated"] <= 6e15
    assert found["prior"] == pytest.approx(2.13285e-8, rel=1e-5)
    assert found["prior_error"] <= 1e-12
    # the histogram's floor, seven orders above the distance
    assert 0.45 <= found["prior_histogram"] <= 0.65
    assert found["verdicts"] == ["agree", "agree"]
    # E V^2 and E (w - 1)^2 V^2 over (x_t, x_T) by trapezoids, formulas written out
    x, alpha = np.linspace(-8.0, 8.0, 801), np.exp(-0.5 * (0.1 * np.array([0.01, 1.0]) + 9.95 * np.array([1e-4, 1.0])))

    def mixture(a):
        return 0.5 * sum(pdf(x, a * m, np.sqrt(1.0 + a**2 * (s**2 - 1.0))) for m, s in ((-2.0, 0.3), (2.0, 0.5)))

    law, step, h = mixture(alpha[0]) * (1.0 + x**2) ** 2, alpha[1] / alpha[0], x[1] - x[0]
    kernel = pdf(x, step * x[:, None], np.sqrt(1.0 - step**2))
    weighted = law @ kernel @ (pdf(x) / mixture(alpha[1]) - 1.0) ** 2 * h**2
    assert found["needed"][1] == pytest.approx(8.0 * law.sum() * h / 2.13277e-8**2, rel=0.02)
    assert found["needed"][2] == pytest.approx(4.0 * weighted / 2.13277e-8**2, rel=0.02)


@pytest.mark.notebook
@pytest.mark.slow
def test_theory_beside_measurement(tmp_path):
    found = headline("04_theory_beside_measurement", tmp_path)
    assert found["violations"] == []
    assert found["measured"] == pytest.approx(0.0150892, rel=1e-4)
    expected = {"sharp Dobrushin": 1.672, "Harris": 24.3, "Harris, closed form": 224.5, "Poincare": 7.43}
    for name, ratio in expected.items():
        assert found["ratios"][name] == pytest.approx(ratio, rel=0.01), name
    assert found["lost"] == pytest.approx([0.63, 0.19, 0.11, 0.06, 0.01], abs=0.01)
    # the last block has no certificate, and nothing to certify
    sharp, certificate = found["last_block"]
    assert sharp > 1.0 and np.isnan(certificate)


@pytest.mark.notebook
@pytest.mark.slow
def test_where_errors_matter(tmp_path):
    found = headline("05_where_errors_matter", tmp_path)
    assert found["closure"] <= 1e-12
    assert found["total"] == pytest.approx(0.3087, abs=1e-3)
    expected = {"initialization": 0.00589, "discretization": 0.2735, "score": 0.7206}
    for source, share in expected.items():
        assert found["left"][source] == pytest.approx(share, rel=0.01), source
    assert found["early"]["shift"] > 0.2 > 0.02 > found["early"]["width"] > 1e-3 > found["early"]["oscillating"]
    # 40 equal steps of Euler-Maruyama by trapezoids, and 0.20748 and 0.25722 for the others on 1200 cells
    x, times = np.linspace(-9.0, 9.0, 601), np.geomspace(13.0, 10.01, 41) - 10.0
    times[[0, -1]] = 3.0, 0.01

    def mixture(t):
        m, v = np.exp(-t) * np.array([-2.0, 2.0]), 1.0 + np.exp(-2.0 * t) * (np.array([0.09, 0.25]) - 1.0)
        parts = 0.5 * pdf(x[:, None], m, np.sqrt(v))
        return parts.sum(axis=1), (parts * (m - x[:, None]) / v).sum(axis=1) / parts.sum(axis=1)

    q, h = pdf(x), x[1] - x[0]
    for t, u in pairwise(times):
        q = pdf(x[:, None], x + (t - u) * (x + 2.0 * mixture(t)[1]), np.sqrt(2.0 * (t - u))) @ q * h
    true = {"10.0": np.sum((1.0 + x**2) * abs(q - mixture(0.01)[0])) * h, "0.01": 0.20748, "0.1": 0.25722}
    for offset, value in true.items():
        total, bar = found["totals"][offset]
        assert abs(total - value) <= bar <= 0.01 * value, offset


@pytest.mark.notebook
@pytest.mark.slow
def test_stochasticity(tmp_path):
    found = headline("06_stochasticity", tmp_path)
    assert found["drift"] <= 1e-8
    distance, error = found["far"]["1.0"]
    assert found["closed_form"] == pytest.approx(0.02708359, rel=1e-6)
    assert abs(distance - found["closed_form"]) <= error <= 2e-3 * distance
    far = [value for value, _ in found["far"].values()]
    assert far == sorted(far, reverse=True)
    early, late = ([value for value, _ in found[name].values()] for name in ("early", "late"))
    assert early == sorted(early, reverse=True) and late == sorted(late)
    assert early[-1] < 0.01 * early[0] and late[-1] > 3.0 * late[0]
    quiet, everywhere, above = (found["churn"][name] for name in found["churn"])
    assert above[0][0] < 0.25 * quiet[0][0] and above[1][0] < 0.5 * everywhere[1][0]
    assert abs(above[1][0] - quiet[1][0]) <= above[1][1] + quiet[1][1]


@pytest.mark.notebook
@pytest.mark.slow
def test_score_error_as_noise(tmp_path):
    found = headline("07_score_error_as_noise", tmp_path)

    def rank_correlation(a, b):
        return np.corrcoef(np.argsort(np.argsort(a)), np.argsort(np.argsort(b)))[0, 1]

    # values and intervals, from ranks and other random numbers: targets have errors of their own
    rng, spread = np.random.default_rng(1), []
    for name, (whole, first, harm) in found["cases"].items():
        ranked, harm = found["ranked"][name], np.array(harm)
        both = [np.array(metric) for metric in (whole, first)]
        for kind, metric in zip(("whole run", "first tenth"), both, strict=True):
            assert ranked[kind][0] == pytest.approx(rank_correlation(metric, harm), abs=1e-12), (name, kind)
        drawn = rng.integers(0, len(harm), (1500, len(harm)))
        pairs = [[rank_correlation(metric[k], harm[k]) for k in drawn] for metric in both]
        spread.append(np.subtract(*pairs))
        ends = np.quantile(spread[-1], [0.025, 0.975])
        assert ranked["whole less first tenth"][1:] == pytest.approx(ends, abs=0.05), name
    mean = found["ranked"]["mean of the six"]
    lost, *interval = mean["whole less first tenth"]
    assert interval == pytest.approx(np.quantile(np.mean(spread, axis=0), [0.025, 0.975]), abs=0.02)
    assert lost == pytest.approx(0.08, abs=0.01) and interval[0] > 0.02
    assert [mean["whole run"][0], mean["first tenth"][0]] == pytest.approx([0.70, 0.62], abs=0.01)
    # the first error, a bias on two modes, by 190 short steps with trapezoids, which are right to 2e-4
    rng = np.random.default_rng(0)
    bias = np.exp(rng.uniform(*np.log([0.03, 0.5]))) * np.sign(np.cos(rng.uniform(0.0, 6.28, 2)[0]))
    x, h = np.linspace(-6.5, 6.5, 261, retstep=True)
    times = np.linspace(1.0, 0.05, 191)

    def mixture(t):
        a = np.exp(-0.5 * (0.1 * t + 9.95 * t**2))
        v = 1.0 + a**2 * (np.array([0.4, 0.5]) ** 2 - 1.0)
        m = a * np.array([-1.2, 1.4])
        parts = 0.5 * pdf(x[:, None], m, np.sqrt(v))
        return parts.sum(axis=1), (parts * (m - x[:, None]) / v).sum(axis=1) / parts.sum(axis=1)

    start = mixture(1.0)[0]
    wrong, clean, metric = start, start, 0.0
    for t, u in pairwise(times):
        beta = 0.1 + 19.9 * 0.5 * (t + u)
        score = mixture(0.5 * (t + u))[1]
        metric += beta**2 * (bias * np.sum(wrong * x) * h) ** 2 * (t - u) * 0.95 / 30.0
        to, spread = x + (t - u) * beta * (0.5 * x + score), np.sqrt(beta * (t - u))
        wrong = pdf(x[:, None], to + (t - u) * beta * bias, spread) @ wrong * h
        clean = pdf(x[:, None], to, spread) @ clean * h
    whole, _, harm = (values[0] for values in found["cases"]["two modes"])
    assert harm == pytest.approx(np.sum((1.0 + x**2) * np.abs(wrong - clean)) * h, rel=0.02)
    # left ends of 30 steps against the integral
    assert whole == pytest.approx(metric, rel=0.2)


@pytest.mark.notebook
@pytest.mark.slow
def test_product_form_scores(tmp_path):
    found = headline("08_product_form_scores", tmp_path)
    assert found["attracting"] == pytest.approx(0.98614, abs=1e-5)
    assert found["kinds_2D"] == ["attracting", "attracting", "saddle"]
    # end points of the flow after the time of the sampler
    assert found["ends"] == pytest.approx([-1.8248, -0.9867, -0.6152, 0.2192, 0.9097, 0.9861, 1.4376], abs=1e-4)
    for name, (quiet, noisy) in {
        "two data points": (2.6932, 2.5134),
        "Old Faithful in 2D": (1.0863, 0.9966),
    }.items():
        values = found[name]
        assert abs(values[0] - quiet) <= values[1] <= 0.03 * quiet, name
        assert abs(values[2] - noisy) <= values[3] <= 0.03 * noisy, name
        assert values[2] + values[3] < values[0] - values[1], name


@pytest.mark.notebook
@pytest.mark.slow
def test_your_own_score(tmp_path):
    found = headline("09_your_own_score", tmp_path)
    assert 0.14 <= found["cost"] <= 0.16 and found["error"] <= 5e-4
    assert 0.07 <= found["noise"] <= 0.085 and found["interpolation"] <= 5e-4
    assert found["left_of_prior"] <= 1e-9
    assert found["cost"] <= found["girsanov"] <= 0.6
    early, late = found["windows"][0], found["windows"][2:]
    assert early[0] <= 0.01 and early[1] <= 0.2 * early[0]
    assert all(0.06 <= value <= 0.11 and bar <= 0.01 * value for value, bar in late)
    assert 0.2 <= sum(value for value, _ in found["windows"]) <= 0.23


@pytest.mark.notebook
@pytest.mark.slow
def test_proofs(tmp_path):
    found = headline("10_proofs", tmp_path)
    assert found["lower"] <= found["upper"] <= found["lower"] * (1.0 + 1e-11)
    assert found["lower"] == pytest.approx(1.9996458381e-14, rel=1e-9)
    assert found["agreed"] == [18, 18]


@pytest.mark.notebook
@pytest.mark.slow
def test_diffusers(tmp_path):
    found = headline("11_diffusers", tmp_path)
    table = {"DDPM": 0.787, "DDIM": 0.604, "Heun": 1.032, "DPM-Solver++(2M)": 1.470, "UniPC": 1.509}
    for label, value in table.items():
        assert found["named"][label]["trailing"] == pytest.approx(value, abs=1e-3), label
    assert found["named"]["UniPC"]["even in log sigma"] == pytest.approx(0.1445, abs=2e-4) and found["bar"] <= 1e-3
    # the search ends where rounding lets it
    assert found["best_named"] / found["designed"][0] > 2.0
    # DDIM on the trailing grid, by ranks of the start and formulas written out
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    table = PchipInterpolator(np.arange(1001) / 1000, np.append(0.0, -np.cumsum(np.log1p(-betas))))
    angle = np.pi * (np.arange(24) + 0.5) / 24
    means = np.concatenate([np.sin(angle), 0.5 - np.sin(angle)])
    means = (means - means.mean()) / means.std()
    x, times = np.linspace(-7.5, 7.5, 40_001), np.append(1.0 - np.arange(8) / 8, 1e-3)
    u = x
    for s, t in pairwise(times):
        (a, v), (b, w) = ((np.exp(-0.5 * table(k)), -np.expm1(-table(k))) for k in (s, t))
        parts = np.exp(-0.5 * (x[:, None] - a * means) ** 2 / (a**2 * 0.0225 + v))
        score = -(parts * (x[:, None] - a * means)).sum(axis=1) / parts.sum(axis=1) / (a**2 * 0.0225 + v)
        x = b * (x + v * score) / a - np.sqrt(w * v) * score

    def density(y):
        return np.mean(pdf(y[:, None], b * means, np.sqrt(b**2 * 0.0225 + w)), axis=1)

    true = simpson((1.0 + x**2) * np.abs(pdf(u) - density(x) * np.gradient(x, u)), x=u)
    for y in (np.linspace(-4.0, x[0], 4001), np.linspace(x[-1], 4.0, 4001)):
        # what is there of the law, where no image comes
        true += simpson((1.0 + y**2) * density(y), x=y)
    assert found["named"]["DDIM"]["trailing"] == pytest.approx(true, abs=2e-5)


@pytest.mark.notebook
@pytest.mark.slow
def test_frozen_scores(tmp_path):
    found = headline("12_frozen_scores", tmp_path)
    for name, bound in found["bound"].items():
        assert all(high > low for high, low in zip(bound, found["measured"][name], strict=True)), name
    assert found["orders"]["Ornstein-Uhlenbeck"] == pytest.approx([1.84, 0.95], abs=0.02)
    # ten steps on the Ornstein-Uhlenbeck process by trapezoids
    x, times = np.linspace(-8.0, 8.0, 1001), 3.3 * (1.1 / 0.12) ** (-np.arange(11) / 10) - 0.3
    times[[0, -1]] = 3.0, 0.06

    def mixture(t):
        m, v = np.exp(-t) * np.array([-1.5, 0.8]), 1.0 + np.exp(-2.0 * t) * (np.array([0.09, 0.16]) - 1.0)
        parts = np.array([0.3, 0.7]) * pdf(x[:, None], m, np.sqrt(v))
        return parts.sum(axis=1), (parts * (m - x[:, None]) / v).sum(axis=1) / parts.sum(axis=1)

    q, h = pdf(x), x[1] - x[0]
    for t, u in pairwise(times):
        a = np.exp(u - t)
        q = pdf(x[:, None], (x + 2.0 * (1.0 - a) * mixture(t)[1]) / a, np.sqrt(1.0 / a**2 - 1.0)) @ q * h
    p = mixture(0.06)[0]
    true = np.sum(p * np.log(p / q)) * h
    assert found["measured"]["Ornstein-Uhlenbeck"][2] == pytest.approx(true, rel=5e-3)


@pytest.mark.notebook
@pytest.mark.slow
def test_dimension(tmp_path):
    found = headline("13_dimension", tmp_path)["shifted by 1"]
    # one coordinate and the plane, with formulas written out: the plane has the distances that the notebook says
    x, h = np.linspace(-9.0, 9.0, 1201, retstep=True)
    a, b = np.exp(-0.5 * (0.1 * np.array([0.01, 1.0]) + 9.95 * np.array([1e-4, 1.0])))

    def mixture(a):
        parts = ((0.3, -1.5, 0.3), (0.7, 0.8, 0.4))
        return sum(w * pdf(x, a * m, np.sqrt(1.0 + a**2 * (s**2 - 1.0))) for w, m, s in parts)

    p, step, nu = mixture(a), b / a, pdf(x, 1.0)
    q = p * (pdf(x, step * x[:, None], np.sqrt(1.0 - step**2)) @ (nu / mixture(b))) * h
    assert found["one"][-1][0] == pytest.approx(np.sum(q * np.log(q / p)) * h, rel=1e-3)
    assert found["one"][0][0] == pytest.approx(np.sum(nu * np.log(nu / mixture(b))) * h, rel=1e-5)
    plane = 0.5 * np.abs(np.outer(q, q) - np.outer(p, p)).sum() * h**2
    kl, low, high = np.array(found["ends"])
    assert low[1] <= plane <= high[1]
    assert low[1] == pytest.approx(1.0 - np.sqrt(np.outer(q, q) * np.outer(p, p)).sum() * h**2, abs=1e-7)
    assert kl == pytest.approx(kl[0] * np.array([1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000]))
    assert 0.006 <= low[-1] <= 0.008 and 0.11 <= high[-1] <= 0.13


@pytest.mark.notebook
@pytest.mark.slow
def test_localization_set(tmp_path):
    found = headline("14_localization_set", tmp_path)
    # a standard normal law stays one: transitions N(m x, 1 - m^2), the worst pair is symmetric about 0
    m, beta = np.exp(-0.5 * (0.1 * 0.3 + 9.95 * (0.36 - 0.09))), 0.1
    levels, K = np.geomspace(0.1, 30.0, 300), 0.1 * (1.0 - m**2)
    overlap = 2.0 * norm.cdf(-0.5 * m * np.sqrt(2.0 * levels / beta) / np.sqrt(1.0 - m**2))
    abar = np.maximum(np.maximum(1.0 - overlap + K, m**2), (2.0 + m**2 * levels + 2.0 * K) / (2.0 + levels))
    best, at, first, last = found["normal"]
    assert best == pytest.approx(abar.min(), abs=0.01)
    assert at == pytest.approx(levels[abar.argmin()], rel=0.05)
    kept = levels[abar <= abar.min() + 0.1 * (1.0 - abar.min())]
    assert [first, last] == pytest.approx([kept[0], kept[-1]], rel=0.05)
    # the normal law's best level serves all four
    assert all(low <= 1.001 * at and at <= 1.001 * high for _, _, low, high in found.values())


@pytest.mark.notebook
@pytest.mark.slow
def test_tails_of_data(tmp_path):
    found = headline("15_tails_of_data", tmp_path)
    # rain as it stands in the file: density exp(-c x^p) beyond its threshold, normalised by quadrature
    rain = np.loadtxt(ROOT / "fpsolve" / "data" / "seattle_rain.csv", delimiter=",", skiprows=1)[:, 3]
    x = (rain - rain.mean()) / rain.std()
    tail = x[x >= 0.02]

    def misfit(log_c, p):
        c = np.exp(log_c)
        total = quad(lambda r: np.exp(-c * r**p), tail.min(), np.inf, epsabs=0.0, epsrel=1e-9)[0]
        return np.sum(c * tail**p) + len(tail) * np.log(total)

    at = np.linspace(0.6, 1.4, 33)
    profile = np.array([minimize_scalar(misfit, bounds=(-3.0, 3.0), args=(p,), method="bounded").fun for p in at])
    inside = at[profile <= profile.min() + 1.92]
    assert found["exponents"]["seattle_rain"] == pytest.approx([at[profile.argmin()], inside[0], inside[-1]], abs=0.06)
    above = [file for file, (_, low, _) in found["exponents"].items() if low > 2.0]
    below = [file for file, (*_, high) in found["exponents"].items() if high < 2.0]
    assert (above, below) == (["penguins"], ["seattle_rain"])
    for file, (low, high) in found["kept"].items():
        assert found["A"][file] == pytest.approx([0.5 / high**2, 0.5 / low**2]), file
        assert 5.0 <= found["A"][file][1] / found["A"][file][0] <= 32.0, file
    # held-out log densities of rain on other halves
    one, other = np.array_split(np.random.default_rng(7).permutation(x), 2)
    lost = {h: np.mean(np.log(np.mean(pdf(one[:, None], other, h), axis=1))) for h in (0.2, 0.6)}
    low, high = found["kept"]["seattle_rain"]
    assert lost[0.2] > lost[0.6] + 0.05 and low < 0.2 < high < 0.6


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_executed_copy_is_in_step_with_its_source(path):
    source, copy = jupytext.read(path), jupytext.read(path.with_suffix(".ipynb"))
    remedy = f"run python notebooks/execute.py {path.relative_to(ROOT)}"
    ours, theirs = ([(cell.cell_type, cell.source) for cell in notebook.cells] for notebook in (source, copy))
    assert ours == theirs, remedy
    code = [cell for cell in copy.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), remedy
    outputs = [output for cell in code for output in cell.outputs]
    assert all(output.output_type != "error" for output in outputs)
    assert all(output.name == "stdout" for output in outputs if output.output_type == "stream"), remedy
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 1, "one figure"
    assert path.with_suffix(".ipynb").stat().st_size <= 600_000
