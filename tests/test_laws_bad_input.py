"""Bad input to laws: every refusal names the argument, what was expected and what came."""

from collections.abc import Callable

import numpy as np
import pytest

import fpsolve as fp

NAN, INF = float("nan"), float("inf")
BAD: list[tuple[Callable[[], object], str]] = [
    (lambda: fp.Gaussian(0.0), "exactly one of std and cov, got neither"),
    (lambda: fp.Gaussian(0.0, std=1.0, cov=1.0), "exactly one of std and cov, got both"),
    (lambda: fp.Gaussian(0.0, std=0.0), "Gaussian std: expected numbers > 0, got 0"),
    (lambda: fp.Gaussian(0.0, cov=-1.0), "Gaussian cov: expected numbers > 0, got -1"),
    (lambda: fp.Gaussian(NAN, std=1.0), "Gaussian mean: expected finite"),
    (lambda: fp.Gaussian(0.0, std=INF), "Gaussian std: expected finite"),
    (lambda: fp.Gaussian([0.0, 1.0, 2.0], std=1.0), r"Gaussian mean: expected a number \(1D\) or two"),
    (lambda: fp.Gaussian([0.0, 1.0], cov=[[1.0, 0.5], [0.2, 1.0]]), "expected symmetric"),
    (lambda: fp.Gaussian([0.0, 1.0], cov=[[1.0, 2.0], [2.0, 1.0]]), "positive definite"),
    # a second axis that is 3 times the first: which sign the eigenvalue has is rounding
    (lambda: fp.Gaussian([0.0, 1.0], cov=[[0.1, 0.3], [0.3, 0.9]]), "positive definite"),
    (lambda: fp.Gaussian([0.0, 1.0], cov=np.cov([[0.1, 0.2, 0.7], [0.3, 0.6, 2.1]])), "positive definite"),
    (lambda: fp.Gaussian([0.0, 1.0], cov=1.0), "expected matrices of shape"),
    (lambda: fp.GaussianMixture([0.5, 0.6], [0.0, 1.0], stds=1.0), "weights that sum to 1"),
    (lambda: fp.GaussianMixture([-0.5, 1.5], [0.0, 1.0], stds=1.0), "weights >= 0"),
    (lambda: fp.GaussianMixture([0.5, 0.5], [0.0, 1.0, 2.0], stds=1.0), "GaussianMixture means: expected shape"),
    (lambda: fp.GaussianMixture([0.5, 0.5], [0.0, 1.0], stds=[1.0, -1.0]), "GaussianMixture stds: expected numbers >"),
    (lambda: fp.GaussianMixture([0.5, 0.5], [0.0, NAN], stds=1.0), "GaussianMixture means: expected finite"),
    (lambda: fp.GaussianMixture([0.5, 0.5], [0.0, 1.0], stds=[1.0, 1.0, 1.0]), "expected one number or 2"),
    (lambda: fp.GaussianMixture([0.5, 0.5], [[0, 0], [1, 1]], covs=[np.eye(2), -np.eye(2)]), r"\(index 1\)"),
    (lambda: fp.KernelDensity([1.0]), "at least two, got 1"),
    (lambda: fp.KernelDensity([1.0, NAN, 2.0]), "KernelDensity samples: expected finite"),
    (lambda: fp.KernelDensity([1.0, INF]), "KernelDensity samples: expected finite"),
    (lambda: fp.KernelDensity([2.0, 2.0, 2.0]), "data that vary"),
    (lambda: fp.KernelDensity([[2.0, 1.0], [2.0, 3.0]]), "data that vary"),
    (lambda: fp.KernelDensity([[1.0, 2.0, 3.0]] * 2), r"expected shape \(n,\) or \(n, 2\)"),
    (lambda: fp.KernelDensity([1.0, 2.0], bandwidth=0.0), "KernelDensity bandwidth: expected one number > 0"),
    (lambda: fp.KernelDensity([1.0, 2.0], bandwidth=[1.0, 2.0]), "KernelDensity bandwidth: expected one number"),
    (lambda: fp.KernelDensity(["a", "b"]), "an array of real numbers"),
    (lambda: fp.Laplace(0.0, 0.0), "Laplace scale: expected a number > 0"),
    (lambda: fp.StudentT(0.0), "StudentT df: expected a finite number > 0"),
    (lambda: fp.StudentT(3.0, scale=-1.0), "StudentT scale: expected a finite number > 0"),
    (lambda: fp.Uniform(1.0, 1.0), "expected low < high"),
    (lambda: fp.Uniform([0.0, 0.0], 1.0), "expected two numbers"),
    (lambda: fp.PointMass([1.0, INF]), "PointMass at: expected finite"),
    (lambda: fp.Gaussian([0.0, 0.0], std=1.0).log_density(1.0), r"points of shape \(..., 2\)"),
    (lambda: fp.Gaussian(0.0, std=1.0).log_density_on_axes([0.0], [1.0]), "axes: expected 1 arrays"),
    (lambda: fp.Gaussian(0.0, std=1.0).cell_probabilities([0.0], [1.0]), "faces: expected 1 arrays"),
    (lambda: fp.Uniform(0.0, 1.0).score(2.0), "points in the support, got 1 outside"),
    (lambda: fp.Laplace().sample(-1, 0), "n: expected an integer >= 0"),
]


@pytest.mark.parametrize(("call", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_input_names_the_argument(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
