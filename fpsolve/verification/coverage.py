"""Do error estimates cover true errors? Random problems, and their truth by quadrature of Bayes' rule.

One seed is one problem: a mixture of one to four components, a process, starts, a final time, and a request that is
anything from absurdly coarse to fine. The truth (`_cases.masses`) shares no code with the solver: masses of the cells
however coarse they are, and of what is beyond the box. A saved time is covered when the estimate is at least the error
in the weighted norm, or infinite.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

import fpsolve as fp
from fpsolve import weights
from fpsolve._checks import FloatArray
from fpsolve.studies.report import Check
from fpsolve.verification._cases import masses

__all__ = ["Coverage", "RandomProblem", "coverage", "covered", "curve_errors", "random_problem", "solve", "table"]

SCHEMES = ("damped-crank-nicolson", "crank-nicolson", "tr-bdf2", "backward-euler")
#: Saved times looked at per run: the quadrature costs more than the solver.
LOOKED_AT = 6
#: Problems of `coverage`, some seconds: seeds by kind, and the most cell updates of one.
SEEDS = {"grid": range(1, 31), "sensible": range(1, 13)}
CHEAP = 2e5
#: Cell updates that a run with many save times may spend.
MANY_BUDGET = 3e7
#: What the quadrature itself may be wrong by, relative to the weighted norm of the density.
QUADRATURE = 1e-11
#: Cells for the truth of a curve, and how many times more without noise: flows press densities into edges that nothing
#: smooths, and leave them narrow.
CURVE_CELLS = 8000
FLOW_CELLS = 4
#: Faces beyond the box, in box widths: what a run leaves out there is its error too.
BEYOND = np.geomspace(0.01, 1.0, 12)


@dataclass(frozen=True)
class RandomProblem:
    """One problem: `reverse` and `starts` to be evolved with the keyword arguments `ask`."""

    seed: int
    kind: str
    reverse: fp.Reverse
    starts: dict[str, fp.laws.Law]
    ask: dict[str, Any]
    #: whether cells and steps are what a careful user would take: see `_sensible`
    sensible: bool

    def __str__(self) -> str:
        ask = {k: v for k, v in self.ask.items() if k not in ("grid", "progress", "save_at")}
        ask |= {"cells": self.ask["grid"].shape} if "grid" in self.ask else {}
        ask |= {"saves": len(self.ask["save_at"])} if "save_at" in self.ask else {}
        return f"seed {self.seed} ({self.kind}): {type(self.reverse.process).__name__}, eta {self.reverse.eta}, {ask}"


@dataclass(frozen=True)
class Coverage:
    """True errors and estimates of a run at some saved times, shape (starts, times)."""

    problem: RandomProblem
    times: FloatArray
    errors: FloatArray
    estimates: FloatArray
    resolved: bool
    seconds: float

    @property
    def said(self) -> FloatArray:
        """Where the run itself says that it has no estimate."""
        return np.isinf(self.estimates)

    @property
    def held(self) -> FloatArray:
        """Where the estimate covers the error, or is infinite."""
        return np.asarray(self.errors <= self.estimates)

    @property
    def ratios(self) -> FloatArray:
        """Estimate over error where the estimate is finite."""
        tiny = np.finfo(float).tiny
        return np.asarray((self.estimates / (self.errors + tiny))[np.logical_not(self.said)])


def random_problem(seed: int, kind: str = "grid", dim: int = 1) -> RandomProblem:
    """The problem of a seed.

    Parameters
    ----------
    seed : int
    kind : {"grid", "sensible", "tol", "hostile", "many-saves"}
        A fixed grid of 8 to 5000 cells with 1 to 1000 steps in any scheme; one with cells and steps that a careful user
        would take; a tolerance of 1e-2 to 1e-6; or that from starts which are narrow, far, of two components, uniform
        or Laplace, often with less budget than it takes, a third of them without noise; or a tolerance of 1e-2 to 1e-3
        at 100 to 200 times, by backward Euler, where each segment has a step or two of the first order.
    dim : {1, 2}
        In the plane grids have 16 to 128 cells per axis and at most 200 steps.
    """
    rng = np.random.default_rng([seed, dim])
    target = _mixture(rng, dim, int(rng.integers(1, 5)))
    made = [
        fp.OrnsteinUhlenbeck(T=float(rng.uniform(0.5, 4.0))),
        fp.VP(),
        fp.VP(curvature=float(rng.uniform(-8.0, 8.0))),
        fp.CosineVP(),
        fp.SubVP(),
        fp.VE(sigma_max=float(10.0 ** rng.uniform(0.5, 1.7))),
        fp.EDM(sigma_max=float(10.0 ** rng.uniform(0.3, 1.9))),
    ]
    process = made[int(rng.integers(len(made)))]
    t_min = float(process.T * 10.0 ** rng.uniform(-3.0, -0.5))
    gaussian = len(target.components.log_weights) == 1 if target.components is not None else False
    eta = float(rng.choice([0.3, 0.7, 1.5])) if gaussian and rng.random() < 0.2 else 1.0
    reverse = fp.Reverse(target, process, eta=eta)
    p_end = reverse.marginal(reverse.process.T)
    starts = {"exact": p_end, "prior": reverse.process.prior(dim=reverse.dim)}
    if gaussian or eta == 1.0:
        scale = np.sqrt(np.diagonal(np.atleast_2d(p_end.cov)).max())
        mean = np.atleast_1d(p_end.mean) + scale * rng.uniform(-2.0, 2.0, reverse.dim)
        std = float(scale * 10.0 ** rng.uniform(-1.5, 0.2))
        starts["other"] = fp.Gaussian(float(mean[0]) if reverse.dim == 1 else mean, std=std)
    if kind == "hostile":
        return _hostile(rng, seed, target, process, t_min)
    scheme = str(rng.choice(SCHEMES))
    ask: dict[str, Any] = {"t_min": t_min, "scheme": scheme, "progress": False}
    if rng.random() < 0.5:
        ask["save_at"] = np.sort(t_min + (process.T - t_min) * rng.random(int(rng.integers(1, 12))) ** 2)[::-1]
    if kind == "many-saves":
        at = np.sort(t_min + (process.T - t_min) * rng.random(int(rng.integers(100, 201))) ** 2)[::-1]
        ask |= {"scheme": "backward-euler", "save_at": at, "tol": 10.0 ** rng.uniform(-3, -2), "budget": MANY_BUDGET}
        return RandomProblem(seed, kind, reverse, starts, ask, True)
    if kind == "tol":
        return RandomProblem(seed, kind, reverse, starts, ask | {"tol": 10.0 ** rng.uniform(-6, -2)}, True)
    ask |= _grid_request(rng, reverse, starts, t_min, len(ask.get("save_at", ())) + 1)
    if kind == "sensible":
        # the request with three to ten cells per narrowest width (5000 at most) and 50 to 1000 steps
        fine, bounds = rng.uniform(3.0, 10.0), ask["grid"].bounds
        least, most, steps = (200, 5000, 1000) if reverse.dim == 1 else (64, 128, 200)
        wish = [fine * (hi - lo) / _narrowest(reverse, starts, ask, k) for k, (lo, hi) in enumerate(bounds)]
        cells = [2 * int(np.ceil(min(max(n, least), most) / 2.0)) for n in wish]
        count = round(np.exp(rng.uniform(np.log(50), np.log(steps))))
        grid = fp.Grid.uniform(bounds[0] if len(bounds) == 1 else bounds, cells=cells[0] if len(cells) == 1 else cells)
        ask |= {"grid": grid, "steps": count}
    return RandomProblem(seed, kind, reverse, starts, ask, _sensible(reverse, starts, ask))


def _hostile(
    rng: np.random.Generator, seed: int, target: fp.laws.Law, process: fp.processes.Process, t_min: float
) -> RandomProblem:
    """A tolerance asked from starts that are hard on grids."""
    flow = target.dim == 1 and rng.random() < 1.0 / 3.0
    # every other flow has its score as a model: its paths are followed, the others are known by their ranks
    model = fp.scores.exact(target, process) if flow and seed % 2 else None
    reverse = fp.Reverse(target, process, eta=0.0 if flow else 1.0, score=model)
    p_end = reverse.marginal(process.T)
    scale = float(np.sqrt(np.diagonal(np.atleast_2d(p_end.cov)).max()))
    middle = np.atleast_1d(p_end.mean)

    def near(reach: float) -> Any:
        mean = middle + scale * rng.uniform(-reach, reach, target.dim)
        return float(mean[0]) if target.dim == 1 else mean

    narrow = float(10.0 ** rng.uniform(np.log10(3e-3), np.log10(0.05)) * (1.0 if target.dim == 1 else 5.0))
    shares, both = rng.dirichlet([2.0, 2.0]), scale * 10.0 ** rng.uniform(-1.5, 0.0, 2)
    made: dict[str, fp.laws.Law] = {
        "narrow": fp.Gaussian(near(1.5), std=narrow),
        "far": fp.Gaussian(near(5.0), std=float(scale * rng.uniform(0.1, 0.5))),
    }
    if target.dim == 1:
        made["two"] = fp.GaussianMixture(shares, [near(2.0), near(2.0)], stds=both)
    if target.dim == 1 and not flow:
        low = near(1.5)
        made["uniform"] = fp.Uniform(low, low + scale * float(10.0 ** rng.uniform(-1.0, 0.3)))
        made["laplace"] = fp.Laplace(near(1.0), scale=scale * float(10.0 ** rng.uniform(-1.5, -0.3)))
    name = str(rng.choice(list(made)))
    saves = np.sort(t_min + (process.T - t_min) * rng.random(int(rng.integers(1, 5))) ** 2)[::-1]
    tol, budget = 10.0 ** rng.uniform(-5, -2), 10.0 ** (rng.uniform(5.0, 7.0) if target.dim == 1 else 6.5)
    ask = {"t_min": t_min, "save_at": saves, "tol": tol, "budget": budget, "progress": False}
    if not flow:
        ask["scheme"] = str(rng.choice(SCHEMES))
    return RandomProblem(seed, "hostile", reverse, {"exact": p_end, name: made[name]}, ask, True)


def _mixture(rng: np.random.Generator, dim: int, count: int) -> fp.laws.Law:
    stds = 10.0 ** rng.uniform(np.log10(0.02 if dim == 1 else 0.15), np.log10(3.0), count)
    means = rng.uniform(-3.0, 3.0, (count, dim))
    shares = rng.dirichlet(np.full(count, 2.0))
    if dim == 1:
        return fp.GaussianMixture(shares, means[:, 0], stds=stds)
    return fp.GaussianMixture(shares, means, covs=np.square(stds)[:, None, None] * np.eye(2))


def _grid_request(
    rng: np.random.Generator, reverse: fp.Reverse, starts: dict[str, fp.laws.Law], t_min: float, segments: int
) -> dict[str, Any]:
    """A grid around everything that lives along the way, in x or in the scaled frame."""
    frame = str(rng.choice(["fixed", "scaled"]))
    times = np.geomspace(t_min, reverse.process.T, 9)
    boxes = []
    for k in range(reverse.dim):
        ends = []
        for law, t in [(reverse.marginal(float(t)), t) for t in times] + [(law, times[-1]) for law in starts.values()]:
            middle, width = float(np.atleast_1d(law.mean)[k]), 8.5 * float(np.atleast_2d(law.cov)[k, k]) ** 0.5
            m, s = _frame(reverse, float(t), k) if frame == "scaled" else (0.0, 1.0)
            ends += [(middle - width - m) / s, (middle + width - m) / s]
        boxes.append((min(ends), max(ends)))
    most, least, steps = (5000, 8, 1000) if reverse.dim == 1 else (128, 16, 200)
    cells = 2 * round(0.5 * np.exp(rng.uniform(np.log(least), np.log(most))))
    count = max(round(np.exp(rng.uniform(0.0, np.log(steps)))), 1 if segments == 1 else 2 * segments)
    grid = fp.Grid.uniform(boxes[0] if reverse.dim == 1 else boxes, cells=cells)
    return {"frame": frame, "grid": grid, "steps": count}


def _frame(reverse: fp.Reverse, t: float, k: int) -> tuple[float, float]:
    law = reverse.marginal(t)
    return float(np.atleast_1d(law.mean)[k]), float(np.atleast_2d(law.cov)[k, k]) ** 0.5


def _sensible(reverse: fp.Reverse, starts: dict[str, fp.laws.Law], ask: dict[str, Any]) -> bool:
    """At least 200 cells (64 per axis in the plane) and 50 steps, three cells per narrowest width at either end."""
    grid = ask["grid"]
    if min(grid.shape) < (200 if grid.dim == 1 else 64) or ask["steps"] < 50:
        return False
    return all(h <= _narrowest(reverse, starts, ask, k) / 3.0 for k, h in enumerate(grid.spacing))


def _narrowest(reverse: fp.Reverse, starts: dict[str, fp.laws.Law], ask: dict[str, Any], k: int) -> float:
    """Smallest standard deviation at either end of the run, along axis k of the solver's coordinate."""
    ends = (ask["t_min"], reverse.process.T)
    scale = [_frame(reverse, t, k)[1] if ask["frame"] == "scaled" else 1.0 for t in ends]
    begin = min(law.smallest_std for law in starts.values())
    return min(reverse.marginal(ends[0]).smallest_std / scale[0], begin / scale[1])


def solve(problem: RandomProblem) -> tuple[Any, float]:
    """The run of a problem and its seconds of CPU; warnings about tolerance and resolution are expected here."""
    began = time.process_time()
    with _expected():
        run = fp.evolve(problem.reverse, problem.starts, **problem.ask)
    return run, time.process_time() - began


@contextmanager
def _expected() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fp.UnresolvedWarning)
        warnings.simplefilter("ignore", fp.ToleranceWarning)
        yield


def covered(problem: RandomProblem, run: Any, seconds: float = 0.0) -> Coverage:
    """Hold a run of the problem against its truth, at the ends and some times between."""
    count = run.sizes["t"]
    looked = np.unique(np.linspace(0, count - 1, min(count, LOOKED_AT)).round().astype(int))[1:]
    errors = np.empty((len(problem.starts), len(looked)))
    noise = np.empty_like(errors)
    for j, at in enumerate(looked):
        for i, law in enumerate(problem.starts.values()):
            errors[i, j], noise[i, j] = _true_error(problem.reverse, law, run, i, int(at))
    estimates = run.error_estimate.values[:, looked]
    resolved = bool(np.isfinite(run.error_estimate.values).all())
    # what the quadrature cannot see is no error of the run
    errors = np.maximum(errors - noise, 0.0)
    return Coverage(problem, run.t.values[looked], errors, estimates, resolved, seconds)


def curve_errors(problem: RandomProblem, run: Any) -> tuple[FloatArray, FloatArray]:
    """True errors and estimates of the forgetting curves against the first start, on a line at two of the times.

    The truth is the weighted difference of exact masses of fine cells; what half as many cells change, and what there
    is in cells between which the difference changes its sign, is no error of the curve.
    """
    curve = fp.forgetting_curve(run, reference=next(iter(problem.starts)))
    looked = np.unique([run.sizes["t"] // 2, run.sizes["t"] - 1])
    errors = np.empty((len(problem.starts) - 1, len(looked)))
    for j, at in enumerate(looked):
        box = _faces(run, "x", int(at))
        reach = 0.2 * (box[-1] - box[0])
        cells = CURVE_CELLS * (FLOW_CELLS if problem.reverse.eta == 0.0 else 1)
        faces = np.linspace(box[0] - reach, box[-1] + reach, cells + 1)
        first, *others = (masses(problem.reverse, law, float(run.t[at]), [faces]) for law in problem.starts.values())
        for i, other in enumerate(others):
            w = _weight(run, [faces]) * (other - first)
            pairs = w.reshape(-1, 2).sum(axis=1)
            unsure = np.abs(w).sum() - np.abs(pairs).sum() + np.abs(np.diff(w))[w[1:] * w[:-1] < 0.0].sum()
            gap = abs(float(curve.distance.values[i, at]) - np.abs(w).sum())
            errors[i, j] = max(gap - 2.0 * unsure - QUADRATURE * np.abs(w).sum(), 0.0)
    return errors, curve.error.values[:, looked]


def _true_error(reverse: fp.Reverse, law: fp.laws.Law, run: Any, i: int, at: int) -> tuple[float, float]:
    """Weighted norm of the difference, what is beyond the box included, and the noise of the quadrature."""
    faces = [_faces(run, name, at) for name in ("x", "y")[: reverse.dim]]
    wide = [np.concatenate([f[0] - (f[-1] - f[0]) * BEYOND[::-1], f, f[-1] + (f[-1] - f[0]) * BEYOND]) for f in faces]
    exact = masses(reverse, law, float(run.t[at]), wide)
    widths = [np.diff(f) for f in faces]
    volumes = widths[0] if len(widths) == 1 else np.outer(*widths)
    padded = np.zeros(exact.shape)
    padded[(slice(len(BEYOND), -len(BEYOND)),) * reverse.dim] = run.density.values[i, at] * volumes
    v = _weight(run, wide)
    return float((v * np.abs(padded - exact)).sum()), QUADRATURE * float((v * np.abs(exact)).sum())


def _faces(run: Any, name: str, at: int) -> FloatArray:
    x = run[name].values if run[name].ndim == 1 else run[name].values[at]
    h = (x[-1] - x[0]) / (len(x) - 1)
    return np.asarray(x[0] + h * (np.arange(len(x) + 1) - 0.5))


def _weight(run: Any, faces: list[FloatArray]) -> FloatArray:
    centres = [0.5 * (f[1:] + f[:-1]) for f in faces]
    points = centres[0] if len(centres) == 1 else np.stack(np.meshgrid(*centres, indexing="ij"), axis=-1)
    return np.asarray(weights.evaluate(run.fpsolve.weight, points, len(faces)))


def table(found: list[Coverage]) -> list[tuple[str, str]]:
    """Rows of the coverage table: what, figure."""
    held = np.concatenate([c.held.ravel() for c in found])
    ratios = np.concatenate([c.ratios.ravel() for c in found])
    sensible = [c.resolved for c in found if c.problem.sensible]
    worst = min(found, key=lambda c: float(c.ratios.min(initial=np.inf)))
    return [
        ("problems, saved times looked at", f"{len(found)}, {held.size}"),
        ("saved times covered or said unresolved", f"{held.mean():.2%}"),
        ("runs wholly covered or said unresolved", f"{np.mean([c.held.all() for c in found]):.2%}"),
        ("saved times said unresolved", f"{np.mean(np.concatenate([c.said.ravel() for c in found])):.2%}"),
        ("runs called resolved", f"{np.mean([c.resolved for c in found]):.2%}"),
        ("sensible runs called resolved", f"{np.mean(sensible) if sensible else np.nan:.2%} of {len(sensible)}"),
        ("estimate / error where resolved, smallest", f"{ratios.min():.3g} (seed {worst.problem.seed})"),
        ("the same, median", f"{np.median(ratios):.3g}"),
        ("the same, median with noise, where errors are seen", _median(found, noisy=True)),
        ("the same, median without noise (eta = 0)", _median(found, noisy=False)),
        ("estimates that are NaN", str(sum(int(np.isnan(c.estimates).sum()) for c in found))),
        ("slowest run, CPU", f"{max(c.seconds for c in found):.1f} s"),
    ]


def _median(found: list[Coverage], noisy: bool) -> str:
    """Median of estimate over error above the quadrature's own noise, of runs with or without noise."""
    some = [c for c in found if (c.problem.reverse.eta != 0.0) == noisy]
    seen = [(c.estimates / np.where(c.errors > 0.0, c.errors, np.nan))[np.logical_not(c.said)] for c in some]
    ratios = np.concatenate([np.ravel(r) for r in seen]) if seen else np.empty(0)
    ratios = ratios[np.isfinite(ratios)]
    return f"{np.median(ratios):.3g} of {ratios.size}" if ratios.size else "none"


def coverage() -> tuple[Check, ...]:
    """A small sample, cheap problems of a few seeds: coverage, sharpness and the share called resolved, as checks."""
    problems = [random_problem(seed, kind) for kind, seeds in SEEDS.items() for seed in seeds]
    found = []
    for problem in problems:
        if np.prod(problem.ask["grid"].shape) * problem.ask["steps"] > CHEAP:
            continue
        run, seconds = solve(problem)
        found.append(covered(problem, run, seconds))
    held = np.concatenate([c.held.ravel() for c in found])
    ratios = np.concatenate([c.ratios.ravel() for c in found])
    lost = np.mean([not c.resolved for c in found if c.problem.sensible])
    unknown = float(sum(np.isnan(c.estimates).sum() for c in found))
    return (
        Check.at_most(
            f"{len(found)} random problems: saved times neither covered nor said", float(1.0 - held.mean()), 0.01
        ),
        Check.at_most("the same: median of estimate / error where resolved", float(np.median(ratios)), 20.0),
        Check.at_most("the same: estimates that are NaN", unknown, 0.0),
        Check.at_most("the same: share of sensible runs called unresolved", float(lost), 0.1),
    )
