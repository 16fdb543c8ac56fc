"""Gaussian paths ``x_t = alpha(t) x_0 + s(t) eps``: a diffusion from two functions of time, and the rectified flow.

Only ``lambda = log(alpha/s)`` matters up to a change of time and scale: ``a = alpha'/alpha``, ``g^2 = -2 s^2 lambda'``,
``alpha(s, t) = alpha_t/alpha_s`` and ``sigma2(s, t) = s_t^2 (1 - e^{2(lambda_t - lambda_s)})`` (Kingma et al. 2021,
arXiv:2107.00630). Between close times ``lambda_t - lambda_s`` is integrated from lambda' instead of subtracted.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from fpsolve import _checks
from fpsolve._callables import told
from fpsolve._checks import USER_ERRORS, FloatArray, digits, error, values_at
from fpsolve._kinks import FELT_BY_DERIVATIVES, joints, quick_changes
from fpsolve._times import Joints
from fpsolve.processes._base import Process

Function = Callable[[Any], Any]

#: Where alpha(0, T) = 0, a and g are infinite at T: they are held within this share of T.
HELD = 1e-8
#: alpha(T) below this share of alpha(0) is a zero with a rounding error, such as cos(pi/2).
_ZERO = 1e-14
#: lambda differences below this are integrated: subtracted, they lose digits.
_CLOSE = 1e-2
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(5)
#: Imaginary step of derivatives, in T; real differences on both sides of t, their reach in T and to the next break.
_IMAGINARY = 1e-30
_STENCIL = np.array([-4.0, -3.0, -2.0, -1.0, 1.0, 2.0, 3.0, 4.0])
_EIGHTH = np.array([1 / 280, -4 / 105, 1 / 5, -4 / 5, 4 / 5, -1 / 5, 4 / 105, -1 / 280])
_SIXTH = np.array([0.0, -1 / 60, 3 / 20, -3 / 4, 3 / 4, -3 / 20, 1 / 60, 0.0])
_REACH, _SHARE, _NEAREST = 2e-3, 0.05, 1e-8
#: Where sixth and eighth order differ by more than this share, and more than rounding does, the reach is halved.
_AGREE, _HALVINGS, _UNITS = 1e-8, 14, 16.0


class Path(Process):
    """A process that is given by alpha(t), s(t) and the derivatives of log alpha and s^2.

    Subclasses say the four functions of one time, `_alpha`, `_std`, `_slope` (alpha'/alpha) and `_power` (g^2), for
    arrays of times; where alpha(T) = 0 the last two are asked for no later than ``T (1 - 1e-8)``.
    """

    def _alpha(self, t: FloatArray) -> FloatArray:
        raise NotImplementedError

    def _std(self, t: FloatArray) -> FloatArray:
        raise NotImplementedError

    def _slope(self, t: FloatArray) -> FloatArray:
        raise NotImplementedError

    def _power(self, t: FloatArray) -> FloatArray:
        raise NotImplementedError

    @cached_property
    def vanishes(self) -> bool:
        """Whether alpha(T) = 0: p_T knows nothing of the data, and a and g are infinite there."""
        ends = self._alpha(np.array([0.0, self.T]))
        return bool(ends[1] <= _ZERO * ends[0])

    @property
    def held_from(self) -> float:
        """Time from which on a and g are held at their values there: ``T (1 - 1e-8)`` where alpha(T) = 0, else T.

        The transitions are those of the path itself.
        """
        return self.T * (1.0 - HELD) if self.vanishes else self.T

    def path_scale(self, t: Any) -> FloatArray:
        """Return alpha(t) of ``x_t = alpha x_0 + s eps``, of the shape of `t`."""
        return self._alpha_or_zero(self._time(t))[()]

    def path_std(self, t: Any) -> FloatArray:
        """Return s(t) of ``x_t = alpha x_0 + s eps``, of the shape of `t`."""
        return self._std(self._time(t))[()]

    def drift_rate(self, t: Any) -> FloatArray:
        """Return ``a(t) = alpha'/alpha``."""
        return self._slope(np.minimum(self._time(t), self.held_from))[()]

    def diffusion(self, t: Any) -> FloatArray:
        """Return ``g(t) = sqrt(2 s s' - 2 a s^2)``."""
        return np.sqrt(self._power(np.minimum(self._time(t), self.held_from)))[()]

    def scale(self, s: Any, t: Any) -> FloatArray:
        """Return ``alpha(s, t) = alpha_t/alpha_s``, 1 for s = t."""
        start, end = self._interval(s, t)
        first, last = self._alpha_or_zero(start), self._alpha_or_zero(end)
        same = start == end
        return np.where(same, 1.0, last / np.where(same | (first == 0.0), 1.0, first))[()]

    def variance(self, s: Any, t: Any) -> FloatArray:
        """Return ``sigma2(s, t) = s_t^2 (1 - e^{-2 (lambda_s - lambda_t)})``, 0 for s = t."""
        start, end = np.broadcast_arrays(*self._interval(s, t))
        whole = np.square(self._std(end))
        inner = (start > 0.0) & (start < end) & (self._alpha_or_zero(end) > 0.0)
        # from clean data, and where nothing is left of them, all of it
        variance = np.where((start == end) & (end > 0.0) | (end == 0.0), 0.0, whole)
        if inner.any():
            fall = self._fall(start[inner], end[inner])
            variance[inner] = -whole[inner] * np.expm1(-2.0 * fall)
        return variance[()]

    @property
    def prior_std(self) -> float:
        """Standard deviation of x_T for data of standard deviation 1, ``sqrt(alpha_T^2 + s_T^2)``."""
        at = np.array([self.T])
        return float(np.hypot(self._alpha_or_zero(at), self._std(at))[0])

    def _alpha_or_zero(self, t: FloatArray) -> FloatArray:
        alpha = self._alpha(t)
        return np.where(t >= self.T, 0.0, alpha) if self.vanishes else alpha

    def _fall(self, s: FloatArray, t: FloatArray) -> FloatArray:
        """Return ``lambda_s - lambda_t > 0`` for 0 < s < t, alpha_t > 0."""
        first, last = self._std(s), self._std(t)
        blurred = np.where(first > 0.0, first, 1.0)
        fall = np.where(first > 0.0, np.log(self._alpha(s) / self._alpha(t)) + np.log(last / blurred), np.inf)
        # whether a kink lies between the times
        parted = np.zeros(s.shape, dtype=bool)
        for kink in self.kinks:
            parted |= (s < kink) & (kink < t)
        close = (fall < _CLOSE) & ~parted
        if close.any():
            half = 0.5 * (t[close] - s[close])[:, None]
            u = s[close][:, None] + half * (1.0 + _NODES)
            rate = self._power(np.minimum(u, self.held_from)) / (2.0 * np.square(self._std(u)))
            fall[close] = (half * rate) @ _WEIGHTS
        return np.asarray(fall)


@dataclass(frozen=True, init=False, repr=False)
class GaussianPath(Path):
    """The process with ``x_t = alpha(t) x_0 + s(t) eps``, from two functions of time.

    ``dX = alpha'/alpha X dt + sqrt(2 s s' - 2 s^2 alpha'/alpha) dW``. Derivatives are taken by complex steps, to
    rounding, where the functions take complex times (numpy's analytic ones do), else by differences of eighth order,
    to about 1e-9.

    Parameters
    ----------
    scale, std : callable, optional
        alpha(t) > 0 and s(t) > 0 for 0 < t < T, of arrays of times in [0, T]. Customarily alpha(0) = 1 and s(0) = 0;
        else the data are scaled and blurred at once, and the law at t > 0 is what the path says. alpha(T) = 0 is
        legal: there ``a`` and ``g`` are infinite, and held from ``T (1 - 1e-8)`` on.
    log_snr : callable, optional
        ``lambda(t) = log(alpha/s)``, falling: half the log of the signal-to-noise ratio of powers. With `scale` or
        `std` it gives the other one; alone, the variance-preserving path ``alpha^2 + s^2 = 1``.
    T : float, default 1
        Final time > 0.
    breaks : iterable of float, default ()
        Times in (0, T) at which a function has a kink or jumps in its derivative; steps of a run end there. Others are
        looked for at 6,000 times.

    Raises
    ------
    ValueError
        Functions that are not exactly two of the three (or log_snr alone), do not broadcast, are not finite or not
        positive inside of (0, T); a log(alpha/s) that does not fall: then there is no diffusion with this path.

    References
    ----------
    Kingma et al. 2021, arXiv:2107.00630; Albergo et al. 2023, arXiv:2303.08797.

    Examples
    --------
    >>> path = GaussianPath(scale=lambda t: np.cos(np.pi * t / 2), std=lambda t: np.sin(np.pi * t / 2))
    >>> round(float(path.drift_rate(0.5)), 12), float(path.scale(0.0, 1.0)), float(path.variance(0.5, 1.0))
    (-1.570796326795, 0.0, 1.0)
    """

    T: float
    alpha: Function | None
    std: Function | None
    log_snr: Function | None
    breaks: tuple[float, ...]
    _complex: bool = field(init=False, repr=False, compare=False)

    def __init__(
        self,
        scale: Function | None = None,
        std: Function | None = None,
        *,
        log_snr: Function | None = None,
        T: float = 1.0,
        breaks: Iterable[float] = (),
    ) -> None:
        _checks.positive("T", T)
        given = {"scale": scale, "std": std, "log_snr": log_snr}
        names = [name for name, function in given.items() if function is not None]
        if len(names) != 2 and names != ["log_snr"]:
            got = " and ".join(names) or "none"
            raise error("scale, std, log_snr", "two of these functions of time, or log_snr alone", got)
        for name in names:
            if not callable(given[name]):
                raise error(name, "a function of time", f"a {type(given[name]).__name__}", "for instance np.cos")
        marks = tuple(sorted(_checks.interval("breaks", b, 0.0, T, ends="()") for b in breaks))
        for name, value in {"T": float(T), "alpha": scale, "std": std, "log_snr": log_snr, "breaks": marks}.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_complex", False)
        self._look()
        object.__setattr__(self, "_complex", self._takes_complex())
        rates = self._rates(self.T * np.linspace(0.02, 0.98, 49))
        if not (np.isfinite(rates).all() and rates[1].min() >= -1e-9 * np.abs(rates[1]).max()):
            raise error("scale, std", "a path with finite a and g^2 >= 0", "one whose log(alpha/s) rises or jumps")

    @property
    def opaque(self) -> bool:
        """It is made of the user's functions."""
        return True

    @cached_property
    def _bends(self) -> Joints:
        """`breaks`, and kinks that are found in the functions."""
        names = [name for name in ("alpha", "std", "log_snr") if getattr(self, name) is not None]

        def every(t: FloatArray) -> FloatArray:
            return np.stack([self._call(name, t) for name in names])

        return joints(every, 0.0, self.T, announced=self.breaks, felt=FELT_BY_DERIVATIVES)

    @cached_property
    def joints(self) -> Joints:
        """Those, and where coefficients change quickly."""

        def rates(t: FloatArray) -> FloatArray:
            return np.stack([self.drift_rate(t), self.diffusion(t)])

        steep = () if self._bends.rough else quick_changes(rates, 0.0, self.T, marks=self._bends.times)
        return replace(self._bends, steep=steep)

    @property
    def kinks(self) -> tuple[float, ...]:
        """`breaks`, and those that are found."""
        return self._bends.times

    def __repr__(self) -> str:
        t = self.T * np.array([0.25, 0.5, 0.75, 1.0])
        shown = [", ".join(f"{value:.4g}" for value in f(t)) for f in (self._alpha_or_zero, self._std)]
        breaks = f", breaks={list(self.breaks)}" if self.breaks else ""
        return f"GaussianPath(T={digits(self.T)}{breaks}; at T/4, T/2, 3T/4, T alpha is {shown[0]}, s {shown[1]})"

    def _call(self, name: str, t: Any) -> Any:
        """Return what a function of the user's says, once looked at."""
        function = getattr(self, name)
        with np.errstate(all="ignore"):
            return np.asarray(function(t)) * np.ones(np.shape(t))

    def _alpha(self, t: Any) -> FloatArray:
        if self.alpha is not None:
            return np.asarray(self._call("alpha", t))
        level = self._call("log_snr", t)
        with np.errstate(all="ignore"):
            if self.std is None:
                return np.asarray(1.0 / np.sqrt(1.0 + np.exp(-2.0 * level)))
            return np.asarray(self._call("std", t) * np.exp(level))

    def _std(self, t: Any) -> FloatArray:
        if self.std is not None:
            return np.asarray(self._call("std", t))
        level = self._call("log_snr", t)
        with np.errstate(all="ignore"):
            if self.alpha is None:
                return np.asarray(1.0 / np.sqrt(1.0 + np.exp(2.0 * level)))
            return np.asarray(self._call("alpha", t) * np.exp(-level))

    def _slope(self, t: FloatArray) -> FloatArray:
        return self._rates(t)[0]

    def _power(self, t: FloatArray) -> FloatArray:
        return np.maximum(self._rates(t)[1], 0.0)

    def _rates(self, t: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return a and g^2."""
        if self._complex:
            step = _IMAGINARY * self.T
            with np.errstate(all="ignore"):
                slope = np.imag(np.log(self._alpha(t + 1j * step))) / step
                growth = np.imag(np.square(self._std(t + 1j * step))) / step
        else:
            slope = self._difference(lambda u: np.log(self._alpha(u)), t)
            growth = self._difference(lambda u: np.square(self._std(u)), t)
        return slope, growth - 2.0 * slope * np.square(self._std(t))

    def _difference(self, function: Function, t: FloatArray) -> FloatArray:
        """Return the derivative by central differences that cross neither an end of [0, T] nor a break.

        Their reach is halved where differences of sixth and of eighth order do not agree: what changes quickly there is
        not resolved.
        """
        marks = np.array([0.0, *self.kinks, self.T])
        place = np.clip(np.searchsorted(marks, t, side="right") - 1, 0, len(marks) - 2)
        low, high = marks[place], marks[place + 1]
        at = np.clip(t, low + _NEAREST * self.T, high - _NEAREST * self.T)
        step = np.minimum(_REACH * self.T, _SHARE * np.minimum(at - low, high - at))
        slope, gap = last, _ = self._stencil(function, at, step)
        unsure = np.ones(np.shape(at), dtype=bool)
        for _ in range(_HALVINGS):
            if not unsure.any():
                break
            step = 0.5 * step
            closer, nearer = self._stencil(function, at, step)
            better = unsure & (nearer < gap)
            slope, gap = np.where(better, closer, slope), np.where(better, nearer, gap)
            # twice, for once may be an accident
            unsure &= np.maximum(nearer, np.abs(closer - last)) > _AGREE * np.abs(closer)
            last = closer
        return slope

    @staticmethod
    def _stencil(function: Function, at: FloatArray, step: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the derivative of eighth order, and what that of sixth is off beyond rounding."""
        values = function(np.asarray(at)[..., None] + step[..., None] * _STENCIL)
        slope = values @ _EIGHTH / step
        noise = _UNITS * np.finfo(float).eps * np.abs(values).max(axis=-1) / step
        return np.asarray(slope), np.maximum(np.abs(slope - values @ _SIXTH / step) - noise, 0.0)

    def _look(self) -> None:
        """Refuse functions that make no path."""
        t = self.T * np.unique([0.0, *np.geomspace(1e-6, 0.1, 20), *np.linspace(0.0, 1.0, 201)[1:]])
        for name in ("alpha", "std", "log_snr"):
            function = getattr(self, name)
            if function is not None:
                try:
                    with np.errstate(all="ignore"):
                        value = function(t)
                except USER_ERRORS as reason:
                    shown = "scale" if name == "alpha" else name
                    raise error(shown, f"values for times of shape {t.shape}", told(reason)) from reason
                if np.size(value) != 1:
                    values_at(name, np.asarray(value)[1:-1], (t.size - 2,))
        alpha, std = self._alpha(t), self._std(t)
        if not (np.isfinite(alpha).all() and alpha[:-1].min() > 0.0 and alpha[-1] >= -_ZERO):
            worst = t[np.argmax(~(alpha > 0.0))]
            raise error("scale", "alpha > 0 before T, finite, and >= 0 at T", f"another at t = {digits(worst)}")
        if not (np.isfinite(std).all() and std[1:].min() > 0.0 and std[0] >= 0.0):
            worst = t[1:][np.argmax(~(std[1:] > 0.0))]
            raise error("std", "s > 0 after 0, finite, and >= 0 at 0", f"another at t = {digits(worst)}")
        level = np.log(alpha[1:-1] / std[1:-1])
        rises = np.diff(level)
        if rises.max() > 1e-9 or level[-1] >= level[0]:
            at = t[1:][int(np.argmax(rises))]
            raise error("scale, std", "log(alpha/s) that falls", f"one that rises at t = {digits(at)}", "swap the two?")

    def _takes_complex(self) -> bool:
        """Return whether complex steps give the derivatives that differences give."""
        t = self.T * np.array([0.013, 0.11, 0.29, 0.47, 0.61, 0.83, 0.97])
        real = np.array(self._rates(t))
        object.__setattr__(self, "_complex", True)
        try:
            with warnings.catch_warnings():
                # one that drops the imaginary part does not
                warnings.simplefilter("error", np.exceptions.ComplexWarning)
                found = np.array(self._rates(t))
        except (*USER_ERRORS, np.exceptions.ComplexWarning):
            return False
        finally:
            object.__setattr__(self, "_complex", False)
        scale = np.abs(real).max(axis=1, keepdims=True)
        return bool(np.isfinite(found).all() and np.max(np.abs(found - real) / (scale + 1e-300)) < 1e-6)


@dataclass(frozen=True)
class RectifiedFlow(Path):
    """The straight path ``x_t = (1 - t) x_0 + t eps`` of flow matching.

    ``dX = -X/(1 - t) dt + sqrt(2t/(1 - t)) dW``, ``alpha(s, t) = (1 - t)/(1 - s)``,
    ``sigma2(s, t) = (t - s)(t + s - 2 s t)/(1 - s)^2``. At T = 1 nothing is left of the data, and a and g, infinite
    there, are held from ``1 - 1e-8`` on; the velocity ``E[eps - X_0 | X_t]`` of its probability flow stays finite.

    Parameters
    ----------
    T : float, default 1
        Final time in (0, 1]; below 1 the path ends early.

    Raises
    ------
    ValueError
        A T that is not in (0, 1].

    References
    ----------
    Liu et al. 2022, arXiv:2209.03003; Lipman et al. 2022, arXiv:2210.02747.

    Examples
    --------
    >>> process = RectifiedFlow()
    >>> float(process.scale(0.0, 0.25)), float(process.variance(0.5, 1.0)), float(process.drift_rate(0.5))
    (0.75, 1.0, -2.0)
    """

    T: float = 1.0

    def __post_init__(self) -> None:
        _checks.interval("T", self.T, 0.0, 1.0, ends="(]")

    def variance(self, s: Any, t: Any) -> FloatArray:
        """Return sigma2(s, t)."""
        start, end = self._interval(s, t)
        left = np.where(start < end, 1.0 - start, 1.0)
        return ((end - start) * (end * (1.0 - start) + start * (1.0 - end)) / np.square(left))[()]

    def _alpha(self, t: FloatArray) -> FloatArray:
        return np.asarray(1.0 - t)

    def _std(self, t: FloatArray) -> FloatArray:
        return np.asarray(t, dtype=np.float64)

    def _slope(self, t: FloatArray) -> FloatArray:
        return np.asarray(-1.0 / (1.0 - t))

    def _power(self, t: FloatArray) -> FloatArray:
        return np.asarray(2.0 * t / (1.0 - t))
