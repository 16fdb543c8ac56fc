"""Gaussians and their mixtures, and everything closed under both.

Finite mixtures of normal laws, as arrays: the base of Gaussian, GaussianMixture and KernelDensity.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy.special import log_ndtr, ndtr

from fpsolve._checks import FloatArray, error, generator, non_negative, points, probabilities
from fpsolve.laws._base import (
    Law,
    Tail,
    check_axes,
    component_covariances,
    frozen,
    lengths,
    location,
    number_of_draws,
    plain,
    symmetric_interval_probabilities,
)

LOG_2PI = float(np.log(2.0 * np.pi))
_FEW = 7  # terms that numpy adds one by one too, but along a short axis in nine times the time
_CHUNK = 2**18  # doubles per temporary array: 2 MB, about the second-level cache


class NormalMixture(Law):
    """The law ``sum_k w_k N(m_k, C_k)``, K components.

    Densities are evaluated by log-sum-exp, so they are finite and accurate however far out, and scores as the
    average of the component scores with the posterior weights of the components, never as a ratio of
    densities.

    Attributes
    ----------
    log_weights : ndarray of shape (K,)
        log w_k, all finite (components of weight 0 are left out).
    component_means : ndarray of shape (K, d)
        m_k, with an explicit axis d also in 1D.
    component_covs : ndarray of shape (K, d, d)
        C_k.
    diagonal : bool
        True where every C_k is diagonal (always in 1D): the law is then a sum of products on tensor grids.
    """

    if TYPE_CHECKING:

        @property
        def log_weights(self) -> FloatArray: ...
        @property
        def component_means(self) -> FloatArray: ...
        @property
        def component_covs(self) -> FloatArray: ...

    @property
    def dim(self) -> int:
        """Dimension, 1 or 2."""
        return int(self.component_means.shape[1])

    @property
    def components(self) -> "NormalMixture":
        """The mixture itself."""
        return self

    @cached_property
    def diagonal(self) -> bool:
        """True where every component covariance is diagonal."""
        return self.dim == 1 or not np.any(self.component_covs[:, 0, 1])

    @property
    def tail(self) -> Tail:
        """Gaussian, with the variance of the widest component."""
        return Tail(2.0, float(0.5 / np.linalg.eigvalsh(self.component_covs).max()))

    @cached_property
    def smallest_std(self) -> float:
        """Smallest standard deviation of a component along any direction."""
        return float(np.sqrt(np.linalg.eigvalsh(self.component_covs).min()))

    @property
    def features(self) -> list[tuple[float, float]]:
        """Those of the components."""
        return list(zip(self.component_means[:, 0], np.sqrt(self.component_covs[:, 0, 0]), strict=True))

    @property
    def jumps(self) -> bool:
        """None."""
        return False

    def log_density(self, x: Any) -> FloatArray:
        """Return ``log p(x) = log sum_k w_k N(x; m_k, C_k)`` by log-sum-exp, shape ``(...)``."""
        x = points("x", x, self.dim)
        flat = x.reshape(-1, self.dim)
        out = np.empty(len(flat))
        for rows in _chunks(len(flat), len(self.log_weights)):
            first, second = self._standard(flat[rows])
            out[rows] = log_sum_exp(self._log_peaks - 0.5 * (first**2 + second**2))
        return out.reshape(x.shape[: x.ndim - self.dim + 1])

    def score(self, x: Any) -> FloatArray:
        """Return ``grad log p(x) = sum_k r_k(x) C_k^{-1} (m_k - x)``, r the posterior weights; shape of `x`."""
        x = points("x", x, self.dim)
        flat = x.reshape(-1, self.dim)
        out = np.empty(flat.shape)
        for rows in _chunks(len(flat), len(self.log_weights)):
            log_terms, pulls = self._log_terms(flat[rows])
            posterior = np.exp(log_terms - log_sum_exp(log_terms)[:, None])
            out[rows] = np.einsum("nk,nkd->nd", posterior, pulls)
        return out.reshape(x.shape)

    def sample(self, n: int, rng: np.random.Generator | int) -> FloatArray:
        """Return `n` draws: a component by its weight, then a normal draw from it; ``(n,)`` or ``(n, 2)``."""
        n, rng = number_of_draws(n, self.dim), generator("rng", rng)
        weights = np.exp(self.log_weights)
        chosen = rng.choice(len(weights), size=n, p=weights / weights.sum())
        noise = rng.standard_normal((n, self.dim))
        draws = self.component_means[chosen] + np.einsum("nij,nj->ni", self._cholesky[chosen], noise)
        return np.asarray(draws[:, 0] if self.dim == 1 else draws)

    def cell_probabilities(self, *faces: Any) -> FloatArray | None:
        """Return the probability of every cell from normal CDFs; None in 2D with a rotated covariance."""
        arrays = check_axes(self.dim, faces, "faces")
        if not self.diagonal:
            return None
        total = np.zeros([len(array) - 1 for array in arrays])
        for rows in _chunks(len(self.log_weights), max(map(len, arrays))):
            per_axis = [self._interval_probabilities(i, array, rows) for i, array in enumerate(arrays)]
            per_axis[0] *= np.exp(self.log_weights[rows])[:, None]
            total += per_axis[0].sum(axis=0) if self.dim == 1 else per_axis[0].T @ per_axis[1]
        return total

    def log_tail(self, x: Any, side: Any) -> FloatArray | None:
        """Return the logarithms of tails of a law on a line by log-sum-exp over the components; None in 2D."""
        if self.dim != 1:
            return None
        x, side = points("x", x, 1), points("side", side, 1)
        out = np.empty(x.shape)
        for rows in _chunks(len(x), len(self.log_weights)):
            z = (x[rows, None] - self.component_means[:, 0]) / self._cholesky[:, 0, 0]
            out[rows] = log_sum_exp(self.log_weights + log_ndtr(side[rows, None] * z))
        return out

    def diffused_components(self, scale: float, variance: float) -> tuple[FloatArray, FloatArray]:
        """Return means ``scale m_k`` and covariances ``scale^2 C_k + variance I`` of the diffused components."""
        covs = scale**2 * self.component_covs + variance * np.eye(self.dim)
        return scale * self.component_means, covs

    def _interval_probabilities(self, axis: int, faces: FloatArray, rows: slice) -> FloatArray:
        mean = self.component_means[rows, axis, None]
        std = np.sqrt(self.component_covs[rows, axis, axis, None])
        return symmetric_interval_probabilities(ndtr, (faces - mean) / std)

    def _standard(self, flat: FloatArray) -> tuple[FloatArray, FloatArray | float]:
        """Return ``L_k^{-1} (m_k - x)`` for the Cholesky factors L_k, each of its coordinates (n, K); 0 in 1D."""
        first = (self.component_means[:, 0] - flat[:, None, 0]) / self._cholesky[:, 0, 0]
        if self.dim == 1:
            return first, 0.0
        second = self.component_means[:, 1] - flat[:, None, 1] - self._cholesky[:, 1, 0] * first
        return first, second / self._cholesky[:, 1, 1]

    def _log_terms(self, flat: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return ``log(w_k N(x; m_k, C_k))``, (n, K), and ``C_k^{-1} (m_k - x)``, (n, K, d)."""
        first, second = self._standard(flat)
        log_terms = self._log_peaks - 0.5 * (first**2 + second**2)
        if self.dim == 1:
            return log_terms, (first / self._cholesky[:, 0, 0])[..., None]
        pull_y = second / self._cholesky[:, 1, 1]
        pull_x = (first - self._cholesky[:, 1, 0] * pull_y) / self._cholesky[:, 0, 0]
        return log_terms, np.stack([pull_x, pull_y], axis=-1)

    @cached_property
    def _cholesky(self) -> FloatArray:
        return np.asarray(np.linalg.cholesky(self.component_covs))

    @cached_property
    def _log_peaks(self) -> FloatArray:
        """log of w_k times the component density at its own mean."""
        log_volume = np.log(np.diagonal(self._cholesky, axis1=1, axis2=2)).sum(axis=1)
        return np.asarray(self.log_weights - 0.5 * self.dim * LOG_2PI - log_volume)


class SeveralNormals(NormalMixture):
    """A normal mixture whose mean and covariance follow from its components."""

    @property
    def mean(self) -> float | FloatArray:
        """Mean, float or shape (2,)."""
        return float(self._moments[0][0]) if self.dim == 1 else self._moments[0]

    @property
    def cov(self) -> float | FloatArray:
        """Variance, or covariance of shape (2, 2): within plus between the components."""
        return float(self._moments[1][0, 0]) if self.dim == 1 else self._moments[1]

    @cached_property
    def _moments(self) -> tuple[FloatArray, FloatArray]:
        weights = np.exp(self.log_weights)
        mean = weights @ self.component_means
        offsets = self.component_means - mean
        within = np.einsum("k,kij->ij", weights, self.component_covs)
        return mean, within + np.einsum("k,ki,kj->ij", weights, offsets, offsets)


def log_sum_exp(log_terms: FloatArray) -> FloatArray:
    """Return ``log sum_k exp(a_k)`` over the last axis; the largest term is factored out, so nothing underflows."""
    if log_terms.shape[-1] > _FEW:
        top = log_terms.max(axis=-1)
        return np.asarray(top + np.log(np.exp(log_terms - top[..., None]).sum(axis=-1)))
    columns = [log_terms[..., k] for k in range(log_terms.shape[-1])]
    top = reduce(np.maximum, columns)
    return np.asarray(top + np.log(reduce(np.add, [np.exp(column - top) for column in columns])))


def _chunks(n: int, width: int) -> Iterator[slice]:
    step = max(1, _CHUNK // max(1, width))
    return (slice(start, start + step) for start in range(0, n, step))


@dataclass(frozen=True, eq=False, repr=False)
class Gaussian(NormalMixture):
    """Normal law ``N(m, C)`` in 1D or 2D.

    Parameters
    ----------
    mean : float or array_like of shape (2,)
        m; its shape decides the dimension.
    std : float, keyword only
        Standard deviation > 0, isotropic in 2D. Give exactly one of `std` and `cov`.
    cov : float or array_like of shape (2, 2), keyword only
        Variance in 1D, symmetric positive definite covariance in 2D.

    Raises
    ------
    ValueError
        If neither or both of `std` and `cov` are given, or either is not positive (definite) and finite.

    Examples
    --------
    >>> from fpsolve.laws import Gaussian
    >>> law = Gaussian(1.0, std=0.5)
    >>> float(law.log_density(21.0))  # 40 standard deviations out
    -800.2257913526447
    >>> law.diffused(scale=0.5, variance=0.75)
    Gaussian(0.5, cov=0.8125)
    """

    mean: Any
    std: Any = field(default=None, kw_only=True)
    cov: Any = field(default=None, kw_only=True)
    log_weights: FloatArray = field(init=False)
    component_means: FloatArray = field(init=False)
    component_covs: FloatArray = field(init=False)
    #: What follows from the other arguments, here from `cov`, and is left out where a law is written down.
    derived: ClassVar[tuple[str, ...]] = ("std",)

    def __post_init__(self) -> None:
        mean = location("Gaussian mean", self.mean)
        dim = 1 if mean.ndim == 0 else 2
        covs = frozen(component_covariances("Gaussian", self.std, self.cov, dim, 1))
        isotropic = dim == 1 or (covs[0, 0, 1] == 0.0 and covs[0, 0, 0] == covs[0, 1, 1])
        object.__setattr__(self, "mean", plain(mean))
        object.__setattr__(self, "std", float(np.sqrt(covs[0, 0, 0])) if isotropic else None)
        object.__setattr__(self, "cov", float(covs[0, 0, 0]) if dim == 1 else covs[0])
        object.__setattr__(self, "log_weights", frozen(np.zeros(1)))
        object.__setattr__(self, "component_means", frozen(mean.reshape(1, dim)))
        object.__setattr__(self, "component_covs", covs)

    def __repr__(self) -> str:
        """Return the call that makes this law."""
        return f"Gaussian({np.asarray(self.mean).tolist()}, cov={np.asarray(self.cov).tolist()})"

    @property
    def poincare_constant(self) -> float:
        """Largest variance along any direction."""
        return float(np.max(np.linalg.eigvalsh(np.atleast_2d(self.cov))))

    def diffused(self, scale: float, variance: float) -> "Gaussian":
        """Return ``N(scale m, scale^2 C + variance I)``."""
        means, covs = self.diffused_components(scale, variance)
        return Gaussian(means[0], cov=covs[0]) if self.dim == 2 else Gaussian(means[0, 0], cov=covs[0, 0, 0])

    def axis_marginal(self, axis: int) -> "Gaussian":
        """Return the normal law of coordinate `axis`."""
        return Gaussian(self.component_means[0, axis], cov=self.component_covs[0, axis, axis])


@dataclass(frozen=True, eq=False, repr=False)
class GaussianMixture(SeveralNormals):
    """Mixture ``sum_k w_k N(m_k, C_k)`` of K normal laws in 1D or 2D.

    Parameters
    ----------
    weights : array_like of shape (K,)
        w_k >= 0 with sum 1 (never renormalised); components of weight 0 are left out.
    means : array_like of shape (K,) or (K, 2)
        m_k; the shape decides the dimension.
    stds : float or array_like of shape (K,), keyword only
        Standard deviations > 0, isotropic in 2D. Give exactly one of `stds` and `covs`.
    covs : array_like of shape (K,) or (K, 2, 2), keyword only
        Variances in 1D, symmetric positive definite covariances in 2D.

    Raises
    ------
    ValueError
        If weights are negative or do not sum to 1, a standard deviation is not > 0, a covariance is not
        symmetric positive definite, shapes disagree, or anything is NaN or infinite.

    Examples
    --------
    >>> from fpsolve.laws import GaussianMixture
    >>> law = GaussianMixture(weights=[0.5, 0.5], means=[-2.0, 2.0], stds=[0.3, 0.5])
    >>> law.mean, law.cov
    (0.0, 4.17)
    >>> float(law.score(40.0))  # that of the wider component alone
    -152.0
    """

    weights: Any
    means: Any
    stds: Any = field(default=None, kw_only=True)
    covs: Any = field(default=None, kw_only=True)
    log_weights: FloatArray = field(init=False)
    component_means: FloatArray = field(init=False)
    component_covs: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        weights = probabilities("GaussianMixture weights", self.weights)
        means = lengths("GaussianMixture means", self.means)
        if means.shape not in ((weights.size,), (weights.size, 2)):
            wanted = f"({weights.size},) in 1D or ({weights.size}, 2) in 2D"
            raise ValueError(f"GaussianMixture means: expected shape {wanted}, got {means.shape}.")
        covs = component_covariances("GaussianMixture", self.stds, self.covs, means.ndim, weights.size, plural="s")
        used = weights > 0.0
        for name in ("weights", "means", "stds", "covs"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else frozen(value))
        object.__setattr__(self, "log_weights", frozen(np.log(weights[used])))
        object.__setattr__(self, "component_means", frozen(means.reshape(weights.size, -1)[used]))
        object.__setattr__(self, "component_covs", frozen(covs[used]))

    def __repr__(self) -> str:
        """Return the call that makes this law."""
        name, spread = ("stds", self.stds) if self.covs is None else ("covs", self.covs)
        return f"GaussianMixture({self.weights.tolist()}, {self.means.tolist()}, {name}={spread.tolist()})"

    def diffused(self, scale: float, variance: float) -> "GaussianMixture":
        """Return the mixture of ``N(scale m_k, scale^2 C_k + variance I)`` with the same weights."""
        return mixture_from_arrays(self.log_weights, *self.diffused_components(scale, variance))

    def given(self, label: Any, labels: Any = None) -> "GaussianMixture":
        """Return the law of x given its label: the mixture of the components of that label.

        Parameters
        ----------
        label : hashable
            A label, by default the number of a component from 0; a tuple or list of labels for any of them.
        labels : sequence, optional
            The label of every component, in the order of `weights`; components may share one.

        Raises
        ------
        ValueError
            If no component of positive weight has the label, or there are not as many labels as components.

        Examples
        --------
        >>> from fpsolve.laws import GaussianMixture
        >>> law = GaussianMixture(weights=[0.5, 0.3, 0.2], means=[-2.0, 0.0, 1.0], stds=0.5)
        >>> law.given(2), law.given("right", labels=["left", "right", "right"]).weights.tolist()
        (GaussianMixture([1.0], [1.0], stds=[0.5]), [0.6, 0.4])
        """
        chosen = self._chosen(label, labels)
        spread = {} if self.stds is None else {"stds": np.broadcast_to(self.stds, self.weights.shape)[chosen]}
        if self.covs is not None:
            shape = self.weights.shape if self.dim == 1 else (*self.weights.shape, 2, 2)
            spread = {"covs": np.broadcast_to(self.covs, shape)[chosen]}
        weights = self.weights[chosen]
        return GaussianMixture(weights / weights.sum(), self.means[chosen], **spread)

    def tilted(self, label: Any, power: float, labels: Any = None) -> Law:
        """Return the law proportional to ``p(x) p(label|x)^power``, what guidance is said to sample.

        By quadrature; power 1 is `given` the label, 0 the mixture itself. See `fpsolve.scores.guided`.

        Parameters
        ----------
        label, labels
            As in `given`.
        power : float
            The guidance scale w >= 0.

        Raises
        ------
        ValueError
            As in `given`; a power below 0, for which nothing bounds the tails.

        Examples
        --------
        >>> from fpsolve.laws import GaussianMixture
        >>> law = GaussianMixture(weights=[0.5, 0.5], means=[-1.0, 1.0], stds=0.7)
        >>> round(law.tilted(1, 0.0).mean, 9) == 0.0, round(law.tilted(1, 1.0).mean, 9), law.tilted(1, 3.0).mean > 1.0
        (True, 1.0, True)
        """
        from fpsolve.laws._from_log_density import FromLogDensity

        power = non_negative("power", power)
        share, part = float(self.weights[self._chosen(label, labels)].sum()), self.given(label, labels)

        def log_density(x: FloatArray) -> FloatArray:
            whole = self.log_density(x)
            return np.asarray(whole + power * (np.log(share) + part.log_density(x) - whole))

        return FromLogDensity(log_density, self.dim)

    def _chosen(self, label: Any, labels: Any) -> Any:
        """Which components have the label."""
        known = list(range(self.weights.size)) if labels is None else list(labels)
        if len(known) != self.weights.size:
            raise error("labels", f"one label per component, {self.weights.size}", f"{len(known)}")
        wanted = list(label) if isinstance(label, tuple | list) else [label]
        strangers = [one for one in wanted if one not in known]
        chosen = np.array([one in wanted for one in known])
        if strangers or not self.weights[chosen].sum() > 0.0:
            raise error("label", f"one of {sorted(set(map(str, known)))} with positive weight", repr(label))
        return chosen

    def axis_marginal(self, axis: int) -> "GaussianMixture":
        """Return the 1D mixture of coordinate `axis`."""
        covs = self.component_covs[:, axis, axis, None, None]
        return mixture_from_arrays(self.log_weights, self.component_means[:, axis, None], covs)


def mixture_from_arrays(log_weights: FloatArray, means: FloatArray, covs: FloatArray) -> GaussianMixture:
    """Return a mixture from log weights (K,), means (K, d) and covariances (K, d, d) that another has checked."""
    law = object.__new__(GaussianMixture)
    flat = means.shape[1] == 1
    parts = {
        "weights": np.exp(log_weights), "means": means[:, 0] if flat else means, "stds": None,
        "covs": covs[:, 0, 0] if flat else covs,
        "log_weights": log_weights, "component_means": means, "component_covs": covs,
    }  # fmt: skip
    for name, value in parts.items():
        object.__setattr__(law, name, None if value is None else frozen(value))
    return law
