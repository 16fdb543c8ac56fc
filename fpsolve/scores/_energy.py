"""Energy models: the score is minus the gradient of the energy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np

from fpsolve import _checks
from fpsolve._callables import answer_of, refuse_signature
from fpsolve._checks import FloatArray, real_array
from fpsolve.processes import Process
from fpsolve.scores._adapter import transition
from fpsolve.scores._base import answer, as_numpy, first_derivative, name_of
from fpsolve.scores._probe import probe, warn

__all__ = ["EnergyScore", "from_energy"]

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
    from fpsolve.scores._likeness import probe_points, probe_times

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
