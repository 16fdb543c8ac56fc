"""Energy models, whose score is minus the gradient of the energy; the error of a score model in L2(p_t), where the
exact score is known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import comb
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtr

from fpsolve import _checks, _times
from fpsolve._callables import answer_of, refuse_signature
from fpsolve._checks import FloatArray, real_array
from fpsolve._messages import described
from fpsolve.laws import Law
from fpsolve.marginals import Marginals, family
from fpsolve.processes import Process
from fpsolve.scores._adapter import transition
from fpsolve.scores._base import answer, as_numpy, checked, first_derivative, name_of
from fpsolve.scores._probe import probe, warn

if TYPE_CHECKING:
    import xarray as xr


__all__ = ["EnergyScore", "error_curve", "from_energy"]

#: Relative difference between a given gradient and differences of the energy that is taken for a mistake.
_MISMATCH = 1e-3
#: Energies are taken to be good to this many units in the last place: a log-sum-exp is.
_UNITS = 32.0
_EPS = float(np.finfo(float).eps)
#: Share of the step between points at which the noise is measured, and how many of its standard deviations are stated.
_SHORT, _NOISES = 1.0 / 256.0, 12.0


@dataclass(frozen=True, eq=False, repr=False)
class EnergyScore:
    """The score ``-grad E``; see `from_energy`."""

    energy: Callable[[float, Any], Any]
    process: Process
    dim: int
    gradient: Callable[[float, Any], Any] | None = None
    step: float = 0.03

    def __call__(self, t: float, x: Any) -> FloatArray:
        """Return the score at the points x, of their shape."""
        points = real_array("x", x)
        if self.gradient is not None:
            given = answer_of(f"gradient at t = {t:g}", self.gradient, t, points)
            return -answer("gradient", t, points, given, self.dim)
        return -self.differences(t, points)[0]

    def error(self, t: float, x: Any) -> FloatArray:
        """Return the error estimate of the differences, of the shape of x; zero where a gradient was given.

        The difference between orders 8 and 6, an overestimate of the truncation error; the rounding of E and of x over
        the step, E taken to be good to 32 units in the last place of the type it comes in; and the noise of E as it is
        measured at points a fraction of the step apart, for a function that is less accurate than that.
        """
        points = real_array("x", x)
        if self.gradient is not None:
            return np.zeros(points.shape)
        h = self.step * transition(self.process, t)[1]
        noise = [_NOISES * self._noise(t, points, h, axis) / h for axis in range(self.dim)]
        return self.differences(t, points)[1] + (noise[0] if self.dim == 1 else np.stack(noise, axis=-1))

    def differences(self, t: float, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return ``grad E`` by central differences of order 8 and its error without noise, both of the shape of x."""
        h = self.step * transition(self.process, t)[1]
        pairs = [self._along(t, x, h, axis) for axis in range(self.dim)]
        if self.dim == 1:
            return pairs[0]
        gradients, errors = zip(*pairs, strict=True)
        return np.stack(gradients, axis=-1), np.stack(errors, axis=-1)

    def _along(self, t: float, x: FloatArray, h: float, axis: int) -> tuple[FloatArray, FloatArray]:
        offsets = h * np.arange(1.0, 5.0)
        energies, unit = self._energies(t, _moved(x, np.concatenate([offsets, -offsets]), self.dim, axis))
        # the pairs first: what is common to both sides is gone before it is multiplied
        rises = energies[:4] - energies[4:]
        slope, sixth = (
            sum(weight * rise for weight, rise in zip(first_derivative(order), rises, strict=False)) / h
            for order in (8, 6)
        )
        # E is rounded, and so is the point where it is taken
        position = np.abs(x if self.dim == 1 else x[..., axis]) + offsets[-1]
        steepest = np.abs(rises / (2.0 * offsets.reshape(4, *(1,) * slope.ndim))).max(axis=0)
        rounded = _UNITS * (unit * np.abs(energies).max(axis=0) + _EPS * position * steepest) / h
        return slope, np.abs(sixth - slope) + rounded

    def _noise(self, t: float, x: FloatArray, h: float, axis: int) -> FloatArray:
        """Standard deviation of the noise of E: sixth differences over so short a way that E itself has none.

        At both ends of the stencil, the larger one: noise grows with E and with x. More and Wild 2011,
        doi:10.1137/100786125.
        """
        short = _SHORT * h * np.arange(-6.0, 7.0)
        energies, _ = self._energies(t, _moved(x, np.concatenate([4.0 * h + short, short - 4.0 * h]), self.dim, axis))
        sixth = np.diff(energies.reshape(2, 13, *energies.shape[1:]), n=6, axis=1)
        return np.asarray(np.sqrt(np.mean(sixth**2, axis=1) / comb(12, 6)).max(axis=0))

    def _energies(self, t: float, points: FloatArray) -> tuple[FloatArray, float]:
        """Energies at points, and the unit in the last place of the type they come in."""
        given = as_numpy(f"energy at t = {t:g}", self.energy(t, points))
        unit = float(np.finfo(given.dtype).eps) if given.dtype.kind == "f" else _EPS
        shape = points.shape if self.dim == 1 else points.shape[:-1]
        value = np.asarray(given, dtype=np.float64)
        return _checks.values_at("energy", value, shape, f"at t = {t:g}"), max(unit, _EPS)

    def __repr__(self) -> str:
        """Return the call that makes it, the same text in every run."""
        how = f"step={self.step:g}" if self.gradient is None else f"gradient={name_of(self.gradient)}"
        return f"from_energy({name_of(self.energy)}, {self.process!r}, {how})"


def from_energy(
    energy: Callable[[float, Any], Any],
    process: Process,
    *,
    dim: int,
    gradient: Callable[[float, Any], Any] | None = None,
    step: float = 0.03,
) -> EnergyScore:
    r"""Return the score of an energy model ``p_t ~ exp(-E(t, x))``.

    .. math:: s(t, x) = -\nabla E(t, x).

    Without a gradient, by central differences of order 8 with spacing ``h = step * s_t``,
    :math:`s_t = \sqrt{\sigma^2(0, t)}`: densities blurred by noise have no features narrower than that. The error of
    the result is ``score.error(t, x)``; it falls like h^8 down to the rounding of ``E/h``, in the
    precision of E: an energy in single precision has a score of two or three digits.

    Parameters
    ----------
    energy : callable
        ``energy(t, x)``, points x of shape (...) in 1D and (..., 2) in 2D, one number per point: shape (...).
    process : Process
        Forward process; gives the length scale of the differences.
    dim : int
        1 or 2.
    gradient : callable, optional
        ``gradient(t, x)`` of the shape of x; it is held against differences of the energy once.
    step : float, default 0.03
        Spacing of the differences in units of s_t.

    Returns
    -------
    EnergyScore
        A callable ``score(t, x)`` with ``error(t, x)``.

    Raises
    ------
    ValueError
        At construction, from one probe: a wrong shape, NaN, integers, swapped arguments, a model that raises, a
        gradient that is not that of the energy.

    Warns
    -----
    ProbeWarning
        If the score points outwards far out: an energy of the wrong sign.

    References
    ----------
    Fornberg 1988, doi:10.1090/S0025-5718-1988-0935077-0 (the differences).

    Examples
    --------
    >>> import fpsolve as fp
    >>> score = from_energy(lambda t, x: 0.5 * x**2, fp.VP(), dim=1)
    >>> round(float(score(0.3, 2.0)), 10), bool(score.error(0.3, 2.0) < 1e-11)
    (-2.0, True)
    """
    _checks.dimension("dim", dim)
    score = EnergyScore(energy, process, dim, gradient, _checks.interval("step", step, 0.0, 0.5, ends="(]"))
    _compare(score)
    warn(probe(score, process, dim=dim), repr(score), level=3)
    return score


def _compare(score: EnergyScore) -> None:
    """Refuse a gradient that is not the energy's."""
    if score.gradient is not None:
        refuse_signature("gradient", score.gradient, "t, x", "leave it out for differences")
    if score.gradient is None:
        return
    from fpsolve.scores._adapter import probe_points, probe_times

    for t in probe_times(score.process):
        x = probe_points(score.process, t, score.dim, 1.0)
        ours, given = score.differences(t, x)[0], -score(t, x)
        gap = float(np.linalg.norm(given - ours) / max(float(np.linalg.norm(ours)), 1e-300))
        if gap > _MISMATCH:
            remedy = "turn its sign" if np.allclose(given, -ours, rtol=1e-3) else "leave it out to use differences"
            expected = f"the gradient of the energy at t = {t:.3g}"
            raise _checks.error("gradient", expected, f"a relative difference of {gap:.2g}", remedy)


def _moved(x: FloatArray, offsets: FloatArray, dim: int, axis: int) -> FloatArray:
    """The points x moved along an axis by every offset, which are the first axis of the result."""
    if dim == 1:
        return np.asarray(x + offsets.reshape(-1, *(1,) * x.ndim))
    shifts: FloatArray = np.multiply.outer(offsets, np.eye(2)[axis])
    return np.asarray(x + shifts.reshape(-1, *(1,) * (x.ndim - 1), 2))


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
    return described(
        xr.Dataset(
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
    from fpsolve._cells import edge_tail

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
        # every component leaves its share of the mass outside; some have next to none at all
        mass = np.exp(mixture.log_weights)[:, None]
        u = np.linspace(0.0, 10.0, 401)
        radius = u[np.argmax(2.0 * mass * ndtr(-u) <= _OUTSIDE / mass.size, axis=1)]
        reach = radius[:, None] * np.sqrt(np.diagonal(mixture.component_covs, axis1=-2, axis2=-1))
        kept = radius > 0.0
        low, high = (
            (mixture.component_means - reach)[kept].min(axis=0),
            (mixture.component_means + reach)[kept].max(axis=0),
        )
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
