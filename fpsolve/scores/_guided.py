"""Classifier-free guidance: a conditional score taken further away from the unconditional one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fpsolve import _checks
from fpsolve._callables import refuse_signature
from fpsolve._checks import FloatArray, real_array
from fpsolve.scores._base import Score, name_of

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
