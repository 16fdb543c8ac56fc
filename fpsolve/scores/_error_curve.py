"""The error of a score model in L2(p_t), where the exact score is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtr

from fpsolve import _checks, _times
from fpsolve._cells import edge_tail
from fpsolve._checks import FloatArray
from fpsolve.laws import Law, NormalMixture
from fpsolve.marginals import Marginals, family
from fpsolve.processes import Process
from fpsolve.scores._base import checked, name_of

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["error_curve"]

#: Nodes per standard deviation of the narrowest feature, and the most per axis, by dimension.
_FINENESS = {1: 8.0, 2: 4.0}
_LARGEST = {1: 2**14, 2: 384}
#: Mass that mixtures may have outside of the box, and half its width for other laws, in standard deviations.
_OUTSIDE, _REACH = 1e-12, 14.0


def error_curve(score: Callable[[float, Any], Any], target: Law, process: Process, times: Any) -> xr.Dataset:
    r"""Measure a score model against the exact score along the forward process.

    .. math:: \mathrm{value}(t) = \Big(\int |s(t, x) - \nabla \log p_t(x)|^2\, p_t(x)\, dx\Big)^{1/2}

    by the midpoint rule on a box that holds p_t. The reported error is the difference to the same rule with a third of
    the nodes per axis, which overestimates it for smooth scores, plus what the mass that is missing can contribute
    at the largest error of the score in the box.

    Parameters
    ----------
    score : callable
        ``score(t, x)``.
    target : Law
        p_0.
    process : Process
        Forward process.
    times : array_like of shape (n,)
        Forward times > 0.

    Returns
    -------
    xarray.Dataset
        Over t, in the order given: ``value`` (unit 1/length) and its ``error``; ``exact_norm``, the same norm of the
        exact score; ``relative = value/exact_norm``; ``noise_units = value sqrt(sigma2(0, t))``, the error as one of a
        noise prediction (no unit); ``lost``, mass outside of the box or missed by the rule.

    Raises
    ------
    ValueError
        If a time is not in (0, T], or the model returns another shape, NaN or infinities.

    Examples
    --------
    >>> import fpsolve as fp
    >>> target, process = fp.Gaussian(0.0, std=1.0), fp.OrnsteinUhlenbeck(T=1.0)
    >>> curve = error_curve(lambda t, x: -1.1 * x, target, process, [1.0, 0.1])
    >>> [round(float(v), 10) for v in curve.value]  # 0.1 times the standard deviation of x
    [0.1, 0.1]
    """
    _checks.instances(target=(target, Law), process=(process, Process))
    import xarray as xr

    at = _times.within("times", _checks.finite_array("times", times, shape=(None,)), process.T)
    if not np.all(at > 0.0):
        got = _checks.digits(at.min())
        raise _checks.error("times", "forward times > 0", got, "the model is trained on noisy points")
    model, marginals = checked(score, target.dim), family(target, process)
    rows = np.array([_norms(model, marginals, float(t)) for t in at]).reshape(-1, 4)
    value, error, norm, lost = rows.T
    noise = np.sqrt(process.variance(0.0, at))
    inverse = {"units": "1/length"}
    return xr.Dataset(
        {
            "value": ("t", value, {"long_name": "score error in L2(p_t)"} | inverse),
            "error": ("t", error, {"long_name": "quadrature error of value"} | inverse),
            "exact_norm": ("t", norm, {"long_name": "exact score in L2(p_t)"} | inverse),
            "relative": ("t", value / norm, {"long_name": "relative score error"}),
            "noise_units": ("t", value * noise, {"long_name": "score error as one of a noise prediction"}),
            "lost": ("t", lost, {"long_name": "mass missing from the quadrature"}),
        },
        coords={"t": at},
        attrs={
            "status": "estimated",
            "score_model": name_of(score),
            "target": repr(target)[:500],
            "process": repr(process),
        },
    )


#: Of a sum of this many nodes, relative.
_ROUNDING = 4.0 * np.finfo(float).eps


def _norms(model: Callable[[float, Any], FloatArray], marginals: Marginals, t: float) -> tuple[float, ...]:
    """Norm of the error, its quadrature error, norm of the exact score, mass missing."""
    law = marginals.law(t)
    axes, volume = _nodes(law)
    x = axes[0] if len(axes) == 1 else np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    p = np.exp(marginals.log_density_on_axes([t], *axes)[0])
    exact = marginals.score(t, x)
    gap, size = np.square(model(t, x) - exact), np.square(exact)
    if len(axes) == 2:
        gap, size = gap.sum(axis=-1), size.sum(axis=-1)
    square = float(np.sum(p * gap) * volume)
    # the midpoint rule on every third node of a number of nodes divisible by 3: cells three times as wide
    coarse = float((p * gap)[(slice(1, None, 3),) * len(axes)].sum() * volume * 3 ** len(axes))
    # beyond rounding, a mass other than 1 is a box too small or nodes too far apart
    defect = max(abs(1.0 - float(p.sum()) * volume) - 1e-12, 0.0)
    lost = max(defect, float(edge_tail(p, axes, np.ones(p.shape))))
    # beyond the box the difference may go on growing: what is seen of it at the ends says how
    missing = max(lost * float(gap.max()), defect * float(gap.max()) + float(edge_tail(p, axes, gap)))
    value, bound = np.sqrt(square), np.sqrt(square + missing)
    error = abs(value - np.sqrt(coarse)) + (bound - value) + _ROUNDING * value
    return float(value), float(error), float(np.sqrt(np.sum(p * size) * volume)), lost


def _nodes(law: Law) -> tuple[list[FloatArray], float]:
    """Midpoints of equal cells per axis, an odd multiple of 3 of them, and the cells' volume."""
    mixture = law.components
    if mixture is not None:
        low, high = _box(mixture)
    else:
        stds = _REACH * np.sqrt(np.diagonal(np.atleast_2d(law.cov)))
        low, high = np.atleast_1d(law.mean) - stds, np.atleast_1d(law.mean) + stds
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise _checks.error("target", "a law with finite mean and variance", repr(law))
    narrow = law.smallest_std if law.smallest_std > 0.0 else float(np.min(high - low)) / 1000.0
    axes, volume = [], 1.0
    for a, b in zip(low, high, strict=True):
        n = int(np.clip(np.ceil(_FINENESS[law.dim] * (b - a) / narrow), 64, _LARGEST[law.dim]))
        n = 6 * (n // 6) + 3
        axes.append(np.asarray(a + (b - a) * (np.arange(n) + 0.5) / n))
        volume *= (b - a) / n
    return axes, float(volume)


def _box(law: NormalMixture) -> tuple[FloatArray, FloatArray]:
    """Lower and upper ends that leave every component its share of the mass outside; some have next to none at all."""
    mass = np.exp(law.log_weights)[:, None]
    u = np.linspace(0.0, 10.0, 401)
    radius = u[np.argmax(2.0 * mass * ndtr(-u) <= _OUTSIDE / mass.size, axis=1)]
    reach = radius[:, None] * np.sqrt(np.diagonal(law.component_covs, axis1=-2, axis2=-1))
    kept = radius > 0.0
    return (law.component_means - reach)[kept].min(axis=0), (law.component_means + reach)[kept].max(axis=0)
