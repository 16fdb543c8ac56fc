"""Every public callable, each argument with bad values: what is refused is refused in a sentence.

The doors are found by walking ``__all__`` of fpsolve and of its rooms; the first test names those without arguments to
try here. Run ``pytest tests/test_fuzz.py -s`` for the table. Every argument is tried with some of the bad values, the
same ones each time; ``FPSOLVE_FUZZ=all`` tries all of them.
"""

import contextlib
import inspect
import io
import math
import os
import warnings
import zlib
from collections import Counter
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

import cases
import numpy as np
import pytest
import xarray as xr

import fpsolve as fp

# runs here are small on purpose
pytestmark = pytest.mark.filterwarnings("ignore")

ROOMS = ("laws", "processes", "weights", "data", "marginals", "scores", "closed_form", "kernels", "distances", "bounds")
ROOMS += ("decomposition", "design", "dynamics", "flows", "particles", "plots", "samplers", "stochastic")

#: What only fpsolve makes: results, abstract bases, what adapters and factories return; and long jobs without input.
NOT_DOORS = {"Law", "Process", "laws.NormalMixture", "laws.Tail", "weights.Weight", "weights.DEFAULT", "data.Table"}
NOT_DOORS |= {"data.Standardised", "marginals.Marginals", "scores.ExactScore", "scores.CheckedScore", "scores.Probe"}
NOT_DOORS |= {f"scores.{n}" for n in ("Denoiser", "EDMDenoiser", "EnergyScore", "FlowVelocity", "NoisePrediction")}
NOT_DOORS |= {f"scores.{n}" for n in ("TorchModel", "Velocity", "Clipped", "Perturbed", "Smoothed", "Tabulated")}
NOT_DOORS |= {"scores.ProductScore", "scores.ProductField", "scores.admitted", "scores.name_of", "marginals.FastLaw"}
NOT_DOORS |= {"kernels.Operator", "kernels.FiniteVolumeOperator", "kernels.SamplerOperator", "closed_form.Distance"}
NOT_DOORS |= {"bounds.records", "dynamics.BaseDynamics", "dynamics.Churn", "dynamics.Frame", "dynamics.InFrame"}
NOT_DOORS |= {"flows.FlowDistance", "flows.StationaryPoints", "stochastic.RankCorrelation"}
NOT_DOORS |= {"samplers.Sampler", "samplers.Step", "samplers.GaussianStep", "samplers.MapStep", "samplers.steps"}
# no arguments, or such as the doors hand on to it
NOT_DOORS |= {f"samplers.{n}" for n in ("Heun", "get", "names", "Composed", "MemoryStep", "Euler", "FlowMatchEuler")}
NOT_DOORS |= {f"samplers.DPMSolver{n}" for n in ("2", "PP2S", "PP2M")}
NOT_DOORS |= {f"samplers.{n}" for n in ("SDEDPMSolverPP2M", "UniPC", "PLMS")}
NOT_DOORS |= {"bounds.WeightedPinsker", "data.old_faithful", "plots.styles", "weights.to_json", "weights.from_json"}
NOT_DOORS |= {"design.Design"}
# the folders and workers of a sweep have tests of their own
NOT_DOORS |= {"sweep", "UnitWeight", "explore"}

LAW, PROCESS = fp.GaussianMixture([0.5, 0.5], [-1.0, 1.0], stds=[0.5, 0.6]), fp.OrnsteinUhlenbeck(T=1.0)
PLANE = fp.GaussianMixture([0.5, 0.5], [[-1.0, 0.0], [1.0, 0.0]], stds=0.5)
GRID, COARSE = fp.Grid.uniform((-6.0, 6.0), cells=24), fp.Grid.uniform((-6.0, 6.0), cells=10)
X = np.array([0.5, -0.2])


def reverse() -> fp.Reverse:
    return fp.Reverse(LAW, PROCESS)


@cache
def run() -> xr.Dataset:
    starts = {"exact": reverse().marginal(1.0), "prior": fp.Gaussian(0.0, std=1.2)}
    return fp.evolve(reverse(), starts, grid=GRID, steps=20, t_min=0.2, save_at=[1.0, 0.6, 0.2])


@cache
def made(name: str) -> Any:
    """What takes a moment to make, once."""
    r = reverse()
    return {
        "kernel": lambda: fp.kernels.exact(r, COARSE, 0.9, 0.5),
        "curve": lambda: fp.forgetting_curve(run(), reference="exact"),
        "ladder": lambda: fp.bounds.ladder(r, grid=COARSE, blocks=2, t_min=0.2),
        "cloud": lambda: fp.particles.simulate(r, fp.Gaussian(0.0, std=1.2), n=200, steps=4, t_min=0.2, seed=0),
        "field": lambda: fp.scores.product_form(LAW, fp.EDM(sigma_max=5.0), levels=[0.5, 1.0, 2.0]).field,
        "product": lambda: fp.scores.product_form(LAW, fp.EDM(sigma_max=5.0), levels=[0.5, 1.0, 2.0]),
        "errors": lambda: fp.decomposition.errors(
            r, "euler-maruyama", start=LAW, grid=GRID, steps=4, t_min=0.2, blocks=2
        ),
        "ensemble": lambda: ensemble(),
        "points": lambda: fp.flows.stationary_points(made("plane"), [(-3.0, 3.0)] * 2, cells=8),
        "plane": lambda: fp.scores.product_form(PLANE, fp.EDM(sigma_max=5.0), levels=[0.5, 1.0, 2.0]).field,
        "table": lambda: fp.scores.tabulate(r.score, GRID, [0.2, 0.4, 0.7, 1.0]),
        "orbit": lambda: fp.flows.orbits(r, X, t_min=0.2, count=5),
        "localization": lambda: fp.bounds.localization(made("kernel")),
        "wobble": lambda: fp.evolve(OU, LAW, grid=GRID, steps=10, t_max=0.5, save_at=[0.0, 0.2, 0.5]),
    }[name]()


OU = fp.Dynamics(lambda t, x: -x, 2**0.5)


def ensemble() -> xr.Dataset:
    noise = fp.stochastic.constant(0.05)
    return fp.stochastic.evolve(OU, LAW, noise, grid=GRID, steps=4, paths=2, seed=0, t_max=0.2)


def density(k: int) -> Any:
    return run().density.isel(t=-1, start=k)


def model(t: float, x: Any) -> Any:
    return -x


def flip(t: float, x: Any) -> Any:
    return 0.1 * x


#: Good arguments of every door; those left out have good defaults and are tried with bad ones too.
DOORS: dict[str, Callable[[], dict[str, Any]]] = {
    "Gaussian": lambda: {"mean": 0.0, "std": 1.0},
    "GaussianMixture": lambda: {"weights": [0.5, 0.5], "means": [0.0, 1.0], "stds": 1.0},
    "KernelDensity": lambda: {"samples": [0.0, 1.0, 3.0]},
    "Laplace": dict,
    "StudentT": lambda: {"df": 4.0},
    "Uniform": lambda: {"low": 0.0, "high": 1.0},
    "FromLogDensity": lambda: {"log_density": lambda x: -(x**2), "dim": 1},
    "PointMass": lambda: {"at": 0.0},
    "OrnsteinUhlenbeck": lambda: {"T": 1.0},
    **dict.fromkeys(("VP", "CosineVP", "SubVP", "VE", "EDM", "RectifiedFlow"), dict),
    "processes.OwnUnits": lambda: {"process": PROCESS},
    "GaussianPath": lambda: {"scale": np.cos, "std": np.sin},
    "FromAlphasCumprod": lambda: {"alphas_cumprod": np.linspace(0.99, 0.01, 20)},
    "processes.betas": dict,
    "processes.from_betas": dict,
    "processes.zero_terminal_snr": lambda: {"alphas_cumprod": np.linspace(0.99, 0.01, 20)},
    "Grid": lambda: {"bounds": ((0.0, 1.0),), "shape": (4,)},
    "PolynomialWeight": dict,
    "ExponentialWeight": lambda: {"rate": 1.0},
    "Dynamics": lambda: {"drift": model},
    "Forward": lambda: {"process": PROCESS},
    "Langevin": lambda: {"law": LAW},
    "Reverse": lambda: {"target": LAW, "process": PROCESS},
    "evolve": lambda: {"dynamics": reverse(), "starts": {"a": LAW}, "grid": GRID, "steps": 4, "t_min": 0.5},
    "steady_state": lambda: {"dynamics": fp.Langevin(LAW), "grid": GRID},
    "forgetting_curve": lambda: {"run": run(), "reference": "exact"},
    "weighted_tv": lambda: {"p": density(0), "q": density(1)},
    "processes.checked_process": lambda: {"process": PROCESS},
    "weights.evaluate": lambda: {"weight": None, "where": GRID},
    "data.from_array": lambda: {"values": [[1.0], [2.0]], "columns": ["a"]},
    "data.read": lambda: {"file": "no_such_file.csv"},
    "data.read_csv": lambda: {"path": "no_such_file.csv"},
    "data.read_npy": lambda: {"path": "no_such_file.npy"},
    "data.standardise": lambda: {"table": fp.data.old_faithful()},
    "marginals.family": lambda: {"target": LAW, "process": PROCESS},
    "scores.exact": lambda: {"target": LAW, "process": PROCESS},
    "scores.checked": lambda: {"score": model},
    "scores.product_form": lambda: {"target": LAW, "process": fp.EDM(sigma_max=5.0), "levels": [0.5, 1.0, 2.0]},
    **{
        f"scores.from_{kind}": lambda: {"model": lambda t, x: x / (1.0 + t), "process": PROCESS}
        for kind in ("denoiser", "flow_velocity", "noise_prediction", "velocity")
    },
    "scores.from_edm_denoiser": lambda: {"model": lambda x, s: x / (1.0 + s**2), "process": fp.EDM()},
    "scores.from_energy": lambda: {"energy": lambda t, x: x**2 / 2.0, "process": PROCESS, "dim": 1},
    "scores.from_torch": lambda: {"module": model, "dim": 1, "tensor": np.asarray},
    "scores.guided": lambda: {"unconditional": model, "conditional": flip, "w": 2.0},
    "scores.clipped": lambda: {"score": model, "limit": 1.0, "dim": 1},
    "scores.perturbed": lambda: {"score": model, "error": flip},
    "scores.smoothed": lambda: {"score": model, "std": 0.1, "dim": 1},
    "scores.tabulate": lambda: {"score": model, "grid": GRID, "times": [0.2, 0.4, 0.7, 1.0]},
    "scores.tabulated": lambda: {"table": made("table")},
    "scores.error_curve": lambda: {"score": model, "target": LAW, "process": PROCESS, "times": [0.2, 0.5]},
    "scores.probe": lambda: {"score": model, "process": PROCESS},
    "closed_form.cell_averages": lambda: {"reverse": reverse(), "start": LAW, "t": 0.5, "grid": GRID},
    "closed_form.density": lambda: {"reverse": reverse(), "start": LAW, "t": 0.5, "x": X},
    "closed_form.log_density": lambda: {"reverse": reverse(), "start": LAW, "t": 0.5, "x": X},
    "closed_form.kernel": lambda: {"reverse": reverse(), "t0": 0.9, "t1": 0.5, "x_from": X, "x_to": X},
    "closed_form.weighted_tv": lambda: {
        "reverse": fp.Reverse(fp.Gaussian(0.0, std=1.0), PROCESS),
        "start_a": fp.Gaussian(0.0, std=1.0), "start_b": fp.Gaussian(1.0, std=1.0), "t": 0.5,
        "rtol": 1e-3,
    },
    "kernels.Kernel": lambda: {"matrix": np.eye(24), "grid": GRID, "t0": 0.9, "t1": 0.5},
    "kernels.exact": lambda: {"reverse": reverse(), "grid": GRID, "t0": 0.9, "t1": 0.5},
    "kernels.finite_volume": lambda: {"dynamics": reverse(), "grid": GRID, "t0": 0.9, "t1": 0.8},
    "kernels.finite_volume_operator": lambda: {"dynamics": reverse(), "grid": GRID, "t0": 0.9, "t1": 0.8},
    "kernels.sampler": lambda: {"name": "heun", "reverse": reverse(), "grid": GRID, "t0": 0.9, "t1": 0.8},
    "kernels.sampler_operator": lambda: {"name": "heun", "reverse": reverse(), "grid": GRID, "t0": 0.9, "t1": 0.8},
    **{
        f"distances.{kind}": lambda: {"p": density(0), "q": density(1)}
        for kind in ("chi2", "energy", "frechet", "hellinger", "kl", "total_variation", "wasserstein")
    },
    "distances.mmd": lambda: {"p": density(0), "q": density(1), "bandwidth": 0.5},
    "distances.early_stopping": lambda: {"reverse": reverse(), "t_min": 0.3},
    "distances.l1_on": lambda: {"p": density(0), "q": density(1), "region": (0.0, 1.0)},
    "distances.to_marginals": lambda: {"run": run(), "reverse": reverse()},
    "distances.weighted_norm": lambda: {"w": density(0) - density(1)},
    "bounds.assumptions": lambda: {"dynamics": reverse(), "t": 0.5},
    "bounds.dobrushin": lambda: {"kernel": made("kernel")},
    "bounds.drift": lambda: {"reverse": reverse(), "t0": 0.9, "t1": 0.5, "grid": GRID},
    "bounds.explicit_kl": lambda: {"reverse": fp.Reverse(LAW, fp.VP()), "steps": 50, "grid": GRID},
    "bounds.girsanov": lambda: {
        "first": reverse(), "second": fp.Reverse(LAW, PROCESS, score=fp.scores.perturbed(reverse().score, flip)),
        "t_min": 0.5, "grid": GRID,
    },
    "bounds.harris": lambda: {"kernel": made("kernel"), "optimise": False},
    "bounds.harris_blocks": lambda: {
        "reverse": reverse(), "grid": COARSE, "t_min": 0.5, "candidates": 2, "optimise": False,
    },
    "bounds.harris_closed_form": lambda: {"reverse": reverse(), "t0": 0.9, "t1": 0.5},
    "bounds.ladder": lambda: {"reverse": reverse(), "grid": COARSE, "blocks": 1, "t_min": 0.5},
    "bounds.langevin_kl": lambda: {
        "run": made("wobble"), "law": fp.Gaussian(0.0, std=1.0), "error": flip, "convexity": 1.0, "start": "start",
    },
    "bounds.localization": lambda: {"kernel": made("kernel")},
    "bounds.minorization": lambda: {"kernel": made("kernel")},
    "bounds.poincare": lambda: {"reverse": reverse(), "t0": 0.9, "t1": 0.5, "grid": GRID},
    "bounds.log_sobolev": lambda: {"reverse": reverse(), "t0": 0.9, "t1": 0.5, "grid": GRID, "constant": 2.0},
    "bounds.wasserstein": lambda: {"reverse": reverse(), "t0": 0.9, "t1": 0.5, "concavity": 1.0},
    "bounds.ollivier": lambda: {"kernel": made("kernel")},
    "bounds.discretization": lambda: {"reverse": reverse(), "times": [0.9, 0.7, 0.5]},
    "bounds.reverse_kl": lambda: {"run": run(), "reverse": reverse(), "error": flip, "start": "exact"},
    "bounds.spectral_gap_constant": lambda: {"law": LAW},
    "bounds.verify": lambda: {"ladder": made("ladder")},
    "bounds.weighted_pinsker": lambda: {"kl": 0.1, "mu": LAW, "nu": fp.Gaussian(0.0, std=1.2), "grid": GRID},
    "samplers.step": lambda: {"method": "ddim", "process": PROCESS, "eta": 0.5, "t_from": 0.9, "t_to": 0.8},
    "samplers.Karras": lambda: {"churn": 2.0, "steps": 4, "s_min": 0.1, "s_max": 10.0, "s_noise": 1.0},
    "samplers.DDIM": lambda: {"eta": 0.5},
    "scores.clip_sample": lambda: {"score": lambda t, x: -x, "process": PROCESS, "limit": 1.0},
    "samplers.EulerAncestral": lambda: {"eta": 0.5},
    "samplers.LMS": lambda: {"slopes": 3},
    "samplers.DPMSolverPP3M": lambda: {"parabola": True},
    "samplers.PredictorCorrector": lambda: {"snr": 0.2, "corrections": 2},
    "samplers.DDPM": lambda: {"variance": "forward"},
    "samplers.EulerMaruyama": lambda: {"eta": 0.5},
    "samplers.ExponentialIntegrator": lambda: {"eta": 0.5, "frozen": "modified"},
    "decomposition.errors": lambda: {
        "reverse": reverse(), "sampler": "euler-maruyama", "start": LAW, "grid": GRID, "steps": 4, "blocks": 2,
        "t_min": 0.2,
    },
    "design.error": lambda: {"reverse": reverse(), "sampler": "ddim", "times": [1.0, 0.5, 0.2], "start": LAW},
    "design.named": lambda: {"reverse": reverse(), "sampler": "ddim", "n": 2, "t_min": 0.2, "start": LAW},
    "design.steps": lambda: {
        "reverse": reverse(), "sampler": "ddim", "n": 2, "t_min": 0.2, "grid": GRID, "most": 3, "start": LAW,
    },
    "dynamics.edm_churn": lambda: {"S_churn": 40.0},
    "flows.basins": lambda: {"flow": made("plane"), "points": made("points"), "cells": 4},
    "flows.distance": lambda: {"flow": reverse(), "start": LAW, "law": LAW, "t_min": 0.5},
    "flows.end_points": lambda: {"flow": reverse(), "points": X, "t_min": 0.5},
    "flows.log_density": lambda: {"flow": reverse(), "start": LAW, "x": X, "t_min": 0.5},
    "flows.orbits": lambda: {"flow": reverse(), "points": X, "t_min": 0.5, "count": 3},
    "flows.outside_hull": lambda: {"points": np.zeros((2, 2)), "data": np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])},
    "flows.stationary_points": lambda: {"flow": made("field"), "box": (-3.0, 3.0), "cells": 4},
    "particles.compare": lambda: {"run": run(), "cloud": made("cloud"), "start": "prior", "at": [0.2]},
    "particles.from_positions": lambda: {"t": [1.0, 0.5], "position": np.zeros((2, 8)), "attrs": {}},
    "particles.histogram_floor": lambda: {"density": np.full(24, 1.0 / 12.0), "n": 100, "grid": GRID},
    "particles.needed": lambda: {"distance": 0.1, "density": np.full(24, 1.0 / 12.0), "grid": GRID},
    "particles.simulate": lambda: {"reverse": reverse(), "start": LAW, "n": 8, "seed": 0, "steps": 3},
    "plots.alive": lambda: {"found": made("errors")},
    "plots.animation": lambda: {"run": run(), "start": "exact", "frames": 2},
    "plots.contributions": lambda: {"found": made("errors")},
    "plots.convergence": lambda: {
        "error": xr.DataArray([1.0, 0.3], dims="n", coords={"n": [10, 20]}), "over": "n", "orders": [1, 2],
    },
    "plots.cumulative": lambda: {"run": run(), "cloud": made("cloud"), "start": "exact", "t": 0.2, "level": 0.01},
    "plots.density": lambda: {"run": run(), "start": "exact"},
    "plots.divergences": lambda: {"found": {"L1": made("curve")}},
    "plots.drift_and_score": lambda: {"run": run().sel(start=["prior"]), "reverse": reverse(), "level": 3.0},
    "plots.discounts": lambda: {"found": made("errors")},
    "plots.ensemble": lambda: {"run": made("ensemble")},
    "plots.factors": lambda: {"found": made("ladder")},
    "plots.forgetting": lambda: {"curve": made("curve")},
    "plots.ladder": lambda: {"found": made("ladder")},
    "plots.localization": lambda: {"found": made("localization")},
    "plots.orbits": lambda: {"found": made("orbit")},
    "plots.overview": lambda: {"found": made("ladder"), "start": None},
    "plots.phase_line": lambda: {
        "flow": np.negative, "points": fp.flows.stationary_points(np.negative, (-1.0, 1.0), cells=8),
    },
    "plots.ratio": lambda: {"found": made("ladder")},
    "stochastic.BrownianPaths": lambda: {"seed": 0, "paths": 2, "modes": 1, "span": 1.0},
    "stochastic.RadialFunction": dict,
    "stochastic.ScoreNoise": lambda: {"modes": [lambda x: x], "strengths": [0.1]},
    "stochastic.constant": lambda: {"strength": 0.1},
    "stochastic.evolve": lambda: {
        "dynamics": OU, "start": LAW, "noise": fp.stochastic.constant(0.05), "grid": GRID, "steps": 4, "paths": 2,
        "seed": 0, "t_max": 0.2,
    },
    "stochastic.localized": lambda: {"centres": [0.0], "width": 1.0, "strength": 0.1},
    "stochastic.quadratic_variation": lambda: {"run": made("ensemble")},
    "stochastic.random_fourier": lambda: {"strength": 0.1, "length": 1.0, "modes": 2, "seed": 0},
    "stochastic.rank_correlation": lambda: {
        "first": np.arange(12.0), "second": np.sin(np.arange(12.0)), "seed": 0, "resamples": 20,
    },
    "stochastic.siem_like": lambda: {"run": made("wobble"), "dynamics": OU, "error": flip},
}  # fmt: skip
#: Made of many runs; their arguments are tables of results.
NOT_DOORS |= {"plots.metric_against_distance", "plots.phase_portrait", "plots.rank_correlations", "plots.streamlines"}

BAD: dict[str, Any] = {
    "None": None, "True": True, "text": "bad", "empty text": "", "bytes": b"bad", "complex": 1j, "nan": math.nan,
    "inf": math.inf, "-inf": -math.inf, "-1": -1, "0": 0, "0.5": 0.5, "1e300": 1e300, "[]": [], "{}": {},
    "[1, 'a']": [1, "a"], "['a']": ["a"], "{'a': None}": {"a": None}, "object": object(), "class": dict,
    "function of nothing": lambda: None, "array (0,)": np.array([]), "array (2, 3)": np.zeros((2, 3)),
    "nan array": np.array([math.nan, 1.0]), "masked": np.ma.masked_array([1.0, 2.0], [0, 1]),
    "dates": np.array(["2020-01-01"], dtype="M8[D]"), "DataArray": xr.DataArray([1.0, 2.0]), "Dataset": xr.Dataset(),
}  # fmt: skip

#: How many of them each argument is tried with, but for ``FPSOLVE_FUZZ=all``.
SAMPLE = cases.sample(8, 6)

#: Where every value is a fair one: booleans by their truth, what is only shown or handed on.
FREE = {"progress", "legend", "ax", "description", "attrs", "source", "name", "colour", "label", "dashes"}


def doors() -> dict[str, Any]:
    """Every public callable by its label, once."""
    found: dict[int, tuple[str, Any]] = {}
    for name in fp.__all__:
        found.setdefault(id(getattr(fp, name)), (name, getattr(fp, name)))
    for room in ROOMS:
        module = import_module(f"fpsolve.{room}")
        tried_here = [label.removeprefix(f"{room}.") for label in DOORS if label.rpartition(".")[0] == room]
        for name in (*module.__all__, *tried_here):
            found.setdefault(id(getattr(module, name)), (f"{room}.{name}", getattr(module, name)))
    ours = [(name, thing) for name, thing in found.values() if callable(thing)]
    return {n: t for n, t in ours if t.__module__.startswith("fpsolve") and not (inspect.isclass(t) and _made(t))}


def _made(kind: type) -> bool:
    """Whether only fpsolve makes objects of a class: warnings, and the records of bounds."""
    return issubclass(kind, Warning) or kind.__module__.startswith("fpsolve.bounds")


def outcome(call: Callable[..., Any], arguments: dict[str, Any]) -> tuple[str, str]:
    """Return "accepted", "refused" or "unclear", and what was said."""
    quiet = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(quiet), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            call(**arguments)
    except (ValueError, OSError) as said:
        text = str(said)
        clear = isinstance(said, OSError) or ("expected" in text and len(text) < 1200)
        return ("refused" if clear else "unclear"), f"{type(said).__name__}: {text}"
    except Exception as said:
        return "unclear", f"{type(said).__name__}: {said}"
    return "accepted", ""


def parameters(call: Any) -> list[str]:
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return [p.name for p in inspect.signature(call).parameters.values() if p.kind not in kinds and p.name not in FREE]


def tried(name: str, parameter: str) -> list[str]:
    """Labels of the bad values that an argument is tried with: all, or a sample that its name settles."""
    if os.environ.get("FPSOLVE_FUZZ") == "all":
        return list(BAD)
    seed = zlib.crc32(f"{name}.{parameter}".encode())
    return [str(label) for label in np.random.default_rng(seed).choice(list(BAD), SAMPLE, replace=False)]


def test_every_door_is_tried() -> None:
    untried = sorted(set(doors()) - NOT_DOORS - set(DOORS))
    print("without good arguments here:", *untried)
    assert set(DOORS) <= set(doors()) and len(untried) <= 10


def test_good_arguments_are_good() -> None:
    for name, call in doors().items():
        if name in DOORS and not name.startswith("data.read"):
            assert outcome(call, DOORS[name]())[0] == "accepted", (name, outcome(call, DOORS[name]()))


def test_flags_are_true_or_false() -> None:
    """Text, numbers and arrays are not taken by their truth: "no" would mean yes."""
    flags = 0
    for name, call in doors().items():
        if name not in DOORS:
            continue
        for parameter in parameters(call):
            if not str(inspect.signature(call).parameters[parameter].annotation).startswith(("bool", "<class 'bool'")):
                continue
            flags += 1
            for value in ("no", 2, np.array([True, False]), [], xr.DataArray([1.0, 2.0])):
                what, said = outcome(call, DOORS[name]() | {parameter: value})
                assert what == "refused" and f"{parameter}: expected one of" in said, (name, parameter, value, said)
    assert flags >= 18


@pytest.mark.parametrize("function", [lambda: None, lambda x, y, z: x, dict], ids=["of nothing", "of three", "a class"])
def test_functions_that_cannot_answer_are_refused_in_a_sentence(function: Any) -> None:
    calls = {
        "score": lambda: fp.scores.checked(function)(0.5, X),
        "score in a table": lambda: fp.scores.tabulate(function, GRID, [0.2, 0.4, 0.7, 1.0]),
        "score's error": lambda: fp.scores.error_curve(function, LAW, PROCESS, [0.5]),
        "gradient": lambda: fp.scores.from_energy(lambda t, x: x**2 / 2.0, PROCESS, dim=1, gradient=function),
        "eta": lambda: fp.Reverse(LAW, PROCESS, eta=function),
        "region": lambda: fp.distances.l1_on(density(0), density(1), function),
        "weight": lambda: fp.weights.evaluate(function, GRID),
        "oracle's weight": lambda: fp.closed_form.weighted_tv(
            fp.Reverse(fp.Gaussian(0.0, std=1.0), PROCESS), LAW, fp.Gaussian(1.0, std=1.0), 0.5, function
        ),
        "flow": lambda: fp.flows.stationary_points(function, (-3.0, 3.0), cells=4),
    }
    for label, call in calls.items():
        what, said = outcome(call, {})
        assert what == "refused", (label, said)


@pytest.mark.slow
def test_bad_arguments_are_refused_in_a_sentence() -> None:
    """At most 1 % of the calls end in anything but a sentence with what was expected."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    seen: Counter[str] = Counter()
    rows: dict[str, Counter[str]] = {}
    unclear: list[str] = []
    for name, call in doors().items():
        if name not in DOORS:
            continue
        rows[name] = Counter()
        for parameter in parameters(call):
            for label in tried(name, parameter):
                what, said = outcome(call, DOORS[name]() | {parameter: BAD[label]})
                rows[name][what] += 1
                seen[what] += 1
                if what == "unclear":
                    unclear.append(f"  {name}({parameter}={label}): {said[:110]!r}")
        plt.close("all")
    print(f"\n{'door':36s}{'refused':>9s}{'unclear':>9s}{'accepted':>9s}")
    for name, row in rows.items():
        print(f"{name:36s}{row['refused']:9d}{row['unclear']:9d}{row['accepted']:9d}")
    print(f"{'all':36s}{seen['refused']:9d}{seen['unclear']:9d}{seen['accepted']:9d}", *unclear, sep="\n")
    assert seen["unclear"] <= 0.01 * seen.total()
