"""Multistep methods: one evaluation of the score per step, and those of the steps before.

In ``lambda = log(alpha/s)`` a step from t_0 to t' has the length h, the ones before it h_1, h_2; D_0 is the data
predicted at t_0, D_1 and D_2 those of the steps before. The first step of a run is of first order, and so is a step
down to 0, where lambda is infinite; the second is of second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import ClassVar

import numpy as np

from fpsolve import _checks
from fpsolve.processes import Process
from fpsolve.samplers._gaussian import data, log_snr, noise, scale_and_std, transfer
from fpsolve.samplers._singlestep import OfTheFlow
from fpsolve.samplers._step import Array, Memory, MemoryStep, Sampler, Score

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(4)
#: Adams-Bashforth: weights of the slopes, latest first.
_ADAMS = ((1.0,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))


def _lengths(process: Process, t_to: float, times: list[float]) -> list[float]:
    """h, h_1, ...: how much lambda rises in this step and in those before; `times` are t_0, t_1, ..."""
    levels = [log_snr(process, t) for t in (t_to, *times)]
    return [after - before for after, before in pairwise(levels)]


def _extrapolated(found: list[Array], h: list[float]) -> Array:
    """The data predicted for the middle of the step in lambda, ``D_0 + (h/(2 h_1)) (D_0 - D_1)``."""
    if len(found) < 2 or math.isinf(h[0]):
        return found[0]
    return found[0] + 0.5 * h[0] / h[1] * (found[0] - found[1])


@dataclass(frozen=True)
class DPMSolverPP2M(OfTheFlow):
    r"""DPM-Solver++(2M): the data predicted for the middle of the step, from this step's and the last one's.

    .. math:: x' = \tfrac{s'}{s} x + \alpha' (1 - e^{-h}) \Big[D_0 + \frac{h}{2 h_1} (D_0 - D_1)\Big]

    References
    ----------
    Lu et al. 2022, arXiv:2211.01095, Algorithm 2.

    Examples
    --------
    >>> import fpsolve as fp
    >>> DPMSolverPP2M().step(fp.EDM(), 0.0, 2.0, 1.0).move(lambda t, x: -x / (1.0 + t**2), np.array([1.0]))
    array([0.6])
    """

    name: ClassVar[str] = "dpm-solver++(2m)"
    order: ClassVar[int] = 2
    memory: ClassVar[int] = 1
    from_noise: ClassVar[bool] = True

    def step(self, process: Process, eta: float, t_from: float, t_to: float) -> MemoryStep:
        """Return the step, see `Sampler.step`; `eta` is not used."""
        return MemoryStep(t_from, t_to, partial(self._move, process, t_from, t_to))

    def _move(
        self, process: Process, t: float, end: float, score: Score, x: Array, memory: Memory
    ) -> tuple[Array, Memory]:
        kept, share = transfer(process, t, end)
        seen = ((t, data(process, score, t, x)), *memory)
        h = _lengths(process, end, [u for u, _ in seen])
        return kept * x + self._push(process, end, share, [D for _, D in seen], h), seen[: self.memory]

    def _push(self, process: Process, end: float, share: float, found: list[Array], h: list[float]) -> Array:
        """What the predicted data add to x."""
        return share * _extrapolated(found, h)


@dataclass(frozen=True)
class DPMSolverPP3M(DPMSolverPP2M):
    r"""DPM-Solver++(3M) as in diffusers: slope and bend of the data in lambda from the last three steps.

    .. math:: x' = \tfrac{s'}{s} x + \alpha' \int_0^h e^{u - h} (D_0 + D' u + w\, D'' u^2)\, du

    with ``D_0 + D' u + D'' u^2`` the parabola through the last three predictions. The code of its authors and of the
    libraries weighs the bend with w = 1/2, which leaves the method of second order; w = 1 is of third order where the
    first two steps, of lower ones, are as good, as from nearly pure noise. The second step of k-diffusion differs.

    Parameters
    ----------
    parabola : bool
        Whether w = 1, default False.

    References
    ----------
    Lu et al. 2022, arXiv:2211.01095, section 4, and the code of its authors, ``multistep_dpm_solver_third_update``.
    """

    parabola: bool = False
    name: ClassVar[str] = "dpm-solver++(3m)"
    memory: ClassVar[int] = 2

    def __post_init__(self) -> None:
        _checks.flag("parabola", self.parabola)
        object.__setattr__(self, "order", 3 if self.parabola else 2)

    def _push(self, process: Process, end: float, share: float, found: list[Array], h: list[float]) -> Array:
        if len(found) < 3 or math.isinf(h[0]):
            return share * _extrapolated(found, h)
        near, far = (found[0] - found[1]) / h[1], (found[1] - found[2]) / h[2]
        bend = (near - far) / (h[1] + h[2])
        slope = near + h[1] * bend
        alpha, first = float(process.scale(0.0, end)), -math.expm1(-h[0])
        # int_0^h e^{u - h} (u, u^2) du
        slopes, bends = h[0] - first, h[0] ** 2 - 2.0 * (h[0] - first)
        return share * found[0] + alpha * (slopes * slope + (1.0 if self.parabola else 0.5) * bends * bend)


@dataclass(frozen=True)
class SDEDPMSolverPP2M(Sampler):
    r"""SDE-DPM-Solver++(2M): the reverse SDE in lambda, data predicted as in `DPMSolverPP2M`, the noise exact.

    .. math:: x' = \tfrac{s'}{s} e^{-h} x + \alpha' (1 - e^{-2h}) \Big[D_0 + \frac{h}{2 h_1} (D_0 - D_1)\Big]
              + s' \sqrt{1 - e^{-2h}}\, Z

    Its first step is one of `DDPM`. The law of x alone does not tell the next one: particles, not kernels.

    References
    ----------
    Lu et al. 2022, arXiv:2211.01095, equation (18).
    """

    name: ClassVar[str] = "sde-dpm-solver++(2m)"
    memory: ClassVar[int] = 1
    from_noise: ClassVar[bool] = True

    @property
    def eta(self) -> float:
        """1: the noise is that of the reverse SDE."""
        return 1.0

    def step(self, process: Process, eta: float, t_from: float, t_to: float) -> MemoryStep:
        """Return the step, see `Sampler.step`; `eta` is not used."""
        kept, share = transfer(process, t_from, t_to, 2.0)

        def move(score: Score, x: Array, memory: Memory) -> tuple[Array, Memory]:
            seen = ((t_from, data(process, score, t_from, x)), *memory)
            h = _lengths(process, t_to, [t for t, _ in seen])
            return kept * x + share * _extrapolated([D for _, D in seen], h), seen[:1]

        drawn = float(process.variance(0.0, t_to)) * -math.expm1(-2.0 * _lengths(process, t_to, [t_from])[0])
        return MemoryStep(t_from, t_to, move, math.sqrt(drawn))


@dataclass(frozen=True)
class UniPC(OfTheFlow):
    r"""UniPC of order 2 with ``B_2(h) = e^h - 1`` ("bh2") for predicted data: `DPMSolverPP2M`, corrected a step later.

    The data D_0 predicted at the point x where a step ended serve twice: to correct x, and as what the next steps know.
    With ``h_1, h_2`` the lengths of the step into x and of the one before, y the corrected point where it began,

    .. math:: x \leftarrow \tfrac{s}{s_1} y + \alpha (1 - e^{-h_1})
              \Big[D_1 + \rho_1 \frac{D_2 - D_1}{r} + \rho_2 (D_0 - D_1)\Big], \qquad r = -\frac{h_2}{h_1},

    where ``rho_1 + rho_2 = b_1`` and ``r rho_1 + rho_2 = b_2`` make it exact for D of degree 2 in lambda; after the
    first step it is ``D_1 + (D_0 - D_1)/2``. The last point is not corrected.

    References
    ----------
    Zhao et al. 2023, arXiv:2302.04867, equations (3), (5), (8), (9) and Algorithms 1, 2, for data prediction.
    """

    name: ClassVar[str] = "unipc"
    order: ClassVar[int] = 3
    memory: ClassVar[int] = 2
    from_noise: ClassVar[bool] = True

    def step(self, process: Process, eta: float, t_from: float, t_to: float) -> MemoryStep:
        """Return the step, see `Sampler.step`; `eta` is not used."""

        def move(score: Score, x: Array, memory: Memory) -> tuple[Array, Memory]:
            found = data(process, score, t_from, x)
            begun, seen = memory or (x, ())
            if seen:
                x = self._corrected(process, t_from, begun, found, seen)
            seen = ((t_from, found), *seen)
            h = _lengths(process, t_to, [t for t, _ in seen])
            kept, share = transfer(process, t_from, t_to)
            return kept * x + share * _extrapolated([D for _, D in seen], h), (x, seen[:2])

        return MemoryStep(t_from, t_to, move)

    @staticmethod
    def _corrected(process: Process, t: float, begun: Array, found: Array, seen: Memory) -> Array:
        """The end of a step that began at `begun`, now that the data predicted there are known."""
        h = _lengths(process, t, [u for u, _ in seen])
        kept, share = transfer(process, seen[0][0], t)
        last = seen[0][1]
        if len(seen) == 1:
            return np.asarray(kept * begun + share * 0.5 * (last + found))
        # b_k = k! (int_0^1 e^{(v - 1) h} v^k dv) h/(1 - e^{-h}) / (k - 1)!, v the share of the step
        fall = -math.expm1(-h[0])
        first = (h[0] - fall) / (h[0] * fall)
        second = 2.0 * (0.5 * h[0] ** 2 - h[0] + fall) / (h[0] ** 2 * fall)
        r = -h[1] / h[0]
        old = (second - first) / (r - 1.0)
        mean = last + old / r * (seen[1][1] - last) + (first - old) * (found - last)
        return np.asarray(kept * begun + share * mean)


@dataclass(frozen=True)
class LMS(OfTheFlow):
    r"""Linear multistep in ``y = x/alpha`` over ``sigma = s/alpha``: the noise as a polynomial through the last steps.

    .. math:: y' = y + \sum_j e_j \int_\sigma^{\sigma'} \prod_{k \ne j} \frac{u - \sigma_k}{\sigma_j - \sigma_k}\,du

    Parameters
    ----------
    slopes : int
        Predicted noises used and order, 1 to 4, default 4; as many as there are in the first steps, whose errors are as
        small from nearly pure noise.

    Notes
    -----
    A step from where alpha = 0 is one of `DDIM`; the noise predicted there has no weight in later ones, their limit.

    References
    ----------
    Adams-Bashforth on unequal steps; Karras et al. 2022, arXiv:2206.00364, for the variables. ``lms`` of k-diffusion.
    """

    slopes: int = 4
    name: ClassVar[str] = "lms"
    order: ClassVar[int] = 4
    memory: ClassVar[int] = 3
    from_noise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if _checks.integer("slopes", self.slopes) > 4:
            raise _checks.error("slopes", "1 to 4", str(self.slopes))
        object.__setattr__(self, "order", self.slopes)

    def step(self, process: Process, eta: float, t_from: float, t_to: float) -> MemoryStep:
        """Return the step, see `Sampler.step`; `eta` is not used."""
        if float(process.scale(0.0, t_from)) == 0.0:
            kept, share = transfer(process, t_from, t_to)

            def first(score: Score, x: Array, memory: Memory) -> tuple[Array, Memory]:
                return kept * x + share * data(process, score, t_from, x), ()

            return MemoryStep(t_from, t_to, first)
        (alpha, std), (end, std_end) = (scale_and_std(process, t) for t in (t_from, t_to))

        def move(score: Score, x: Array, memory: Memory) -> tuple[Array, Memory]:
            seen = ((std / alpha, noise(process, score, t_from, x)), *memory)[: self.slopes]
            weights = self._weights([level for level, _ in seen], std_end / end)
            moved = x / alpha + sum(weight * slope for weight, (_, slope) in zip(weights, seen, strict=True))
            return end * moved, seen

        return MemoryStep(t_from, t_to, move)

    @staticmethod
    def _weights(levels: list[float], end: float) -> list[float]:
        half = 0.5 * (end - levels[0])
        u = levels[0] + half * (1.0 + _NODES)
        factors = [[(u - b) / (a - b) for b in levels if b != a] for a in levels]
        return [float(half * (_WEIGHTS @ np.prod([np.ones(4), *one], axis=0))) for one in factors]


@dataclass(frozen=True)
class PLMS(OfTheFlow):
    r"""Pseudo linear multistep: Adams-Bashforth's mean of the last four predicted noises in the step of `DDIM`.

    .. math:: x' = \tfrac{\alpha'}{\alpha} x + \Big(s' - \tfrac{\alpha'}{\alpha} s\Big)\,
              \frac{55 e_0 - 59 e_1 + 37 e_2 - 9 e_3}{24}

    The weights are those of equal steps whatever the times, as in the paper. The first step is the pseudo improved
    Euler method, which asks twice, as in diffusers and latent diffusion; the next two use the lower orders.

    References
    ----------
    Liu et al. 2022, arXiv:2202.09778, equations (11) and (12) and Algorithm 2.
    """

    name: ClassVar[str] = "plms"
    order: ClassVar[int] = 2
    memory: ClassVar[int] = 3

    def step(self, process: Process, eta: float, t_from: float, t_to: float) -> MemoryStep:
        """Return the step, see `Sampler.step`; `eta` is not used."""
        (alpha, std), (end, std_end) = (scale_and_std(process, t) for t in (t_from, t_to))

        def transferred(x: Array, mean: Array) -> Array:
            return np.asarray(end / alpha * x + (std_end - end / alpha * std) * mean)

        def move(score: Score, x: Array, memory: Memory) -> tuple[Array, Memory]:
            seen = (noise(process, score, t_from, x), *memory)
            mean = sum((w * e for w, e in zip(_ADAMS[len(seen) - 1], seen, strict=True)), np.zeros_like(x))
            if not memory and t_to > 0.0:
                mean = 0.5 * (mean + noise(process, score, t_to, transferred(x, mean)))
            return transferred(x, mean), seen[:3]

        return MemoryStep(t_from, t_to, move)
