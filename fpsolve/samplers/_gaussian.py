"""Methods with one score per step and Gaussian noise, ``A x + B s + C Z``, and what all samplers share: levels of
noise, the predicted noise and data of a score, and the exponential transfer.

With ``alpha = alpha(0,t)``, ``V = sigma2(0,t)``, ``s = sqrt(V)`` the score tells the noise ``e = -s score`` and the
data ``D = (x + V score)/alpha``; ``lambda = log(alpha/s)``. A frozen D is carried from t to t' exactly by ``x' = (s'/s)
x + alpha' (1 - e^{-h}) D``, ``h = lambda' - lambda``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from fpsolve import _checks
from fpsolve.processes import Process
from fpsolve.samplers._step import Array, GaussianStep, MapStep, Sampler, Score, nothing_left

#: Where alpha(0, t) = 0, data are predicted from alpha/s at 1 to 4 times this, and may differ by this share.
_NEAR, _UNSURE = 3e-4, 1e-4


def scale_and_std(process: Process, t: float) -> tuple[float, float]:
    """Return alpha(0, t) > 0 and the standard deviation of the noise at t."""
    alpha = float(process.scale(0.0, t))
    if not alpha > 0.0:
        raise nothing_left(t)
    return alpha, math.sqrt(float(process.variance(0.0, t)))


def log_snr(process: Process, t: float) -> float:
    """Return ``log(alpha/s)``: infinite at 0, minus infinity where no data are left."""
    alpha, std = float(process.scale(0.0, t)), math.sqrt(float(process.variance(0.0, t)))
    if std == 0.0 or alpha == 0.0:
        return math.inf if std == 0.0 else -math.inf
    return math.log(alpha) - math.log(std)


def rise(process: Process, t_from: float, t_to: float) -> float:
    """Return ``h = lambda(t_to) - lambda(t_from) > 0``, infinite at both ends."""
    return log_snr(process, t_to) - log_snr(process, t_from)


def middle(process: Process, t_from: float, t_to: float) -> float:
    """Return the time half-way between two others in lambda."""
    from scipy.optimize import brentq

    scale_and_std(process, t_from)
    wanted = 0.5 * (log_snr(process, t_from) + log_snr(process, t_to))
    return float(brentq(lambda t: log_snr(process, t) - wanted, t_to, t_from, xtol=1e-15 * t_from, rtol=1e-14))


def noise(process: Process, score: Score, t: float, x: Array) -> Array:
    """Return the predicted noise."""
    return np.asarray(-math.sqrt(float(process.variance(0.0, t))) * score(t, x))


def data(process: Process, score: Score, t: float, x: Array) -> Array:
    """Return the predicted data; where alpha = 0 their limit, which a model of the data or of the velocity has.

    Raises
    ------
    ValueError
        A score whose predicted data have no limit, as those of a predicted noise that is not exact.
    """
    alpha = float(process.scale(0.0, t))
    if alpha > 0.0:
        return np.asarray((x + float(process.variance(0.0, t)) * score(t, x)) / alpha)
    from scipy.optimize import brentq

    near = []
    for k in range(1, 5):
        level = math.log(k * _NEAR)
        u = float(brentq(lambda t, level=level: max(log_snr(process, t), -1e3) - level, 1e-6 * t, t, xtol=1e-15 * t))
        near.append(data(process, score, u, x))
    limit = 4.0 * near[0] - 6.0 * near[1] + 4.0 * near[2] - near[3]
    off = float(np.max(np.abs(limit - 3.0 * near[0] + 3.0 * near[1] - near[2]), initial=0.0))
    if not off <= _UNSURE * (1.0 + float(np.max(np.abs(limit), initial=0.0))):
        remedy = "predict data or a velocity (fpsolve.scores.from_denoiser), or begin shortly before"
        expected = f"predicted data with a limit at t = {_checks.digits(t)}, where alpha = 0"
        raise _checks.error("score", expected, f"a change by {off:.3g}", remedy)
    return limit


def transfer(process: Process, t_from: float, t_to: float, sharper: float = 1.0) -> tuple[float, float]:
    """Return ``(s'/s) e^{-(sharper - 1) h}`` and ``alpha' (1 - e^{-sharper h})``: how x and frozen data go on."""
    h = rise(process, t_from, t_to)
    end, std = (math.sqrt(float(process.variance(0.0, t))) for t in (t_to, t_from))
    kept = end / std * (math.exp(-(sharper - 1.0) * h) if sharper > 1.0 else 1.0)
    return kept, -float(process.scale(0.0, t_to)) * math.expm1(-sharper * h)


# 16 Gauss-Legendre nodes integrate g(u)^2 / alpha(t', u) over a step to rounding for every smooth schedule.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)


@dataclass(frozen=True)
class EulerMaruyama(Sampler):
    r"""Euler-Maruyama: every coefficient frozen at the start of the step; weak order 1.

    .. math:: y' = y + h\,[-a(t)\,y + \tfrac{1+\eta^2}{2} g(t)^2 s(t, y)] + \eta\, g(t) \sqrt{h}\, Z,
              \qquad h = t - t'

    with all coefficients at the forward time ``t = t_from`` where the step starts: ``A = 1 - a h``, ``B = (1 + eta^2)/2
    g^2 h``, ``C = eta g sqrt(h)``.

    Parameters
    ----------
    eta : float, optional
        Noise knob: 1 the reverse SDE, 0 the probability flow (then this is the explicit Euler method). Default that of
        the dynamics.

    References
    ----------
    Maruyama, G. (1955). Continuous Markov processes and stochastic equations. Rend. Circ. Mat. Palermo 4,
    48-90, doi:10.1007/BF02846028. Anderson, B. D. O. (1982). Reverse-time diffusion equation models.
    Stochastic Process. Appl. 12, 313-326, doi:10.1016/0304-4149(82)90051-5.
    """

    eta: float | None = None
    name: ClassVar[str] = "euler-maruyama"

    def __post_init__(self) -> None:
        if self.eta is not None:
            _checks.non_negative("eta", self.eta)

    def step(self, process: Process, eta: float, t_from: float, t_to: float) -> GaussianStep:
        """Return the step, see `Sampler.step`."""
        h = t_from - t_to
        a, g = float(process.drift_rate(t_from)), float(process.diffusion(t_from))
        return GaussianStep(
            t_from,
            t_to,
            linear=1.0 - a * h,
            score=0.5 * (1.0 + eta**2) * g**2 * h,
            std=eta * g * math.sqrt(h),
        )


@dataclass(frozen=True)
class ExponentialIntegrator(Sampler):
    r"""Exponential integrator: the score frozen at the start of the step, the linear part and the noise exact.

    With the score frozen at ``s = s(t, y)``, ``dY = [-a Y + (1+eta^2)/2 g^2 s] dr + eta g dB`` is linear
    and its solution from forward time ``t = t_from`` to ``t' = t_to`` is exactly

    .. math:: y' = \frac{y}{\alpha(t',t)}
              + \frac{1+\eta^2}{2}\, s \int_{t'}^{t} \frac{g(u)^2}{\alpha(t',u)}\,du
              + \eta\, \frac{\sigma(t',t)}{\alpha(t',t)}\, Z .

    The noise needs no quadrature: ``int g(u)^2 / alpha(t',u)^2 du = sigma2(t',t) / alpha(t',t)^2`` for
    every linear process. The integral in front of the score is ``sigma2(t',t)`` where a = 0 (VE, EDM) and
    ``2 sigma^2 (1/alpha - 1)`` for variance-preserving schedules (``g^2 = -2 sigma^2 a``); sub-VP has no
    such form, so all processes take the same 16-point Gauss-Legendre rule, which agrees with both to
    rounding.

    Parameters
    ----------
    eta : float, optional
        Noise knob: 1 the reverse SDE, 0 the probability flow. Default that of the dynamics.
    frozen : {"score", "modified"}
        What is frozen at the start of the step: s, or the modified score ``s + y/sigma^2`` of variance-preserving
        processes with stationary law N(0, sigma^2), which leaves the linear part ``eta^2 a y``.

    Raises
    ------
    ValueError
        `frozen` is "modified" for a process that is not variance preserving.

    References
    ----------
    Zhang, Q. and Chen, Y. (2023). Fast sampling of diffusion models with exponential integrator. ICLR,
    arXiv:2204.13902. De Bortoli, V. (2022). Convergence of denoising diffusion models under the manifold
    hypothesis. TMLR, arXiv:2208.05314. Strasman et al. (2025), arXiv:2402.04650 (modified score).
    """

    eta: float | None = None
    frozen: Literal["score", "modified"] = "score"
    name: ClassVar[str] = "exponential-integrator"

    def __post_init__(self) -> None:
        if self.eta is not None:
            _checks.non_negative("eta", self.eta)
        _checks.one_of("frozen", self.frozen, ("score", "modified"))

    def step(self, process: Process, eta: float, t_from: float, t_to: float) -> GaussianStep:
        """Return the step, see `Sampler.step`."""
        half = 0.5 * (t_from - t_to)
        nodes = t_to + half * (1.0 + _NODES)
        if self.frozen == "modified":
            return self._modified(process, eta, t_from, t_to, half, nodes)
        alpha = float(process.scale(t_to, t_from))
        variance = float(process.variance(t_to, t_from))
        integrand = np.asarray(process.diffusion(nodes)) ** 2 / np.asarray(process.scale(t_to, nodes))
        return GaussianStep(
            t_from,
            t_to,
            linear=1.0 / alpha,
            score=0.5 * (1.0 + eta**2) * half * float(_WEIGHTS @ integrand),
            std=eta * math.sqrt(variance) / alpha,
        )

    @staticmethod
    def _modified(
        process: Process, eta: float, t_from: float, t_to: float, half: float, nodes: np.ndarray
    ) -> GaussianStep:
        """The step of ``dY = [eta^2 a Y + (1+eta^2)/2 g^2 (s + y/sigma^2)] dr + eta g dB``, last bracket frozen."""
        power, variance = np.asarray(process.diffusion(nodes)) ** 2, process.prior_std**2
        if np.max(np.abs(power + 2.0 * variance * np.asarray(process.drift_rate(nodes)))) > 1e-9 * np.max(power):
            raise _checks.error("frozen", "'score' for a process that is not variance preserving", "'modified'")
        propagator = np.asarray(process.scale(t_to, nodes)) ** (eta**2)
        pull = 0.5 * (1.0 + eta**2) * half * float(_WEIGHTS @ (power * propagator))
        return GaussianStep(
            t_from,
            t_to,
            linear=float(process.scale(t_to, t_from)) ** (eta**2) + pull / variance,
            score=pull,
            std=eta * math.sqrt(half * float(_WEIGHTS @ (power * propagator**2))),
        )


@dataclass(frozen=True)
class DDPM(Sampler):
    r"""Ancestral sampling: draw ``X_{t'}`` given ``X_t = x`` and ``X_0 = \hat x_0(x)``, Tweedie's denoised point.

    With ``a = alpha(t',t)``, ``v = sigma2(t',t)``, ``V = sigma2(0,t)``, ``V' = sigma2(0,t')``, the posterior of a
    Gaussian chain has the mean and variance

    .. math:: m(x) = \frac{x + v\, s(t, x)}{a}, \qquad \frac{v V'}{V},

    for every linear process: the scales alpha(0, .) cancel. The method carries the noise of the reverse SDE, eta = 1.

    Parameters
    ----------
    variance : {"posterior", "forward", "fixed_small", "fixed_large"}
        ``v V'/V`` or ``v``, the two choices of Ho et al. (their beta-tilde and beta); the last two names are those of
        their code and of diffusers for the same two.

    References
    ----------
    Ho, Jain and Abbeel 2020, arXiv:2006.11239, equations (6), (7) and (11).

    Examples
    --------
    >>> import fpsolve as fp
    >>> made = DDPM().step(fp.EDM(), 1.0, 2.0, 1.0)
    >>> made.linear, made.score, made.std
    (1.0, 3.0, 0.866...)
    """

    variance: Literal["posterior", "forward", "fixed_small", "fixed_large"] = "posterior"
    name: ClassVar[str] = "ddpm"
    from_noise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _checks.one_of("variance", self.variance, ("posterior", "forward", "fixed_small", "fixed_large"))

    @property
    def eta(self) -> float:
        """1: the noise is that of the reverse SDE."""
        return 1.0

    def step(self, process: Process, eta: float, t_from: float, t_to: float) -> GaussianStep | MapStep:
        """Return the step, see `Sampler.step`; `eta` is not used."""
        alpha, added = float(process.scale(t_to, t_from)), float(process.variance(t_to, t_from))
        share = float(process.variance(0.0, t_to)) / float(process.variance(0.0, t_from))
        kept = added * share if self.variance in ("posterior", "fixed_small") else added
        if alpha == 0.0:
            return _from_noise(process, t_from, t_to, 0.0, math.sqrt(kept))
        return GaussianStep(t_from, t_to, linear=1.0 / alpha, score=added / alpha, std=math.sqrt(kept))


@dataclass(frozen=True)
class DDIM(Sampler):
    r"""DDIM with the stochasticity of the dynamics, ``0 <= eta <= 1``: 0 deterministic, 1 ancestral.

    With ``V = sigma2(0,t)``, ``V' = sigma2(0,t')``, ``a = alpha(t',t)``, ``v = sigma2(t',t)``, the denoised point
    ``x0 = (x + V s)/alpha(0,t)``, the noise ``e = -sqrt(V) s`` and ``\varsigma^2 = eta^2 v V'/V``,

    .. math:: x' = \alpha(0,t')\,x_0 + \sqrt{V' - \varsigma^2}\,e + \varsigma Z
              = \frac{x}{a} + \Big(\frac{V}{a} - \sqrt{(V' - \varsigma^2) V}\Big) s + \varsigma Z .

    It tends to the reverse dynamics with the same eta as the steps shrink; eta = 1 is `DDPM`.

    Parameters
    ----------
    eta : float, optional
        In [0, 1]: beyond, the square root has no sense at every step. Default that of the dynamics.

    Raises
    ------
    ValueError
        eta outside of [0, 1].

    References
    ----------
    Song, Meng and Ermon 2021, arXiv:2010.02502, equations (12) and (16).

    Examples
    --------
    >>> import fpsolve as fp
    >>> made = DDIM().step(fp.EDM(), 0.0, 2.0, 1.0)
    >>> made.linear, made.score, made.std
    (1.0, 2.0, 0.0)
    """

    eta: float | None = None
    name: ClassVar[str] = "ddim"
    from_noise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.eta is not None:
            self._checked(self.eta)

    def step(self, process: Process, eta: float, t_from: float, t_to: float) -> GaussianStep | MapStep:
        """Return the step, see `Sampler.step`."""
        self._checked(eta)
        alpha, added = float(process.scale(t_to, t_from)), float(process.variance(t_to, t_from))
        before, after = float(process.variance(0.0, t_from)), float(process.variance(0.0, t_to))
        drawn = eta**2 * added * after / before
        # V' - drawn >= V' (1 - v/V) >= 0 up to rounding
        kept = max(after - drawn, 0.0)
        if alpha == 0.0:
            return _from_noise(process, t_from, t_to, math.sqrt(kept / before), math.sqrt(drawn))
        factor = before / alpha - math.sqrt(kept * before)
        return GaussianStep(t_from, t_to, linear=1.0 / alpha, score=factor, std=math.sqrt(drawn))

    @staticmethod
    def _checked(eta: float) -> None:
        _checks.interval("eta", eta, 0.0, 1.0, remedy="for more noise use euler-maruyama or exponential-integrator")


@dataclass(frozen=True)
class Euler(DDIM):
    r"""Euler's method for the probability flow in ``y = x/alpha`` over ``sigma = s/alpha``, as in k-diffusion.

    .. math:: y' = y + (\sigma' - \sigma)\, e(t, x)

    with the predicted noise e: the map of `DDIM` at eta = 0.

    References
    ----------
    Karras et al. 2022, arXiv:2206.00364, equation (1); Song, Meng and Ermon 2021, arXiv:2010.02502, equation (13).
    """

    eta: float | None = field(default=0.0, init=False, repr=False)
    name: ClassVar[str] = "euler"


@dataclass(frozen=True)
class EulerAncestral(DDIM):
    r"""Euler's method of `Euler` down to a lower level, and noise back up to sigma', as in k-diffusion.

    .. math:: y' = y + (\sigma_{down} - \sigma)\, e(t, x) + \sigma_{up} Z, \qquad
              \sigma_{up}^2 = \eta^2 \sigma'^2 (\sigma^2 - \sigma'^2)/\sigma^2, \qquad
              \sigma_{down}^2 = \sigma'^2 - \sigma_{up}^2:

    `DDIM` with the same eta, and at eta = 1, the default, `DDPM` with the variance of the posterior.

    References
    ----------
    Song, Meng and Ermon 2021, arXiv:2010.02502, equations (12) and (16), in the variables of Karras et al. 2022,
    arXiv:2206.00364.
    """

    eta: float | None = 1.0
    name: ClassVar[str] = "euler-ancestral"


@dataclass(frozen=True)
class FlowMatchEuler(DDIM):
    r"""Euler's method along the velocity of a rectified flow: on ``alpha = 1 - s`` (`fpsolve.RectifiedFlow`)

    .. math:: x' = x + (s' - s)\, E[\epsilon - X_0 \mid X_t = x];

    on other paths alpha and s change by what they change over the step, which is `DDIM` at eta = 0.

    References
    ----------
    Liu, Gong and Liu 2023, arXiv:2209.03003; Esser et al. 2024, arXiv:2403.03206.
    """

    eta: float | None = field(default=0.0, init=False, repr=False)
    name: ClassVar[str] = "flow-match-euler"


def _from_noise(process: Process, t_from: float, t_to: float, kept: float, std: float) -> MapStep:
    """The step from where alpha = 0: ``alpha' D + kept x + std Z``."""
    alpha = float(process.scale(0.0, t_to))

    def move(score: Score, x: Array) -> Array:
        return np.asarray(alpha * data(process, score, t_from, x) + kept * x)

    return MapStep(t_from, t_to, move, std_after=std)
