"""Tests and distances of particles against a grid density at one time: two sides in, a row of numbers out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fpsolve import weights
from fpsolve.particles import _expected, _floor
from fpsolve.particles import _significance as significance
from fpsolve.particles._sides import GridSide, ParticleSide

if TYPE_CHECKING:
    from fpsolve.weights import WeightLike

Array = npt.NDArray[np.float64]


#: Error of a density, in the weighted norm, from which no two laws can be told apart: |f| <= 1, and V >= 1.
_BLUNT = 2.0


def verdict(p_values: Sequence[float], levels: Sequence[float]) -> str:
    """Return "disagree", "agree", or "not tested" where no test could be made (all p-values NaN)."""
    made = [(p, level) for p, level in zip(p_values, levels, strict=True) if not np.isnan(p)]
    if not made:
        return "not tested"
    return "agree" if all(p >= level for p, level in made) else "disagree"


def names(dim: int) -> tuple[str, ...]:
    """Families of tests: the DKW band needs an order, so it is there in 1D only."""
    return ("chi2", "dkw", "z") if dim == 1 else ("chi2", "z")


def tests(grid_side: GridSide, sample: ParticleSide, level: float, min_expected: float | None) -> dict[str, Any]:
    """Chi-square, DKW band (1D) and z-scores, each family at an equal share of ``level``, and the verdict."""
    families = names(grid_side.cells.dim)
    share = level / len(families)
    here = grid_side.on(sample.cells)
    row = _chi_square(here, sample, share, min_expected)
    if "dkw" in families:
        row |= _dkw(here, sample, share)
    row |= _z_scores(grid_side, sample, share)
    row["p_value"] = [row.pop(f"{family}_p") for family in families]
    # One z p-value is the smallest of several: it is held against the level of a single function.
    row["level"] = [share / len(row["z"]) if family == "z" else share for family in families]
    if not grid_side.error + grid_side.tail < _BLUNT:
        # whatever the particles do, a difference up to the grid's own error would be allowed
        row["p_value"] = [np.nan] * len(families)
    inside = int(sample.counts.sum())
    return row | {
        "verdict": verdict(row["p_value"], row["level"]),
        "particles": sample.n,
        "outside": 1.0 - inside / sample.n,
        "outside_expected": float(here.outside.sum()),
        "grid_error": grid_side.error + grid_side.tail,
    }


def _chi_square(here: GridSide, sample: ParticleSide, level: float, min_expected: float | None) -> dict[str, Any]:
    """Chi-square; the outside makes cells of its own, at the ends in 1D and after the last block in 2D."""
    least = significance.smallest_expected(sample.n) if min_expected is None else min_expected
    if here.cells.dim == 1:
        tail = np.full(1, 0.5 * here.tail)
        counts = np.concatenate([sample.outside[:1], sample.counts, sample.outside[1:]])
        probability = np.concatenate([here.outside[:1], here.probability, here.outside[1:]])
        slack = np.concatenate([tail, here.slack, tail])
    else:
        nx, ny = here.cells.shape
        order = significance.morton_order((nx, ny))
        counts = np.concatenate([sample.counts.ravel()[order], sample.outside])
        probability = np.concatenate([here.probability.ravel()[order], here.outside])
        slack = np.concatenate([here.slack.ravel()[order], [here.tail]])
    result = significance.chi_square(counts, probability, slack, sample.n, level, least)
    return {
        "chi2": result.statistic,
        "chi2_dof": result.dof,
        "chi2_critical": result.critical,
        "chi2_p": result.p_value,
    }


def _dkw(here: GridSide, sample: ParticleSide, level: float) -> dict[str, Any]:
    """Largest distance of the CDFs on the faces; mass outside may lie on either side: it widens the band."""
    seen = (sample.outside[0] + np.concatenate([[0], np.cumsum(sample.counts)])) / sample.n
    expected = here.outside[0] + np.concatenate([[0.0], np.cumsum(here.probability)])
    distance = float(np.max(np.abs(seen - expected)))
    # A CDF differs by at most half the L1 distance, and that is at most half the weighted norm.
    allowance = 0.5 * here.error + here.tail
    return {
        "dkw": distance,
        "dkw_band": significance.dkw_band(sample.n, level) + allowance,
        "dkw_p": significance.dkw_p_value(max(0.0, distance - allowance), sample.n),
    }


def _z_scores(grid_side: GridSide, sample: ParticleSide, level: float) -> dict[str, Any]:
    """z-scores; the weighted error of the density bounds the error of every expectation, since |f| <= V."""
    mean, variance = _expected.expectations(grid_side.probability, grid_side.cells, sample.centre, sample.width)
    # A function that is constant on the support has no variance; the floor keeps its z finite.
    std = np.sqrt(np.maximum(variance, 1e-12) / sample.n)
    z = (sample.function_mean - mean) / std
    allowance = (grid_side.error + grid_side.tail) / std
    excess = np.maximum(0.0, np.abs(z) - allowance)
    band = significance.normal_band(level / z.size)
    return {
        "z": z,
        "z_band": band + float(np.max(allowance)),
        "z_p": float(np.min(significance.z_p_values(excess))),
    }


def distances(grid_side: GridSide, sample: ParticleSide, weight: WeightLike) -> dict[str, Any]:
    """Weighted distance of the histogram to its own law, with what a perfect match would show."""
    here = grid_side.on(sample.cells)
    v = weights.evaluate(weight, here.cells.points(), here.cells.dim)
    exact = _floor.binomial_deviation(here.probability, sample.n)
    return {
        "histogram_distance": float(np.sum(v * np.abs(sample.counts / sample.n - here.probability))),
        "floor": float(np.sum(v * _floor.normal_deviation(here.probability, sample.n))),
        "floor_exact": float(np.sum(v * exact)),
        "floor_spread": _floor.spread(exact, np.zeros_like(exact), here.probability, sample.n, v),
    }


def to_reference(grid_side: GridSide, sample: ParticleSide, reference: GridSide, weight: WeightLike) -> dict[str, Any]:
    """Weighted distance of the histogram to another law; its mean and spread if the density is right."""
    here, there = grid_side.on(sample.cells), reference.on(sample.cells)
    v = weights.evaluate(weight, here.cells.points(), here.cells.dim)
    shift = here.probability - there.probability
    expected = _floor.binomial_distance(here.probability, there.probability, sample.n)
    return {
        "reference_distance": float(np.sum(v * np.abs(sample.counts / sample.n - there.probability))),
        "reference_expected": float(np.sum(v * expected)),
        "reference_spread": _floor.spread(expected, shift, here.probability, sample.n, v),
    }
