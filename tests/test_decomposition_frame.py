"""Decompositions in the scaled frame, against chains and laws worked out without a grid."""

import warnings
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

import fpsolve as fp

EDM = fp.EDM()
KARRAS = np.linspace(80.0 ** (1 / 7), 0.002 ** (1 / 7), 18) ** 7
WEIGHTS, MEANS, STDS = np.array([0.3, 0.7]), np.array([-1.5, 0.8]), np.array([0.3, 0.4])
TARGET = fp.GaussianMixture(WEIGHTS, MEANS, stds=STDS)


def denoised(x, sigma):
    """E[x_0 | x] of the mixture."""
    variances = STDS**2 + sigma**2
    logs = np.log(WEIGHTS / np.sqrt(variances)) - 0.5 * (x[:, None] - MEANS) ** 2 / variances
    shares = np.exp(logs - logs.max(axis=1, keepdims=True))
    return (shares * (MEANS + STDS**2 / variances * (x[:, None] - MEANS))).sum(axis=1) / shares.sum(axis=1)


def heun_total(levels, points=200_001):
    """V-weighted distance of Heun's law from N(0, 80^2): images of points, and the density by their distances."""
    u = np.linspace(-8.0, 8.0, points)
    x = 80.0 * u
    for sigma, later in pairwise(levels):
        slope = (x - denoised(x, sigma)) / sigma
        moved = x + (later - sigma) * slope
        if later > 0.0:
            moved = x + 0.5 * (later - sigma) * (slope + (moved - denoised(moved, later)) / later)
        x = moved
    law = norm.pdf(u) / np.gradient(x, u)
    exact = (WEIGHTS * norm.pdf(x[:, None], MEANS, np.hypot(STDS, levels[-1]))).sum(axis=1)
    values = (1.0 + x * x) * np.abs(law - exact)
    return float(np.sum(0.5 * (values[1:] + values[:-1]) * np.diff(x)))


@pytest.mark.parametrize("to_data", [False, True])
def test_edm_with_eighteen_karras_levels(to_data):
    levels = np.append(KARRAS, 0.0) if to_data else KARRAS
    true = heun_total(levels)
    assert true == pytest.approx(0.20316, abs=2e-5)
    reverse = fp.Reverse(TARGET, EDM, eta=0.0)
    found = fp.decomposition.errors(reverse, "heun", start=EDM.prior(), times=levels, blocks=0, progress=False)
    total, error, off = found.attrs["total"], found.attrs["total_error"], float(found["reference_error"][-1])
    print(f"EDM, Karras, {len(levels)} levels: {total:.7f} +- {error:.2g} ({found.sizes['x']} cells), truth {true:.7f}")
    print(f"reference_error {off:.2g}, {off / total:.2g} of the total")
    assert found.attrs["frame"] == "scaled"
    if not to_data:
        # figures of the README
        assert true == pytest.approx(0.2031759, abs=1e-7) and total == pytest.approx(0.2031761, abs=3e-7)
    assert abs(total - true) <= error <= 0.01 * total
    assert abs(total - true) <= off <= 0.01 * total
    assert found["closure"].max() < 1e-10


def gaussian_chain(name, levels, mean, std):
    """Mean and standard deviation of the sampler's law from N(0, 80^2), target N(mean, std^2)."""
    m, v = 0.0, 80.0**2
    for sigma, later in pairwise(levels):
        # predicted noise (x - denoised)/sigma = sigma (x - mean)/(std^2 + sigma^2)
        first, second = sigma / (std**2 + sigma**2), later / (std**2 + later**2)
        h = later - sigma
        if name == "heun":
            slope, noise = 1.0 + 0.5 * h * (first + second * (1.0 + h * first)), 0.0
        else:
            up2 = later**2 * (sigma**2 - later**2) / sigma**2
            slope, noise = 1.0 + (np.sqrt(later**2 - up2) - sigma) * first, up2
        m, v = mean + slope * (m - mean), slope**2 * v + noise
    return m, np.sqrt(v)


@pytest.mark.parametrize(("name", "eta"), [("heun", 0.0), ("euler-ancestral", 1.0)])
@pytest.mark.parametrize("dim", [1, 2])
def test_gaussian_chains_under_edm(name, eta, dim):
    mean, std = 1.0, 0.5
    levels = KARRAS if dim == 1 else KARRAS[:12]
    m, s = gaussian_chain(name, levels, mean, std)
    sd = np.hypot(std, levels[-1])
    reverse = fp.Reverse(fp.Gaussian(mean if dim == 1 else [mean, mean], std=std), EDM, eta=eta)
    ends = np.linspace(-15.0, 15.0, 61).tolist()
    if dim == 1:
        grid = None
        true = quad(
            lambda x: (1 + x * x) * abs(norm.pdf(x, m, s) - norm.pdf(x, mean, sd)), -20, 20, points=ends, limit=600
        )[0]
    else:
        grid = fp.Grid.uniform([(-9, 9), (-9, 9)], cells=72)
        x = np.linspace(-9.0, 11.0, 1601)
        one, other = norm.pdf(x, m, s), norm.pdf(x, mean, sd)
        v = 1.0 + x[:, None] ** 2 + x**2
        true = float((v * np.abs(np.outer(one, one) - np.outer(other, other))).sum() * (x[1] - x[0]) ** 2)
    found = fp.decomposition.errors(
        reverse, name, start=EDM.prior(dim), times=levels, grid=grid, frame="scaled", blocks=0, progress=False
    )
    total, error = found.attrs["total"], found.attrs["total_error"]
    print(f"{name}, {dim}D: {total:.6f} +- {error:.2g}, truth {true:.6f}, {found.attrs['reference']}")
    assert abs(total - true) <= error
    assert dim == 2 or error <= 0.01 * total


def test_the_frame_changes_cells_and_nothing_else():
    target, process = fp.GaussianMixture([0.3, 0.7], [-1.5, 0.8], stds=[0.3, 0.4]), fp.VP()
    reverse = fp.Reverse(target, process)
    given = {"start": fp.Gaussian(0.0, std=1.0), "steps": 12, "t_min": 0.05, "blocks": 3, "progress": False}
    given["score"] = fp.scores.perturbed(reverse.score, fp.scores.errors.Scaling(0.1))
    grid = fp.Grid.uniform((-8, 8), cells=320)
    fixed, scaled = (
        fp.decomposition.errors(reverse, "ddpm", grid=grid, frame=frame, **given) for frame in ("fixed", "scaled")
    )
    for name in ("local", "propagated", "alive", "contraction", "total", "bound"):
        assert np.allclose(fixed[name], scaled[name], rtol=5e-3, atol=2e-5), name
    assert float(scaled["propagated"].sel(source="score").max()) > 1e-3
    x, h = scaled["x"].values, float(scaled["x"][1] - scaled["x"][0])
    assert float(scaled["exact"].sum() * h) == pytest.approx(1.0, abs=1e-9)
    mean = float((scaled["exact"] * x).sum() * h)
    alpha = float(process.scale(0.0, 0.05))
    assert mean == pytest.approx(alpha * (0.3 * -1.5 + 0.7 * 0.8), abs=1e-6)


@pytest.mark.parametrize("process", [fp.RectifiedFlow(), fp.VP.from_betas("linear", zero_snr=True), fp.VP()])
@pytest.mark.parametrize("times", [[1.0, 0.0], [1.0, 0.5, 0.0], [1.0, 0.3]])
def test_one_or_two_steps_from_clean_noise_to_the_data(process, times):
    reverse = fp.Reverse(TARGET, process, eta=0.0)
    grid = fp.Grid.uniform((-8, 8), cells=200)
    given = {"start": fp.Gaussian(0.0, std=1.0), "grid": grid, "times": times, "blocks": 0, "progress": False}
    with warnings.catch_warnings():
        # one step to the mean folds the line
        warnings.simplefilter("ignore", UserWarning)
        found = fp.decomposition.errors(reverse, "ddim", **given)
    assert found["closure"].max() < 1e-12
    assert float(found["reference_error"][-1]) <= 1e-3 * found.attrs["total"]
    if process.scale(0.0, 1.0) == 0.0:
        # nothing is known at clean noise: all of the first step goes to alpha E[x_0] + s eps, by Song et al.'s formula
        alpha, s = float(process.scale(0.0, times[1])), float(np.sqrt(process.variance(0.0, times[1])))
        mean = float(WEIGHTS @ MEANS)
        x = np.linspace(-12.0, 12.0, 48_001)
        exact = (WEIGHTS * norm.pdf(x[:, None], alpha * MEANS, np.hypot(alpha * STDS, s))).sum(axis=1)
        if s > 0.0:
            true = float(((1 + x * x) * np.abs(norm.pdf(x, alpha * mean, s) - exact)).sum() * (x[1] - x[0]))
            assert float(found["total"][1]) == pytest.approx(true, abs=1e-5 + float(found["total_error"][1]))
            assert found["total_error"][1] < 1e-3


def test_cells_that_do_not_suffice_are_said():
    reverse = fp.Reverse(fp.GaussianMixture([0.5, 0.5], [[-4.0, 0.0], [4.0, 0.0]], stds=[0.05, 0.05]), EDM, eta=0.0)
    with pytest.warns(fp.UnresolvedWarning, match="not to a hundredth"):
        found = fp.decomposition.errors(
            reverse, "euler", start=EDM.prior(2), times=[80.0, 5.0, 0.1], blocks=0, progress=False
        )
    assert found.attrs["total_error"] > 0.01 * found.attrs["total"]


def test_an_array_has_no_cells_of_its_own():
    reverse = fp.Reverse(TARGET, fp.VP())
    with pytest.raises(ValueError, match="grid: expected the Grid of the cells of start"):
        fp.decomposition.errors(reverse, "ddpm", start=np.ones(100), steps=3, t_min=0.1)
