"""Predicted data held in a range, as samplers of images do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fpsolve import _checks
from fpsolve._checks import FloatArray, real_array
from fpsolve.processes import Process
from fpsolve.scores._base import Score, name_of


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
