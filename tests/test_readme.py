"""The README as a new user meets it: its script runs as it stands, its test command is the one that is run."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import forks
import numpy as np
import pytest
from scipy.stats import norm

import fpsolve as fp

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


def run_block(number: int, folder: Path) -> str:
    """Run a python block of the README as it stands in an empty folder and return what it prints.

    The first in a new interpreter, which has loaded nothing yet, the others in a fork.
    """
    script = folder / "script.py"
    script.write_text(blocks("python")[number])
    if number:
        told, _ = forks.run(script, folder)
        print(told)
        return told
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    return done.stdout


def with_error(start: str, text: str) -> tuple[float, float]:
    """Return the number and the error printed for a start."""
    found = re.search(rf"^{start} ([-\d.e]+) \+- ([-\d.e]+)", text, re.M)
    assert found is not None
    return float(found[1]), float(found[2])


def test_the_script_runs_as_it_stands(tmp_path):
    told = run_block(0, tmp_path)
    assert (tmp_path / "forgetting.png").stat().st_size > 10_000
    assert "particles and grid: agree" in told
    value, error = with_error("prior", told)
    assert 0.0 < error < 1e-3 * value < 1e-8


def test_the_script_with_a_score_of_ones_own_runs_as_it_stands(tmp_path):
    told = run_block(1, tmp_path)
    assert "passes for a noise prediction" in told
    for start in ("exact", "prior"):
        value, error = with_error(start, told)
        assert value == pytest.approx(0.061, abs=5e-4) and 0.0 < error < 0.01 * value


@pytest.mark.slow
def test_the_script_from_a_pipeline_to_a_number_runs_as_it_stands(tmp_path):
    told = run_block(2, tmp_path)
    named = ast.literal_eval(re.search(r"^unipc (.*)$", told, re.M)[1])
    assert min(named.values()) == pytest.approx(0.73, abs=0.01) and named["trailing"] == pytest.approx(4.35, abs=0.02)
    best = float(re.search(r"^([\d.]+) \+-", told, re.M)[1])
    rounded = float(told.splitlines()[-1])
    assert best == pytest.approx(0.134, abs=2e-3) and "5 evaluations" in told
    # the minimum is flat to where steps are rounded
    assert abs(rounded - best) < 5e-4 and rounded == pytest.approx(0.134, abs=1e-3)
    # what the text says of it: the same integers, up to one where rounding decides
    told_steps, steps = (re.search(r"\[\s*(\d+(?:\s+\d+)+)\s*\]", text)[1].split() for text in (README, told))
    assert max(abs(int(a) - int(b)) for a, b in zip(told_steps, steps, strict=True)) <= 2


def test_the_script_with_proofs_runs_as_it_stands(tmp_path):
    told = run_block(3, tmp_path)
    low, high = (float(end) for end in re.search(r"in \[([\d.e-]+), ([\d.e-]+)\]", told).groups())
    assert 0.0 <= high - low <= 1e-15 and low == pytest.approx(0.0270835924861, rel=1e-11)
    assert "proved contraction 0.7406" in told or "proved contraction 0.7405" in told
    assert "weight 1 + 0.162" in told and "0.162 x^2" in README


@pytest.mark.parametrize(
    ("starts", "told", "tol", "within", "said"),
    [
        ((None, 0.0), "6.558881828e-6", 1e-9, 1e-9, "1e-9, tol = 1e-9"),
        ((1e-10, -1e-10), "9.9e-12", 1e-6, 3e-4, "3e-4, tol = 1e-6"),
    ],
    ids=["from p_T", "1e-10 apart"],
)
def test_small_distances_of_the_table(starts, told, tol, within, said):
    """Total variation by trapezoids over both times, and by a run with the tolerance that the table names."""

    def mixture(x, t):
        m, v = np.exp(-t) * np.array([-2.0, 2.0]), 1.0 + np.exp(-2.0 * t) * (np.array([0.09, 0.25]) - 1.0)
        return 0.5 * norm.pdf(x[:, None], m, np.sqrt(v)).sum(axis=1)

    (x, h), (y, k) = (np.linspace(-9.0, 9.0, n, retstep=True) for n in (4801, 601))
    step = np.exp(-2.99)
    away = 2e-10 * y * norm.pdf(y) if starts[0] else mixture(y, 3.0) - norm.pdf(y)
    there = norm.pdf(y, step * x[:, None], np.sqrt(1.0 - step**2)) @ (away / mixture(y, 3.0)) * k
    exact = 0.5 * np.sum(mixture(x, 0.01) * np.abs(there)) * h
    assert exact == pytest.approx(float(told), rel=5e-3)
    assert f"{told} | relative error below {said} |" in README
    # to all digits by quadrature in 50, which the trapezoids have only some of: |.| bends
    true = 6.55888182791e-6 if starts[0] is None else exact
    assert true == pytest.approx(exact, rel=3e-5)
    reverse = fp.Reverse(fp.GaussianMixture([0.5, 0.5], [-2.0, 2.0], stds=[0.3, 0.5]), fp.OrnsteinUhlenbeck(T=3.0))
    laws = [reverse.marginal(3.0) if mean is None else fp.Gaussian(mean, std=1.0) for mean in starts]
    run = fp.evolve(reverse, dict(zip("ab", laws, strict=True)), t_min=0.01, tol=tol, save_at=[0.01])
    curve = fp.forgetting_curve(run, reference="b", weight=fp.UnitWeight()).isel(t=-1, start=0)
    found, bar = 0.5 * float(curve.distance), 0.5 * float(curve.error)
    print(found, "+-", bar, "off by", found / true - 1.0)
    assert abs(found - true) <= min(bar, within * true)


def test_first_blocks_are_one_command_each_and_the_second_is_what_ci_runs():
    main_job, tests = blocks("sh")[:2]
    assert main_job.count("\n") == tests.count("\n") == 1
    assert "fpsolve study forgetting" in main_job
    assert tests.strip() in (ROOT / ".ci" / "run").read_text()


def test_links_and_figures_exist():
    targets = [t for t in re.findall(r"\]\(([^)]+)\)", README) if "://" not in t]
    assert targets
    missing = [t for t in targets if not (ROOT / t).exists()]
    assert not missing
