"""Constants in closed form: normal kernels and the gap of linear diffusions, and for Gaussian mixtures dissipativity,
slope of the score, drift and overlap of a block.

The Poincare constant of any other law on the line comes from the gap of a reversible chain on a fine grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fpsolve._checks import digits, error, instances, interval, same_dim
from fpsolve.laws import Law

if TYPE_CHECKING:
    from fpsolve.processes import Process


Array = NDArray[np.float64]

#: ``max over u of u / (4 cosh(u/2)^2)``, rounded up.
_PEAK = 0.2240


@dataclass(frozen=True)
class Spectrum:
    """Numbers of a Gaussian mixture that closed-form constants are made of.

    Attributes
    ----------
    v_min, v_max : float
        Smallest and largest eigenvalue of the components' covariances.
    radius : float
        Largest norm of a component's mean.
    dim : int
    """

    v_min: float
    v_max: float
    radius: float
    dim: int


def is_mixture(law: Law) -> bool:
    """Whether the law is a finite Gaussian mixture, not one that only approximates it (Student's t)."""
    mixture = law.components
    return mixture is not None and mixture.tail.power == 2.0


def spectrum(law: Law) -> Spectrum | None:
    """Return the numbers of a Gaussian mixture, None for any other law."""
    mixture = law.components
    if mixture is None or not is_mixture(law):
        return None
    values = np.linalg.eigvalsh(mixture.component_covs)
    radius = float(np.sqrt(np.max(np.sum(mixture.component_means**2, axis=1))))
    return Spectrum(float(values.min()), float(values.max()), radius, law.dim)


def dissipativity(numbers: Spectrum, share: float = 0.5) -> tuple[float, float]:
    """Return A, B with ``x . grad log p(x) <= -A |x|^2 + B`` for a Gaussian mixture.

    ``x . score <= -|x|^2/v_max + M |x|/v_min`` and Young's inequality with ``A = share/v_max``,
    ``B = M^2 v_max/(4 (1 - share) v_min^2)``, 0 < share < 1; a centred Gaussian has B = 0 at share = 1.
    """
    if numbers.radius == 0.0:
        return 1.0 / numbers.v_max, 0.0
    return share / numbers.v_max, numbers.radius**2 * numbers.v_max / (4.0 * (1.0 - share) * numbers.v_min**2)


def growth(numbers: Spectrum) -> float:
    """Return C with ``|grad log p(x)| <= C (1 + |x|)``: ``(|x| + M)/v_min`` is at most that."""
    return max(1.0, numbers.radius) / numbers.v_min


def score_slope(law: Law) -> float | None:
    r"""Return an upper bound of the largest eigenvalue of ``\nabla^2 log p`` over all x, None where there is none.

    With posterior weights r_k and ``u_k = C_k^{-1}(m_k - x)``, ``\nabla^2 log p = -sum r_k C_k^{-1} + Cov_r(u)``. The
    first term is at most ``-1/v_max``. Along a direction the covariance is ``sum_{k<l} r_k r_l (e.(u_k - u_l))^2``,
    where ``u_k - u_l`` is the gradient of ``l = log(w_k N_k/w_l N_l)`` and ``r_k r_l <= 1/(4 cosh^2(l/2))``:

    * equal covariances C: the u_k lie within the diameter of the points ``C^{-1} m_k``: at most its square over 4;
    * else l is quadratic with Hessian Q and value c at its vertex: where Q is definite or zero,
      ``|grad l|^2 <= 2 |Q| |l - c|``, and each pair adds at most ``2 |Q| (0.224 + |c|/4)``; an indefinite Q has no such
      bound.
    """
    mixture = law.components
    if mixture is None or not is_mixture(law):
        return None
    covs, means = mixture.component_covs, mixture.component_means
    top = float(np.max(-1.0 / np.linalg.eigvalsh(covs)[:, -1]))
    if np.all(covs == covs[0]):
        from scipy.spatial.distance import pdist

        pulled = np.linalg.solve(covs[0], means.T).T
        return top + 0.25 * float(np.max(pdist(pulled), initial=0.0)) ** 2
    pairs = [
        _pair_spread(mixture.log_weights[[k, m]], means[[k, m]], covs[[k, m]])
        for k in range(len(means))
        for m in range(k)
    ]
    return None if any(p is None for p in pairs) else top + sum(p for p in pairs if p is not None)


def chi_between(law: Law) -> float:
    """Return ``max chi^2(N_k|N_l)`` over the components of a Gaussian mixture, infinite where one is or for other laws.

    ``1 + chi^2 = |C_l|/(|C_k| |2 C_l - C_k|)^(1/2) exp(d.(2 C_l - C_k)^(-1) d)``, d the difference of the means, where
    ``2 C_l - C_k`` is positive definite.
    """
    mixture = law.components
    if mixture is None or not is_mixture(law):
        return float("inf")
    covs, means = mixture.component_covs, mixture.component_means
    if np.all(covs == covs[0]):
        from scipy.spatial.distance import pdist

        pulled = np.linalg.solve(np.linalg.cholesky(covs[0]), means.T).T
        logs = np.max(pdist(pulled), initial=0.0) ** 2
    else:
        gaps, wide = means[:, None] - means, 2.0 * covs - covs[:, None]
        if np.min(np.linalg.eigvalsh(wide)) <= 0.0:
            return float("inf")
        pulled = np.linalg.solve(wide, gaps[..., None])[..., 0]
        sizes = np.linalg.slogdet(covs)[1]
        logs = np.max(sizes - 0.5 * (sizes[:, None] + np.linalg.slogdet(wide)[1]) + np.sum(gaps * pulled, axis=-1))
    return float(np.expm1(logs)) if logs < 700.0 else float("inf")


def _pair_spread(log_weights: Array, means: Array, covs: Array) -> float | None:
    """Upper bound of ``r_k r_l |u_k - u_l|^2`` over all x."""
    precisions = np.linalg.inv(covs)
    hessian = precisions[1] - precisions[0]
    slopes = np.linalg.eigvalsh(hessian)
    largest = float(np.max(np.abs(slopes)))
    if largest <= 1e-12 * float(np.max(precisions)):
        return 0.25 * float(np.sum(np.square(precisions[0] @ (means[0] - means[1]))))
    if np.min(slopes) * np.max(slopes) <= 0.0:
        return None
    vertex = np.linalg.solve(hessian, precisions[1] @ means[1] - precisions[0] @ means[0])
    heights = [
        log_weights[k]
        - 0.5 * np.linalg.slogdet(covs[k])[1]
        - 0.5 * (vertex - means[k]) @ precisions[k] @ (vertex - means[k])
        for k in range(2)
    ]
    return 2.0 * largest * (_PEAK + 0.25 * abs(float(heights[0] - heights[1])))


def drift_constants(
    target: Law, process: Process, eta: float, t0: float, t1: float, share: float = 0.5
) -> tuple[float, float] | None:
    r"""Return gamma, K with ``P |x|^2 <= gamma |x|^2 + K`` for the block t0 -> t1, exact score; None without constants.

    From ``x . score(t, x) <= -|x|^2/S_t + B + d``, ``S_t = alpha(0,t)^2/A + sigma2(0,t)``, with A, B of the target:
    for ``alpha = alpha(t1, t0)`` and ``rho = S_{t1} alpha^2/S_{t0}``,

    .. math:: \gamma = \rho^{1 + \eta^2}/\alpha^2, \qquad
              K = [(1 + \eta^2)(B + d) + \eta^2 d]\; S_{t_1}\, (1 - \rho^{\eta^2})/\eta^2 .

    At eta = 1 that is ``gamma = (alpha S_{t1}/S_{t0})^2`` and ``K = (2B + 3d) sigma2(t1, t0) S_{t1}/S_{t0}``.
    """
    numbers = spectrum(target)
    if numbers is None:
        return None
    a, b = dissipativity(numbers, share)
    first, last = (process.scale(0.0, t) ** 2 / a + process.variance(0.0, t) for t in (t0, t1))
    alpha = float(process.scale(t1, t0))
    if alpha == 0.0:
        # with noise everything is forgotten at once: rho = gamma = 0; without it K has no limit
        noisy = (1.0 + eta**2) * (b + numbers.dim) + eta**2 * numbers.dim
        return (0.0, noisy * float(last) / eta**2) if eta > 0.0 else None
    # 1 - rho = sigma2(t1, t0)/S_{t0}, without cancellation on short blocks
    log_rho = float(np.log1p(-process.variance(t1, t0) / first))
    power = (1.0 + eta**2) * (b + numbers.dim) + eta**2 * numbers.dim
    shape = -log_rho if eta == 0.0 else -float(np.expm1(eta**2 * log_rho)) / eta**2
    return float(np.exp((1.0 + eta**2) * log_rho)) / alpha**2, power * float(last) * shape


def overlap(law: Law, added: float, square_distance: Array) -> Array | None:
    """Return lower bounds of ``1 - TV(P(x, .), P(y, .))`` for the exact kernel, by the distance of x and y.

    The rows of Bayes' kernel are exponential tilts of one another, so ``KL <= |x - y|^2 (L + 1/sigma2)/2`` with
    ``sigma2 = sigma2(t1, t0)`` and L the largest slope of the score at t0; then the better of Pinsker's inequality and
    that of Bretagnolle and Huber 1979, doi:10.1007/BF00535268.

    Parameters
    ----------
    law : Law
        p_{t0}.
    added : float
        sigma2(t1, t0).
    square_distance : array
        ``|x - y|^2``.
    """
    slope = score_slope(law)
    if slope is None:
        return None
    kl = 0.5 * square_distance * max(slope + 1.0 / added, 0.0)
    return np.asarray(1.0 - np.minimum(np.sqrt(0.5 * kl), np.sqrt(-np.expm1(-kl))))


_CELLS, _MOST_CELLS, _ITERATIONS = 4000, 40_000, 500
#: Cells per standard deviation of the narrowest component, where that takes more.
_PER_WIDTH = 20
#: Smallest density, relative to the largest, that still counts; a deeper valley makes the constant infinite.
_DEEPEST = 1e-250
#: Half-widths of a box that make sense, and the cells in it that must hold the law.
_REACHES, _LEAST_INSIDE = (1e-3, 1e6), 3


def spectral_gap_constant(law: Law, reach: float = 12.0) -> float:
    r"""Return the Poincare constant of a law in 1D on a box: one over the spectral gap of its Langevin dynamics.

    Inverse power iteration on ``-(p f')'/p``: each round solves ``p f' = int_x^inf g p`` (g of mean zero) by sums that
    do not cancel, so a gap of 1e-12 has as many correct digits as one of 1. An estimate, second order in the cell
    width; for tails heavier than exponential the true constant is infinite, and this one grows with `reach`.

    Parameters
    ----------
    law : Law
        In 1D, with a variance.
    reach : float
        Half-width of the box in standard deviations, from 1e-3 to 1e6: around every component of a Gaussian mixture,
        those of small weight included, around the mean of any other law.

    Returns
    -------
    float
        C in ``Var f <= C E |f'|^2``; inf where the density between two modes underflows.

    Raises
    ------
    ValueError
        A law in 2D, a reach so large that hardly a cell holds the law.

    Examples
    --------
    >>> import fpsolve as fp
    >>> round(spectral_gap_constant(fp.Gaussian(1.0, std=0.5)), 5)
    0.25
    """
    instances(law=(law, Law))
    same_dim("law", law.dim, "the line", 1)
    # beyond the tails of a law there is nothing to see, and within a small part of it there is no law
    low, high = _box(law, interval("reach", reach, *_REACHES, remedy="about 12 holds a law with its tails"))
    needed = int(_PER_WIDTH * (high - low) / law.smallest_std) if law.smallest_std > 0.0 else 0
    points = np.linspace(low, high, 2 * min(max(_CELLS, needed), _MOST_CELLS) + 1)
    logs = law.log_density(points)
    with np.errstate(under="ignore"):
        values = np.exp(logs - np.max(logs))
    p, between = values[1::2], values[2:-1:2]
    inside = np.flatnonzero(p > _DEEPEST)
    if inside.size < _LEAST_INSIDE:
        got = f"{inside.size} of {p.size} cells of a box of {digits(high - low)}"
        raise error("reach", f"a box in which at least {_LEAST_INSIDE} cells hold the law", got, "take a smaller one")
    p, between = p[inside[0] : inside[-1] + 1], between[inside[0] : inside[-1]]
    if np.any(between <= _DEEPEST):
        return float("inf")
    width = points[2] - points[0]
    return _inverse_power(p / p.sum(), between / (p.sum() * width**2))


def _box(law: Law, reach: float) -> tuple[float, float]:
    mixture = law.components if is_mixture(law) else None
    if mixture is None:
        mean, half = float(np.asarray(law.mean)), reach * float(np.sqrt(np.asarray(law.cov)))
        return mean - half, mean + half
    means, half_widths = mixture.component_means[:, 0], reach * np.sqrt(mixture.component_covs[:, 0, 0])
    return float(np.min(means - half_widths)), float(np.max(means + half_widths))


def _inverse_power(p: Array, conductance: Array) -> float:
    """Largest eigenvalue of the inverse of the chain with stationary law p and the given conductances."""
    f, constant = np.arange(p.size, dtype=float), 0.0
    for _ in range(_ITERATIONS):
        # behind a deep valley f is as large as the constant: divided before it is squared
        f = (f - p @ f) / np.max(np.abs(f))
        f /= np.sqrt(p @ np.square(f))
        mass = p * f
        left, right = np.cumsum(mass)[:-1], np.cumsum(mass[::-1])[::-1][1:]
        # the two sums are opposite; the one with fewer terms to cancel is the smaller part of the mass
        flux = np.where(np.cumsum(p)[:-1] < 0.5, -left, right)
        f = np.append(0.0, np.cumsum(flux / conductance))
        size = float(np.max(np.abs(f)))
        before, constant = constant, size * float(np.sqrt(p @ np.square((f - p @ f) / size)))
        if abs(constant - before) < 1e-13 * constant:
            break
    return constant


#: Points looked at in and beyond the core, how far out in units of it, cells halved at once, how often.
_SCAN, _OUT, _HALVED, _TIMES = 4001, 1e3, 32, 40


def steepest(of: Callable[[Array], tuple[Array, Array]], core: float) -> tuple[float, float]:
    """The largest slope of an increasing function that is a straight line far out, and where it is.

    ``of(x)`` gives values and slopes. Between two points the function rises by the integral of its slope, so a maximum
    that no point has hit shows in the rise: cells are halved where the slopes of their ends, and what they fail to
    explain of the rise, are largest.
    """
    outer = np.geomspace(core, _OUT * core, _SCAN // 10)[1:]
    x = np.concatenate([-outer[::-1], np.linspace(-core, core, _SCAN), outer])
    value, slope = of(x)
    for _ in range(_TIMES):
        missed = np.abs(np.diff(value) / np.diff(x) - 0.5 * (slope[1:] + slope[:-1]))
        most = np.maximum(slope[1:], slope[:-1]) + 8.0 * missed
        # roundings of equal values are no rise
        worst = np.sort(np.argsort(-np.where(np.diff(x) > 1e-9 * core, most, -np.inf))[:_HALVED])
        middle = 0.5 * (x[worst] + x[worst + 1])
        more = of(middle)
        x, value, slope = (np.insert(a, worst + 1, b) for a, b in zip((x, value, slope), (middle, *more), strict=True))
    at = int(np.argmax(slope))
    return float(slope[at]), float(x[at])
