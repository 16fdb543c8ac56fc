"""Work that does not fit into memory is refused before anything is allocated; long work says how long."""

import io
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fpsolve as fp

_memory: Any = import_module("fpsolve._memory")
LINE = fp.GaussianMixture([0.5, 0.5], [-1.0, 1.0], stds=0.5)
REVERSE, START = fp.Reverse(LINE, fp.VP()), fp.Gaussian(0.0, std=1.0)
DDIM = fp.Reverse(LINE, fp.VP(), eta=0.0)
PLANE = fp.Gaussian([0.5, 0.0], std=1.0)
GRID = fp.Grid.uniform((-6, 6), cells=200)
BOX = ((-8.0, 8.0), (-8.0, 8.0))


def one(cells: int) -> fp.Grid:
    return fp.Grid.uniform((-6, 6), cells=cells)


#: What does not fit, and the argument that is named.
TOO_LARGE: dict[str, tuple[str, Callable[[], Any]]] = {
    "a given grid in the plane with tol": (
        "grid",
        lambda: fp.evolve(fp.Reverse(PLANE, fp.VP()), PLANE, grid=fp.Grid(BOX, (8000, 8000)), tol=1e-3, t_min=0.1),
    ),
    "a given grid in the plane with steps": (
        "grid",
        lambda: fp.evolve(fp.Reverse(PLANE, fp.VP()), PLANE, grid=fp.Grid(BOX, (8000, 8000)), steps=9, t_min=0.1),
    ),
    "steps": ("steps", lambda: fp.evolve(REVERSE, START, grid=GRID, steps=10**7, t_min=0.1)),
    "steps of an explicit bound": (
        "steps",
        lambda: fp.bounds.explicit_kl(fp.Reverse(LINE, fp.OrnsteinUhlenbeck(T=1.0)), 10**9, grid=GRID),
    ),
    "candidates of blocks": (
        "candidates",
        lambda: fp.bounds.harris_blocks(REVERSE, grid=GRID, t_min=0.2, candidates=10**7),
    ),
    "nodes in a cell": (
        "order",
        lambda: fp.closed_form.cell_averages(REVERSE, START, 0.5, GRID, order=10**4),
    ),
    "steps of a design": ("n", lambda: fp.design.named(DDIM, "ddim", 10**8)),
    "steps of a kernel": (
        "steps",
        lambda: fp.kernels.finite_volume_operator(REVERSE, GRID, 0.9, 0.5, steps=10**8),
    ),
    "a table of rates": ("steps", lambda: fp.processes.betas(steps=10**9)),
    "modes of noise": ("modes", lambda: fp.stochastic.random_fourier(0.1, length=1.0, modes=10**8, seed=0)),
    "resamples": (
        "resamples",
        lambda: fp.stochastic.rank_correlation(np.arange(20.0), np.arange(20.0) ** 2, seed=0, resamples=10**7),
    ),
    "cells of a flow": (
        "cells",
        lambda: fp.flows.distance(REVERSE, START, LINE, t_min=0.2, cells=10**8),
    ),
    "levels of a product": (
        "levels",
        lambda: fp.scores.product_form(fp.Laplace(), fp.EDM(), levels=np.linspace(1.0, 2.0, 10**6)).field(
            np.zeros(999)
        ),
    ),
    "save times": (
        "grid",
        lambda: fp.evolve(
            REVERSE, START, grid=one(10_000), steps=10**6, t_min=0.1, save_at=np.linspace(1.0, 0.1, 10**5)
        ),
    ),
    "save times with tol": (
        "save_at",
        lambda: fp.evolve(REVERSE, START, tol=1e-3, t_min=0.1, save_at=np.linspace(1.0, 0.1, 10**7)),
    ),
    "closed averages": (
        "grid",
        lambda: fp.closed_form.cell_averages(fp.Reverse(PLANE, fp.VP()), PLANE, 0.5, fp.Grid(BOX, (20_000, 20_000))),
    ),
    "stationary points": ("cells", lambda: fp.flows.stationary_points(lambda x: -x, BOX, cells=10**5)),
    "orbits": ("count", lambda: fp.flows.orbits(REVERSE, np.zeros(3), t_min=0.2, count=10**10)),
    "Brownian paths": ("paths", lambda: fp.stochastic.BrownianPaths(0, 10**9, 1, 1.0).at([0.0, 0.5])),
    "a steady state": ("grid", lambda: fp.steady_state(fp.Langevin(PLANE), fp.Grid(BOX, (20_000, 20_000)))),
    "steps of particles": ("steps", lambda: fp.particles.simulate(REVERSE, START, n=9, steps=10**9, seed=0)),
    "positions": ("n", lambda: fp.particles.simulate(REVERSE, START, n=10**10, steps=9, seed=0, positions=True)),
    "a histogram": (
        "histogram",
        lambda: fp.particles.simulate(REVERSE, START, n=9, steps=9, seed=0, histogram=one(10**10)),
    ),
    "closed kernel": (
        "x_to",
        lambda: fp.closed_form.kernel(REVERSE, 0.9, 0.5, np.linspace(-1, 1, 10**5), np.linspace(-1, 1, 10**5)),
    ),
    "closed density": (
        "x",
        lambda: fp.closed_form.density(REVERSE, START, 0.5, np.broadcast_to(0.0, 10**9)),
    ),
    "a table": ("grid", lambda: fp.scores.tabulate(REVERSE.score, one(10**8), [0.2, 0.4, 0.7, 1.0])),
    "a ladder": ("blocks", lambda: fp.bounds.ladder(REVERSE, grid=GRID, blocks=10**7, t_min=0.2)),
    "steps of a decomposition": (
        "steps",
        lambda: fp.decomposition.errors(REVERSE, "ddpm", start=START, grid=GRID, steps=10**9, t_min=0.2),
    ),
    "cells of a decomposition": (
        "grid",
        lambda: fp.decomposition.errors(REVERSE, "ddpm", start=START, grid=one(10**7), steps=40, t_min=0.2),
    ),
    "steps of an ensemble": (
        "steps",
        lambda: fp.stochastic.evolve(
            REVERSE, START, fp.stochastic.constant(0.05), grid=GRID, steps=10**10, paths=2, seed=0, t_min=0.2
        ),
    ),
    "a grid": ("grid", lambda: one(10**11).x),
    "averages on a grid": ("grid", lambda: one(10**11).cell_average(START)),
    **{
        f"draws of {type(law).__name__}": ("n", lambda law=law: law.sample(10**12, 0))
        for law in (START, LINE, PLANE, fp.Laplace(), fp.Uniform(0.0, 1.0), fp.StudentT(4.0), fp.PointMass(0.0))
    },
}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_what_does_not_fit_is_refused_before_it_is_allocated(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    argument, call = TOO_LARGE[name]
    monkeypatch.setattr(_memory, "available_bytes", lambda: 2 * 10**9)
    with pytest.raises(ValueError, match=rf"^{argument}: expected arrays that fit into the free memory \(2 GB\), got "):
        call()


@pytest.mark.skipif(sys.platform != "linux", reason="limits of address space")
def test_a_limit_of_the_process_counts() -> None:
    code = """
import resource
from fpsolve import _memory
resource.setrlimit(resource.RLIMIT_AS, (3 * 10**9, 3 * 10**9))
assert 10**8 < _memory.available_bytes() < 3 * 10**9
_memory.require("x", 10**8, "")
try:
    _memory.require("x", 3 * 10**9, "take less")
except ValueError as reason:
    print(reason)
"""
    root = Path(fp.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.startswith("x: expected arrays that fit into the free memory (") and "take less." in done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="control groups")
@pytest.mark.parametrize("version", [1, 2])
def test_the_limits_of_containers_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int) -> None:
    """The least of all groups above the process; pages of files that are only kept count as free."""
    monkeypatch.setattr(_memory, "_GROUPS", tmp_path)
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    wanted = [one for one in lines if (one.startswith("0:") if version == 2 else "memory" in one.split(":")[1])]
    if not wanted:
        pytest.skip("no control group of this version here")
    root = tmp_path if version == 2 else tmp_path / "memory"
    root.mkdir(exist_ok=True)
    names = (
        ("max", "current", "inactive_file")
        if version == 2
        else ("limit_in_bytes", "usage_in_bytes", "total_inactive_file")
    )
    (root / f"memory.{names[0]}").write_text("1000\n")
    (root / f"memory.{names[1]}").write_text("700\n")
    (root / "memory.stat").write_text(f"anon 5\n{names[2]} 250\n")
    assert _memory.available_bytes() == 550
    (root / f"memory.{names[0]}").write_text("max\n")
    assert (_memory.available_bytes() or 0) > 1000


def test_long_work_says_its_length_and_short_work_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.StringIO()
    with redirect_stderr(said):
        for seconds in (59.0, 61.0, 3 * 3600.0, 5 * 86_400.0, 1e9):
            _memory.say_if_long("it", seconds)
    ends = ["1 minutes", "3 hours", "5 days", "32 years"]
    assert said.getvalue() == "".join(f"fpsolve: it will take about {end} on one core.\n" for end in ends)

    class Begun(Exception):
        pass

    def begin(*_: object, **__: object) -> None:
        raise Begun

    told = io.StringIO()
    monkeypatch.setattr(fp.Gaussian, "sample", begin)
    with redirect_stderr(told), pytest.raises(Begun):
        fp.particles.simulate(REVERSE, START, n=5 * 10**13, steps=10, seed=0, t_min=0.1, histogram=GRID)
    assert told.getvalue().startswith("fpsolve: particles.simulate will take about ") and "days" in told.getvalue()


#: What takes twice as long for twice the number, and what is said to take it.
LONG: dict[str, Callable[[int], Any]] = {
    "work on n = 4": lambda n: fp.design.named(DDIM, "ddim", n, grid=one(40)),
    "a search over 4 steps": lambda n: fp.design.steps(DDIM, "ddim", n, grid=one(40), most=9, progress=False),
    "work on steps = 4": lambda n: fp.kernels.finite_volume_operator(REVERSE, GRID, 0.9, 0.5, steps=n),
    "work on modes = 4": lambda n: fp.stochastic.random_fourier(0.1, length=1.0, modes=n, seed=0),
    "stochastic.evolve": lambda n: fp.stochastic.evolve(
        REVERSE, START, fp.stochastic.constant(0.05), grid=one(40), steps=n, paths=2, seed=0, t_min=0.5, estimate=False
    ),
    "particles.simulate": lambda n: fp.particles.simulate(REVERSE, START, n=9, steps=n, seed=0, t_min=0.5),
    "flows.distance": lambda n: fp.flows.distance(DDIM, START, LINE, t_min=0.5, cells=4 * n),
    "a product-form score": lambda n: fp.scores.product_form(LINE, fp.EDM(), levels=np.linspace(1.0, 2.0, n)).field(
        np.zeros(3)
    ),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("what", LONG)
def test_work_knows_its_length_before_it_begins(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[tuple[str, float]] = []
    monkeypatch.setattr(_memory, "say_if_long", lambda *said: heard.append(said))
    LONG[what](4)
    seconds = dict(heard)[what]
    LONG[what](8)
    later = dict(heard)[what.replace("4", "8")]
    assert later >= 1.9 * seconds > 0.0
