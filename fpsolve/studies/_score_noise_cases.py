"""The cases of the study of score error as noise, given errors and noises with what each does, and what they should be:
a Gaussian in closed form for constant noise on an Ornstein-Uhlenbeck process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import xarray as xr

import fpsolve as fp
from fpsolve import bounds, distances, scores, stochastic
from fpsolve._checks import FloatArray
from fpsolve.scores import errors
from fpsolve.weights import Weight

Error = Callable[[float, FloatArray], Any]

FAMILIES = ("bias", "scaling", "sine", "bump", "field")


@dataclass(frozen=True, eq=False)
class Case:
    """One score error: its population, its family, and the error itself."""

    population: str
    family: str
    error: Any


@dataclass(frozen=True, eq=False)
class Ground:
    """What all cases share: the exact dynamics, grid, times, weight, and the run without error."""

    reverse: fp.Reverse
    grid: fp.Grid
    times: FloatArray
    weight: Weight
    estimate: bool = True

    def run(self, error: Error) -> xr.Dataset:
        """Evolve p_T under the score with an error: two steps between any two of the times, one in the companion.

        Steps end on kinks of the process too, and there are two more for each.
        """
        model = scores.perturbed(self.reverse.score, error)
        wrong = fp.Reverse(self.reverse.target, self.reverse.process, score=model, eta=self.reverse.eta)
        return fp.evolve(
            wrong,
            {"exact": self.start},
            grid=self.grid,
            steps=2 * (len(self.times) - 1 + len(self.reverse.process.kinks)),
            t_min=float(self.times[-1]),
            save_at=self.times,
            weight=self.weight,
            estimate=self.estimate,
            progress=False,
        )

    @property
    def start(self) -> fp.Law:
        """p_T."""
        return self.reverse.marginal(self.reverse.process.T)

    @cached_property
    def clean(self) -> xr.DataArray:
        """Final density without error, by the same fluxes as with one: distances to it are free of the grid's error."""
        return self.run(errors.Bias(0.0))["density"].isel(start=0, t=-1, drop=True)

    @cached_property
    def marginals(self) -> FloatArray:
        """Cell averages of p_t at the times."""
        return np.stack([self.grid.cell_average(self.reverse.marginal(float(t))) for t in self.times])

    def coarser(self) -> Ground:
        """Half the cells and half the steps, for what is compared with all of them: without an estimate of its own."""
        return Ground(self.reverse, self.grid.coarsen(), self.times[::2], self.weight, estimate=False)


@dataclass(frozen=True, eq=False)
class _Share:
    """A share of the exact score, as an error that can be called; smooth in time, so that runs need not look."""

    score: Error
    share: float
    breaks: ClassVar[tuple[float, ...]] = ()

    def __call__(self, t: float, x: FloatArray) -> Any:
        return self.share * self.score(t, x)


def given_errors(ground: Ground, population: str, count: int, size: tuple[float, float], seed: int) -> list[Case]:
    """Draw errors: families in turn, amplitudes log-uniform; "windowed" ones act during a part of the run only."""
    rng = np.random.default_rng(seed)
    cases = []
    for k in range(count):
        family = FAMILIES[k % len(FAMILIES)]
        error = _drawn(ground, family, float(np.exp(rng.uniform(*np.log(size)))), rng)
        if population == "windowed":
            first, last = np.sort(rng.uniform(0.0, 1.0, 2)) * (len(ground.times) - 1)
            start, stop = ground.times[int(np.ceil(last))], ground.times[int(first)]
            error = errors.During(error, float(start) - 1e-9, float(stop) + 1e-9)
        cases.append(Case(population, family, error))
    return cases


def _drawn(ground: Ground, family: str, size: float, rng: np.random.Generator) -> Error:
    sign = float(rng.choice([-1.0, 1.0]))
    if family == "bias":
        return errors.Bias(sign * size)
    if family == "scaling":
        return _Share(ground.reverse.score, sign * size)
    if family == "sine":
        return errors.Sine(size, wave=rng.uniform(0.8, 4.0), phase=rng.uniform(0.0, 2.0 * np.pi))
    if family == "bump":
        return errors.Bump(sign * size, at=rng.uniform(-2.5, 2.5), width=rng.uniform(0.3, 0.9))
    return errors.RandomField(size, length=rng.uniform(0.5, 1.5), dim=1, seed=int(rng.integers(2**31)), waves=32)


@dataclass(frozen=True, eq=False)
class _OnClock:
    """A mode of noise that is white in the clock ``int g^2 dr`` in place of time."""

    mode: Callable[[FloatArray], Any]
    process: fp.Process

    def __call__(self, t: float, x: FloatArray) -> Any:
        return self.mode(x) / self.process.diffusion(t)


def noises(process: fp.Process, count: int, rates: tuple[float, float], seed: int) -> list[Case]:
    """Draw noises: constant, linear, waves, bumps and random fields in turn, rates log-uniform.

    They are white in the clock ``int g^2 dr``, not in time: one range suits every process, whose times differ and whose
    g^2 does within a run by factors of hundreds.
    """
    rng = np.random.default_rng(seed)
    cases = []
    for k in range(count):
        family = FAMILIES[k % len(FAMILIES)]
        size = float(np.exp(rng.uniform(*np.log(rates))))
        if family == "bias":
            noise = stochastic.constant(size)
        elif family == "scaling":
            noise = stochastic.ScoreNoise([lambda x: x], [size], f"linear(strength={size:g})")
        elif family == "sine":
            noise = stochastic.random_fourier(
                size, length=rng.uniform(0.3, 1.5), modes=1, seed=int(rng.integers(2**31))
            )
        elif family == "bump":
            noise = stochastic.localized([rng.uniform(-2.5, 2.5)], width=rng.uniform(0.3, 0.9), strength=size)
        else:
            noise = stochastic.random_fourier(
                size, length=rng.uniform(0.5, 1.5), modes=4, seed=int(rng.integers(2**31))
            )
        modes = [_OnClock(mode, process) for mode in noise.modes]
        clocked = stochastic.ScoreNoise(modes, noise.variances, f"{noise.description}, white in the clock")
        cases.append(Case("noise", family, clocked))
    return cases


def outcome_of_error(ground: Ground, case: Case, shares: tuple[float, ...]) -> dict[str, Any]:
    """Metric, size and final distances of a given error, with the entropy bound's margin beyond all errors.

    Without an estimate of its error the run shows the metric and the weighted total variation alone.
    """
    run = ground.run(case.error)
    last = run["density"].isel(start=0, t=-1, drop=True)
    found = stochastic.siem_like(run, ground.reverse, case.error, shares=shares, mean_gain=True)
    seen = {"metric": found["metric"].values[0], "weighted_tv": _weighted_tv(ground, last)}
    if not ground.estimate:
        return seen
    entropy = bounds.reverse_kl(run, ground.reverse, case.error, information=False)
    return seen | {
        "size": entropy.bound[-1] - entropy.kl_start,
        "w2": _w2(ground, last),
        "margin": entropy.holds.margin,
        "negative": float(-np.minimum(run["density"].values, 0.0).sum(axis=-1).min() * ground.grid.volume),
        "mass": float(abs(run["mass"] - run["mass"][0, 0]).max()),
    }


def outcome_of_noise(ground: Ground, case: Case, shares: tuple[float, ...], paths: int, seed: int) -> dict[str, Any]:
    """The same for noise: means over the paths of the quadratic variation and of the final distances."""
    run = stochastic.evolve(
        ground.reverse,
        ground.start,
        case.error,
        grid=ground.grid,
        steps=2 * (len(ground.times) - 1),
        paths=paths,
        seed=seed,
        t_min=float(ground.times[-1]),
        save_at=ground.times[[0, -1]],
        weight=ground.weight,
        estimate=False,
        progress=False,
    )
    last = run["density"].isel(t=-1, drop=True)
    return {
        "metric": stochastic.quadratic_variation(run, shares=shares)["formula"].mean("path").values,
        "size": _power(ground, case.error),
        "weighted_tv": _weighted_tv(ground, last),
        "w2": _w2(ground, last),
        "margin": np.nan,
        "negative": float(run["negative_mass"].max()),
        "mass": float(abs(run["mass"] - run["mass"].isel(t=0)).max()),
    }


def _weighted_tv(ground: Ground, last: xr.DataArray) -> float:
    """Distance of final densities to the one without error, its mean over paths where there are several."""
    return float(fp.weighted_tv(last, ground.clean, ground.weight)["distance"].mean())


def _w2(ground: Ground, last: xr.DataArray) -> float:
    return float(distances.wasserstein(last, ground.clean, 2)["distance"].mean())


def _power(ground: Ground, noise: stochastic.ScoreNoise) -> float:
    """``int c^2 sum_k lambda_k E_p |e_k|^2 dr`` along the marginals, c = g^2 (eta = 1)."""
    rate = [
        float(ground.reverse.process.diffusion(t)) ** 4
        * float(noise.variances @ noise.values(t, ground.grid.x) ** 2 @ p)
        * ground.grid.volume
        for t, p in zip(ground.times.tolist(), ground.marginals, strict=True)
    ]
    return float(np.trapezoid(rate, ground.times[0] - ground.times))


RATE, MEAN, STD = 1.0, 1.0, 0.8
SUBSTEPS = 4


def oracle(strength: float, cells: int, steps: int, paths: int, seed: int) -> dict[str, float]:
    """Return how far an ensemble is from ``dm = -m dr + k dW``, ``v' = -2 v + 2`` along the same Brownian paths.

    The path of the mean is integrated on substeps with the integrals of W matched, so its own error does not count.
    """
    k = strength**0.5
    grid = fp.Grid.uniform((-9.0, 9.0), cells=cells)
    run = stochastic.evolve(
        fp.Dynamics(lambda t, x: -RATE * x, 2.0**0.5),
        fp.Gaussian(MEAN, std=STD),
        stochastic.constant(strength),
        grid=grid,
        steps=steps,
        paths=paths,
        seed=seed,
        t_max=1.0,
        estimate=False,
        progress=False,
    )
    t = run["node_t"].values
    fine = np.append((t[:-1, None] + np.diff(t)[:, None] * np.arange(SUBSTEPS) / SUBSTEPS).ravel(), t[-1])
    brownian = stochastic.BrownianPaths(seed, paths, 1, float(run.attrs["brownian_span"]))
    increment, mean = (part[:, 0] for part in brownian.increments(fine))
    h = np.diff(fine)
    m = np.full((paths, len(fine)), MEAN)
    for n, step in enumerate(h):
        m[:, n + 1] = (m[:, n] + k * mean[:, n]) * np.exp(-RATE * step) + k * (increment - mean)[:, n]
    saved = np.searchsorted(t, run["t"].values)
    q, x, cell = run["density"].values, grid.x, grid.spacing[0]
    first = (q * x).sum(axis=-1) * cell
    second = (q * x**2).sum(axis=-1) * cell - first**2 - cell**2 / 12.0
    v = 1.0 / RATE + (STD**2 - 1.0 / RATE) * np.exp(-2.0 * RATE * run["t"].values)
    # mean over each substep, and the variance within it on average
    inside = m[:, :-1] + k * mean + 0.5 * (np.diff(m) - k * increment)
    variation = k**2 * (inside**2 + np.diff(m) ** 2 / 6.0) * h
    found = stochastic.quadratic_variation(run).sel(share=1.0)
    return {
        "mean": float(np.abs(first - m[:, ::SUBSTEPS][:, saved]).max()),
        "variance": float(np.abs(second - v).max()),
        "variation": float(np.abs(found["formula"].values - variation.sum(axis=1)).max()),
        "scatter": float((np.abs(found["realised"] - found["formula"]) / found["spread"]).max()),
        "mass": float(abs(run["mass"] - run["mass"].isel(t=0)).max()),
    }
