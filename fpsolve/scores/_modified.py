"""Scores changed on purpose: clipped, smoothed, perturbed, with predicted data held in a range, guided."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np

from fpsolve import _checks
from fpsolve._callables import refuse_signature
from fpsolve._checks import FloatArray, real_array
from fpsolve.processes import Process
from fpsolve.scores._base import Score, breaks_of, name_of
from fpsolve.scores.errors import Scaling, ScoreError


@dataclass(frozen=True, eq=False, repr=False)
class Clipped:
    """The score with its length limited; see `clipped`."""

    score: Score
    limit: float
    dim: int

    def __call__(self, t: float, x: Any) -> FloatArray:
        """Return ``s min(1, limit/|s|)``."""
        value = np.asarray(self.score(t, real_array("x", x)), dtype=np.float64)
        if self.dim == 1:
            return np.clip(value, -self.limit, self.limit)
        length = np.hypot(value[..., 0], value[..., 1])[..., None]
        return np.asarray(value * (self.limit / np.maximum(length, self.limit)))

    @property
    def domain(self) -> Any:
        """Where the score inside is defined, None for everywhere."""
        return getattr(self.score, "domain", None)

    def __repr__(self) -> str:
        """Return the call that makes it, the same text in every run."""
        return f"clipped({name_of(self.score)}, limit={self.limit:g}, dim={self.dim})"


def clipped(score: Score, limit: float, *, dim: int) -> Clipped:
    r"""Return a score whose length is limited, as some samplers do silently.

    .. math:: \hat s = s \min(1, \mathrm{limit}/|s|).

    Parameters
    ----------
    score : callable
        ``score(t, x)``.
    limit : float
        Largest length > 0 (unit 1/length).
    dim : int
        1 or 2: in 2D the length of the vector is limited, not its components.

    Returns
    -------
    Clipped

    Raises
    ------
    ValueError
        If the limit is not > 0.

    Examples
    --------
    >>> clipped(lambda t, x: -x, 1.5, dim=1)(0.1, np.array([1.0, 2.0]))
    array([-1. , -1.5])
    """
    return Clipped(score, _checks.positive("limit", limit), _checks.dimension("dim", dim))


@dataclass(frozen=True, eq=False, repr=False)
class Smoothed:
    """The score averaged over a Gaussian; see `smoothed`."""

    score: Score
    std: float
    dim: int
    nodes: int = 7

    def __call__(self, t: float, x: Any) -> FloatArray:
        """Return ``E s(t, x + std Z)`` by Gauss-Hermite quadrature."""
        points = real_array("x", x)
        total = np.zeros(points.shape)
        for offset, weight in zip(*self._rule, strict=True):
            total += weight * np.asarray(self.score(t, points + self.std * offset), dtype=np.float64)
        return total

    @property
    def domain(self) -> Any:
        """Where the score inside is defined, less what the average reaches; None for everywhere."""
        inner = getattr(self.score, "domain", None)
        if inner is None:
            return None
        reach = self.std * float(np.max(self._rule[0]))
        return inner[0], tuple((low + reach, high - reach) for low, high in inner[1])

    @cached_property
    def _rule(self) -> tuple[FloatArray, FloatArray]:
        """Nodes, (n,) or (n^2, 2), and weights that sum to 1."""
        z, w = np.polynomial.hermite_e.hermegauss(self.nodes)
        w = w / w.sum()
        if self.dim == 1:
            return z, w
        return np.stack(np.meshgrid(z, z), axis=-1).reshape(-1, 2), np.outer(w, w).ravel()

    def __repr__(self) -> str:
        """Return the call that makes it, the same text in every run."""
        return f"smoothed({name_of(self.score)}, std={self.std:g}, dim={self.dim}, nodes={self.nodes})"


def smoothed(score: Score, std: float, *, dim: int, nodes: int = 7) -> Smoothed:
    r"""Return a score averaged over a Gaussian of its points.

    .. math:: \hat s(t, x) = E[s(t, x + \mathrm{std}\, Z)], \qquad Z \sim N(0, I),

    by Gauss-Hermite quadrature, exact for polynomials of degree ``2 nodes - 1``.

    Parameters
    ----------
    score : callable
        ``score(t, x)``; it is evaluated ``nodes**dim`` times.
    std : float
        Standard deviation > 0 of the average.
    dim : int
        1 or 2.
    nodes : int, default 7
        Nodes per axis, at least 2.

    Returns
    -------
    Smoothed

    Raises
    ------
    ValueError
        If the standard deviation is not > 0, or there are fewer than two nodes.

    Examples
    --------
    >>> round(float(smoothed(lambda t, x: -(x**3), 0.5, dim=1)(0.1, np.array(2.0))), 12)  # -(x^3 + 3 x std^2)
    -9.5
    """
    count = _checks.integer("nodes", nodes, minimum=2)
    return Smoothed(score, _checks.positive("std", std), _checks.dimension("dim", dim), count)


@dataclass(frozen=True, eq=False, repr=False)
class Perturbed:
    """The score ``s + e``; see `perturbed`."""

    score: Score
    error: ScoreError | Scaling

    def __call__(self, t: float, x: Any) -> FloatArray:
        """Return ``s(t, x) + e(t, x)``."""
        points = real_array("x", x)
        value = np.asarray(self.score(t, points), dtype=np.float64)
        if isinstance(self.error, Scaling):
            return np.asarray((1.0 + self.error.share) * value)
        return value + _checks.values_at("error", self.error(t, points), points.shape, f"at t = {t:g}")

    @property
    def breaks(self) -> tuple[float, ...]:
        """Times at which score or error jump or bend, where both say them; else there is no such attribute."""
        return (*breaks_of(self.score), *breaks_of(self.error))

    @property
    def jumps(self) -> tuple[float, ...]:
        """What looking in time would find, where score and error say that there is no more."""
        return tuple(sorted({*breaks_of(self.score), *cast(Any, self.error).jumps}))

    @property
    def domain(self) -> Any:
        """Where the score inside is defined, None for everywhere."""
        return getattr(self.score, "domain", None)

    def __repr__(self) -> str:
        """Return the call that makes it, the same text in every run."""
        return f"perturbed({name_of(self.score)}, {name_of(self.error)})"


def perturbed(score: Score, error: ScoreError | Scaling) -> Perturbed:
    r"""Return a score with an error.

    .. math:: \hat s(t, x) = s(t, x) + e(t, x).

    Parameters
    ----------
    score : callable
        ``score(t, x)``; `exact` for an error that is known exactly.
    error : callable or Scaling
        ``error(t, x)`` of the shape of x, in units of the score; ready ones in `fpsolve.scores.errors`: ``Bias``,
        ``Scaling``, ``Sine``, ``Bump``, ``RandomField``, and ``InNoiseUnits`` and ``During`` around them.

    Returns
    -------
    Perturbed
        A callable ``score(t, x)``.

    Raises
    ------
    ValueError
        If one of the two cannot be called; at a call, an error of another shape, NaN or infinite.

    Examples
    --------
    >>> import fpsolve as fp
    >>> from fpsolve.scores import errors
    >>> exact = fp.scores.exact(fp.Gaussian(0.0, std=1.0), fp.OrnsteinUhlenbeck(T=1.0))
    >>> score = perturbed(exact, errors.Bias(0.1))
    >>> float(score(0.5, 2.0))
    -1.9
    >>> score
    perturbed(exact(Gaussian(0.0, cov=1.0), OrnsteinUhlenbeck(T=1.0)), Bias(vector=0.1))
    """
    if not callable(score):
        raise _checks.error("score", "a callable score(t, x)", repr(score)[:60])
    if not isinstance(error, Scaling):
        refuse_signature("error", error, "t, x", "see fpsolve.scores.errors for ready ones")
    return Perturbed(score, error)


@dataclass(frozen=True, eq=False, repr=False)
class ClippedData:
    """The score of predicted data that stay in a range; see `clip_sample`."""

    score: Score
    process: Process
    limit: float

    def __call__(self, t: float, x: Any) -> FloatArray:
        """Return ``(alpha clip(D) - x)/sigma2``, of the shape of x; at t = 0 the score itself."""
        points = real_array("x", x)
        value = np.asarray(self.score(t, points), dtype=np.float64)
        alpha, variance = float(self.process.scale(0.0, t)), float(self.process.variance(0.0, t))
        if variance == 0.0:
            return value
        # alpha times the predicted data
        seen = points + variance * value
        return np.asarray(value + (np.clip(seen, -alpha * self.limit, alpha * self.limit) - seen) / variance)

    @property
    def domain(self) -> Any:
        """Where the score inside is defined, None for everywhere."""
        return getattr(self.score, "domain", None)

    def __repr__(self) -> str:
        """Return the call that makes it, the same text in every run."""
        return f"clip_sample({name_of(self.score)}, {self.process!r}, limit={self.limit:g})"


def clip_sample(score: Score, process: Process, limit: float = 1.0) -> ClippedData:
    r"""Return the score whose predicted data are held in [-limit, limit] in every coordinate.

    .. math:: \hat s(t, x) = \frac{\alpha \min(\max(D, -L), L) - x}{\sigma^2}, \qquad
              D(t, x) = \frac{x + \sigma^2 s(t, x)}{\alpha},

    with ``alpha = alpha(0, t)``, ``sigma^2 = sigma2(0, t)``: the denoiser clipping of the papers, ``clip_sample`` with
    ``clip_sample_range`` L of diffusers' DDPM, and of its DDIM with ``use_clipped_model_output`` (which otherwise goes
    on with the noise predicted before clipping: no score does that). Every sampler takes it as any score.

    Parameters
    ----------
    score : callable ``score(t, x)``
    process : Process
    limit : float, default 1
        L > 0, in units of the data.

    Returns
    -------
    ClippedData

    Raises
    ------
    ValueError
        A limit that is not > 0, a score that cannot be called.

    Notes
    -----
    The map of a step down to t = 0 is clip(D) itself: all that lies beyond becomes two atoms, at -L and L, of the
    mass of {D < -L} and {D > L}. They have no density; kernels keep them in the cells that hold -L and L and warn that
    the map folds. Dynamic thresholding takes quantiles over the pixels of an image, and is the identity or this with
    L = 1 in one or two dimensions: it is not offered.

    References
    ----------
    Ho, Jain and Abbeel 2020, arXiv:2006.11239; Saharia et al. 2022, arXiv:2205.11487, section 2.3.

    Examples
    --------
    >>> import fpsolve as fp
    >>> score = clip_sample(lambda t, x: 0.0 * x, fp.EDM())  # D = x
    >>> score(0.5, np.array([0.9, 1.5]))  # the second as if D = 1
    array([ 0., -2.])
    """
    if not callable(score):
        raise _checks.error("score", "a callable score(t, x)", repr(score)[:60])
    _checks.instances(process=(process, Process))
    return ClippedData(score, process, _checks.positive("limit", limit))


_REMEDY = "guided takes scores: convert a network by from_noise_prediction, from_denoiser, ... first"


@dataclass(frozen=True, eq=False, repr=False)
class Guided:
    """The score ``s_u + w (s_c - s_u)``; see `guided`."""

    unconditional: Score
    conditional: Score
    w: float
    interval: tuple[float, float] | None = None

    def __call__(self, t: float, x: Any) -> FloatArray:
        """Return the guided score at the points x, of their shape; outside of the interval the conditional one."""
        points = real_array("x", x)
        conditional = np.asarray(self.conditional(t, points), dtype=np.float64)
        if self.w == 1.0 or not (self.interval is None or self.interval[0] < t <= self.interval[1]):
            return conditional
        other = np.asarray(self.unconditional(t, points), dtype=np.float64)
        return np.asarray(other + self.w * (conditional - other))

    @property
    def breaks(self) -> tuple[float, ...]:
        """Times at which the score jumps: the ends of the interval, and those of the scores inside."""
        inside = [t for score in (self.unconditional, self.conditional) for t in getattr(score, "breaks", ())]
        return tuple(sorted({*(self.interval or ()), *inside} - {0.0, float("inf")}))

    @property
    def domain(self) -> Any:
        """Where both scores are defined, None for everywhere."""
        found = [getattr(score, "domain", None) for score in (self.unconditional, self.conditional)]
        domains = [one for one in found if one is not None]
        if len(domains) < 2:
            return domains[0] if domains else None
        parts = [(one[0], *one[1]) for one in domains]
        low_high = [(max(a[0] for a in part), min(a[1] for a in part)) for part in zip(*parts, strict=True)]
        return low_high[0], tuple(low_high[1:])

    def __repr__(self) -> str:
        """Return the call that makes it, the same text in every run."""
        limits = "" if self.interval is None else f", interval={self.interval}"
        return f"guided({name_of(self.unconditional)}, {name_of(self.conditional)}, w={self.w:g}{limits})"


def guided(
    unconditional: Score, conditional: Score, w: float, *, interval: tuple[float, float] | None = None
) -> Guided:
    r"""Return the score of classifier-free guidance,

    .. math:: s_w(t, x) = s_u(t, x) + w \, (s_c(t, x) - s_u(t, x)).

    ``w = 0`` is unconditional, ``w = 1`` conditional, ``w > 1`` guided: `guidance_scale` of the diffusers library. Ho
    and Salimans write ``(1 + w') eps_c - w' eps_u``, so their guidance strength is ``w' = w - 1``. Noise predictions,
    denoisers and velocities are affine in the score: guiding them, as samplers do, is the same.

    At t = 0 this is the score of the tilted law ``p(x) p(c|x)^w`` (up to a factor), `GaussianMixture.tilted`; at t > 0
    it is *not* the score of that law diffused, unless w is 0 or 1, so that guidance does not sample the tilted law. How
    far what it samples is from it is a number, see the example.

    Parameters
    ----------
    unconditional, conditional : callable
        Scores ``score(t, x)``; `exact` of a mixture and of `GaussianMixture.given` a label, or models.
    w : float
        Guidance scale, any finite number.
    interval : (low, high), optional
        Guide at forward times ``low < t <= high`` only, and take the conditional score at the others (guidance in a
        limited interval of noise levels: in `EDM` and `VE` with ``sigma = t`` these are the levels themselves).

    Returns
    -------
    Guided
        A callable ``score(t, x)``; `breaks` says where it jumps.

    Raises
    ------
    ValueError
        If a score cannot be called, w is not finite, or not ``0 <= low < high``.

    References
    ----------
    Ho and Salimans 2022, arXiv:2207.12598; Kynkaanniemi et al. 2024, arXiv:2404.07724.

    Examples
    --------
    Two classes, guided towards the second with w = 3:

    >>> import fpsolve as fp
    >>> data = fp.GaussianMixture(weights=[0.5, 0.5], means=[-1.0, 1.0], stds=[0.7, 0.7])
    >>> process, wanted = fp.VP(), data.given(1)
    >>> score = guided(fp.scores.exact(data, process), fp.scores.exact(wanted, process), w=3.0)
    >>> reverse = fp.Reverse(wanted, process, score=score)
    >>> run = fp.evolve(reverse, {"guided": reverse.marginal(1.0)}, t_min=1e-3, tol=1e-3)
    >>> sampled = run.density.isel(start=0, t=-1)
    >>> tilted = sampled.copy(data=run.fpsolve.grid.cell_average(data.tilted(1, 3.0)))
    >>> apart = fp.distances.total_variation(sampled, tilted)  # the law at t = 1e-3, of an error below
    >>> round(float(apart.distance), 3), bool(run.error_estimate[0, -1] < 1e-3)
    (0.18, True)
    """
    for name, score in (("unconditional", unconditional), ("conditional", conditional)):
        refuse_signature(name, score, "t, x", _REMEDY)
    if interval is not None:
        ends = _checks.real_array("interval", interval)
        if ends.shape != (2,) or not 0.0 <= ends[0] < ends[1]:
            raise _checks.error("interval", "two forward times 0 <= low < high", repr(interval)[:60])
        interval = float(ends[0]), float(ends[1])
    return Guided(unconditional, conditional, _checks.finite("w", w), interval)
