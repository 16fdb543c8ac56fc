"""Ready errors of a score: functions ``error(t, x)`` with the shape of x, for `fpsolve.scores.perturbed`.

Errors are in units of the score; `InNoiseUnits` takes them in units of a noise prediction. `During` confines them to a
window of times, and any function ``error(t, x)`` of the user's will do as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, TypeAlias

import numpy as np

from fpsolve import _checks
from fpsolve._checks import FloatArray, real_array
from fpsolve.processes import Process
from fpsolve.scores._adapter import transition
from fpsolve.scores._base import breaks_of, name_of

__all__ = ["Bias", "Bump", "During", "InNoiseUnits", "RandomField", "Scaling", "ScoreError", "Sine"]

ScoreError: TypeAlias = Callable[[float, FloatArray], Any]


@dataclass(frozen=True)
class Bias:
    """The constant error ``e(t, x) = vector``.

    Parameters
    ----------
    vector : float or (float, float)
        One number in 1D, two in 2D.

    Examples
    --------
    >>> Bias(0.1)(0.5, np.array([1.0, 2.0]))
    array([0.1, 0.1])
    """

    breaks: ClassVar[tuple[float, ...]] = ()
    vector: float | tuple[float, float]

    def __post_init__(self) -> None:
        _vector("vector", self.vector)

    def __call__(self, t: float, x: FloatArray) -> FloatArray:
        """Return the error at the points x, of their shape."""
        return _along(self.vector, x, 1.0)


@dataclass(frozen=True)
class Scaling:
    """The relative error ``e(t, x) = share * s(t, x)``: the score is too large by that share.

    Parameters
    ----------
    share : float
        0.1 for a score that is 10 % too large.
    """

    breaks: ClassVar[tuple[float, ...]] = ()
    share: float

    def __post_init__(self) -> None:
        _checks.finite("share", self.share)


@dataclass(frozen=True)
class Sine:
    """The wave ``e(t, x) = amplitude sin(k . x + phase)``.

    Parameters
    ----------
    amplitude : float or (float, float)
        One number in 1D, a vector in 2D.
    wave : float or (float, float)
        Wave number k, ``2 pi`` over the wave length.
    phase : float, default 0

    Examples
    --------
    >>> float(Sine(0.5, wave=1.0)(0.1, np.array(np.pi / 2)))
    0.5
    """

    breaks: ClassVar[tuple[float, ...]] = ()
    amplitude: float | tuple[float, float]
    wave: float | tuple[float, float]
    phase: float = 0.0

    def __post_init__(self) -> None:
        dims = {_vector("amplitude", self.amplitude), _vector("wave", self.wave)}
        if len(dims) > 1:
            raise _checks.error("wave", "as many numbers as the amplitude", repr(self.wave))
        _checks.finite("phase", self.phase)

    def __call__(self, t: float, x: FloatArray) -> FloatArray:
        """Return the error at the points x, of their shape."""
        k = np.asarray(self.wave, dtype=np.float64)
        return _along(self.amplitude, x, np.sin((k * x if k.ndim == 0 else x @ k) + self.phase))


@dataclass(frozen=True)
class Bump:
    """The localized error ``e(t, x) = amplitude exp(-|x - at|^2/(2 width^2))``.

    Parameters
    ----------
    amplitude : float or (float, float)
        One number in 1D, a vector in 2D.
    at : float or (float, float)
        Its centre.
    width : float
        Standard deviation > 0.

    Examples
    --------
    >>> float(Bump(2.0, at=1.0, width=0.1)(0.5, np.array(1.0)))
    2.0
    """

    breaks: ClassVar[tuple[float, ...]] = ()
    amplitude: float | tuple[float, float]
    at: float | tuple[float, float]
    width: float

    def __post_init__(self) -> None:
        if _vector("amplitude", self.amplitude) != _vector("at", self.at):
            raise _checks.error("at", "as many numbers as the amplitude", repr(self.at))
        _checks.positive("width", self.width)

    def __call__(self, t: float, x: FloatArray) -> FloatArray:
        """Return the error at the points x, of their shape."""
        offset = (x - np.asarray(self.at, dtype=np.float64)) / self.width
        square = offset**2 if np.ndim(self.at) == 0 else np.sum(offset**2, axis=-1)
        return _along(self.amplitude, x, np.exp(-0.5 * square))


@dataclass(frozen=True)
class RandomField:
    """One draw of a Gaussian random field, constant in t, by random Fourier features.

    Every component has mean 0, standard deviation `amplitude` and covariance
    ``amplitude^2 exp(-|x - x'|^2/(2 length^2))`` over the seeds, components independent:
    ``e(x) = amplitude sqrt(2/M) sum_m cos(w_m . x + phase_m)``, ``w_m ~ N(0, I/length^2)``, M the number of waves.

    Parameters
    ----------
    amplitude : float
        Standard deviation >= 0 of each component.
    length : float
        Correlation length > 0.
    dim : int, default 1
        1 or 2.
    seed : int, default 0
        The same seed, the same field.
    waves : int, default 256
        Number M of waves.

    References
    ----------
    Rahimi and Recht 2007, Random features for large-scale kernel machines, NeurIPS 20.

    Examples
    --------
    >>> RandomField(0.1, length=0.5, dim=2, seed=0)(0.3, np.zeros((4, 2))).shape
    (4, 2)
    """

    breaks: ClassVar[tuple[float, ...]] = ()
    amplitude: float
    length: float
    dim: int = 1
    seed: int = 0
    waves: int = 256

    def __post_init__(self) -> None:
        _checks.non_negative("amplitude", self.amplitude)
        _checks.positive("length", self.length)
        _checks.dimension("dim", self.dim)
        _checks.integer("seed", self.seed, minimum=0)
        _checks.integer("waves", self.waves)

    def __call__(self, t: float, x: FloatArray) -> FloatArray:
        """Return the error at the points x, of their shape."""
        frequencies, phases = self._draw
        flat = real_array("x", x).reshape(-1, self.dim)
        size = self.amplitude * np.sqrt(2.0 / self.waves)
        fields = [size * np.cos(flat @ frequencies[k].T + phases[k]).sum(axis=1) for k in range(self.dim)]
        return np.stack(fields, axis=-1).reshape(np.shape(x))

    @cached_property
    def _draw(self) -> tuple[FloatArray, FloatArray]:
        rng = np.random.default_rng(self.seed)
        frequencies = rng.standard_normal((self.dim, self.waves, self.dim)) / self.length
        return frequencies, rng.uniform(0.0, 2.0 * np.pi, (self.dim, self.waves))


@dataclass(frozen=True, eq=False, repr=False)
class InNoiseUnits:
    """An error of the noise prediction as one of the score: ``-error(t, x)/s_t`` with ``s_t = sqrt(sigma2(0, t))``.

    A noise prediction that is too large by delta makes a score that is too small by delta/s_t. What is uniform in
    these units grows like 1/s_t in the score as t -> 0.

    Parameters
    ----------
    error : callable
        ``error(t, x)`` of the noise prediction.
    process : Process

    Examples
    --------
    >>> import fpsolve as fp
    >>> float(InNoiseUnits(Bias(0.1), fp.EDM())(0.5, np.array(3.0)))
    -0.2
    """

    error: ScoreError
    process: Process

    def __post_init__(self) -> None:
        _function("error", self.error)

    def __call__(self, t: float, x: FloatArray) -> FloatArray:
        """Return the error of the score at the points x, of their shape."""
        return np.asarray(-np.asarray(self.error(t, x), dtype=np.float64) / transition(self.process, t)[1])

    @property
    def breaks(self) -> tuple[float, ...]:
        """Times at which it jumps or bends, where error and process say them; else there is no such attribute."""
        return (*breaks_of(self.error), *breaks_of(self.process))

    def __repr__(self) -> str:
        """Return the call that makes it, the same text in every run."""
        return f"InNoiseUnits({name_of(self.error)}, {self.process!r})"


@dataclass(frozen=True, eq=False, repr=False)
class During:
    """An error at forward times ``start <= t <= stop`` only, none at others.

    Parameters
    ----------
    error : callable
        ``error(t, x)``.
    start, stop : float
        Forward times, start < stop.

    Examples
    --------
    >>> late = During(Bias(0.1), 0.0, 0.2)
    >>> float(late(0.1, np.array(1.0))), float(late(0.3, np.array(1.0)))
    (0.1, 0.0)
    """

    error: ScoreError
    start: float
    stop: float

    def __post_init__(self) -> None:
        _function("error", self.error)
        if not _checks.finite("start", self.start) < _checks.finite("stop", self.stop):
            raise _checks.error("stop", f"a time > start={_checks.digits(self.start)}", self.stop)

    def __call__(self, t: float, x: FloatArray) -> FloatArray:
        """Return the error at the points x, of their shape."""
        inside = self.start <= t <= self.stop
        return np.asarray(self.error(t, x), dtype=np.float64) if inside else np.zeros(np.shape(x))

    @property
    def jumps(self) -> tuple[float, ...]:
        """Where it begins and ends, if the error inside says that it is smooth in time; else no such attribute."""
        return tuple(sorted({self.start, self.stop, *breaks_of(self.error)}))

    def __repr__(self) -> str:
        """Return the call that makes it, the same text in every run."""
        return f"During({name_of(self.error)}, {self.start!r}, {self.stop!r})"


def _function(name: str, value: Any) -> None:
    if not callable(value):
        raise _checks.error(name, "a callable error(t, x)", repr(value)[:60], "a relative error is for perturbed alone")


def _vector(name: str, value: Any) -> int:
    """Return the dimension of a number or a pair; refuse anything else."""
    array = _checks.finite_array(name, value)
    if array.shape not in ((), (2,)):
        raise _checks.error(name, "one number (1D) or two (2D)", f"shape {array.shape}")
    return 1 if array.ndim == 0 else 2


def _along(vector: Any, x: FloatArray, profile: Any) -> FloatArray:
    """Return ``vector * profile``, profile (...) per point, of the shape of x."""
    v = np.asarray(vector, dtype=np.float64)
    if v.ndim == 0:
        return np.broadcast_to(v * profile, np.shape(x)).copy()
    return np.broadcast_to(np.multiply.outer(np.asarray(profile), v), np.shape(x)).copy()
