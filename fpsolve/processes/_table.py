"""Variance-preserving processes from tables of discrete models (betas, cumulative products of 1 - beta), and cosine VP.

A table of N levels says ``alpha(0, t_n)^2`` at ``t_n = T (n + 1)/N``, n = 0..N-1; t = 0 is clean data. Between them
``B = -log alpha^2`` is a cubic spline, beta = B' is smooth; where the table itself jumps (the clipped end of cosine
tables) B is monotone (Fritsch and Butland 1984, doi:10.1137/0905021), and the kinks of beta are announced.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve import _checks, _memory
from fpsolve._checks import FloatArray, digits, error
from fpsolve._times import Joints
from fpsolve.processes._base import VariancePreserving
from fpsolve.processes._path import HELD

Schedule = Literal["linear", "scaled_linear", "squaredcos_cap_v2", "cosine"]
#: First and last beta of the tables that have them, per table of 1000: DDPM's, Stable Diffusion's.
_ENDS = {"linear": (1e-4, 0.02), "scaled_linear": (0.00085, 0.012)}
#: Offset s of Nichol and Dhariwal, their cap of a beta, and what this is per T with 1000 steps.
_OFFSET, _CAP, _CLIP = 0.008, 0.999, 999.0
#: Second difference of the steps of B, per step, beyond which the table is rough there; most kinks that are announced.
_ROUGH, _MOST_KINKS = 0.05, 300
#: Between so few levels steps of a run feel every change of the cubic.
_FEW = 128
#: Beyond this share a time is not the time of a level.
_SAME = 1e-9


@dataclass(frozen=True, repr=False)
class FromAlphasCumprod(VariancePreserving):
    """The variance-preserving process with ``alpha(0, t_n)^2 = alphas_cumprod[n]`` at ``t_n = T (n + 1)/N``.

    ``alpha(s, t) = exp(-B(s, t)/2)``, ``sigma2(s, t) = 1 - exp(-B(s, t))``, ``B(s, t) = int_s^t beta``, beta the smooth
    one of the module's text. A last level of 0 (zero terminal signal-to-noise ratio) is legal: then
    ``B = -2 log(1 - t/T) +`` a spline, and beta, infinite at T, is held from ``T (1 - 1e-8)`` on.

    Parameters
    ----------
    alphas_cumprod : array_like of shape (N,)
        Cumulative products of 1 - beta, decreasing, in (0, 1), the last one >= 0; N >= 4.
    T : float, default 1
        Final time > 0, the time of the last level.

    Raises
    ------
    ValueError
        A table that is none.

    References
    ----------
    Ho et al. 2020, arXiv:2006.11239; Lin et al. 2023, arXiv:2305.08891 (zero terminal signal-to-noise ratio).

    Examples
    --------
    >>> process = FromAlphasCumprod(np.cumprod(1.0 - np.linspace(1e-4, 0.02, 1000)))
    >>> process.time_of(499), round(float(process.scale(0.0, process.time_of(999))) ** 2 * 1e5, 4)
    (0.5, 4.0358)
    """

    alphas_cumprod: tuple[float, ...]
    T: float = 1.0

    def __post_init__(self) -> None:
        _checks.positive("T", self.T)
        table = _checks.finite_array("alphas_cumprod", self.alphas_cumprod, shape=(None,))
        if len(table) < 4:
            raise error("alphas_cumprod", "at least four levels", f"{len(table)}", "VP() has a linear schedule")
        wrong = np.flatnonzero((np.diff(table, prepend=1.0) >= 0.0) | (table < 0.0))
        if wrong.size:
            k = int(wrong[0])
            got, remedy = f"{digits(table[k])} at n = {k}", "from betas: fpsolve.VP.from_betas(betas)"
            raise error("alphas_cumprod", "numbers that decrease from below 1 to >= 0", got, remedy)
        object.__setattr__(self, "alphas_cumprod", tuple(table.tolist()))

    def __repr__(self) -> str:
        table = self.alphas_cumprod
        key = hashlib.sha256(np.array(table).tobytes()).hexdigest()[:8]
        ends = f"{len(table)} levels from {table[0]:.6g} to {table[-1]:.6g}"
        return f"FromAlphasCumprod({ends}, {key}, T={digits(self.T)})"

    @property
    def levels(self) -> int:
        """Number N of levels."""
        return len(self.alphas_cumprod)

    def time_of(self, n: ArrayLike) -> Any:
        """Return the time ``T (n + 1)/N`` of timestep n, 0 <= n < N, or of a number between; -1 is clean data."""
        step = _checks.finite_array("n", n)
        if step.size and not (step.min() >= -1.0 and step.max() <= self.levels - 1):
            raise error("n", f"timesteps from 0 to {self.levels - 1} (-1 for clean data)", digits(step.ravel()[0]))
        time = self.T * (step + 1.0) / self.levels
        return float(time) if time.ndim == 0 else time

    def timestep_of(self, t: ArrayLike) -> Any:
        """Return the timestep ``N t/T - 1`` that a model takes at time t: an int where it is one, else between two."""
        step = np.asarray(self._time(t)) * self.levels / self.T - 1.0
        whole = np.rint(step)
        step = np.where(np.abs(step - whole) <= _SAME * self.levels, whole, step)
        if step.ndim == 0:
            return int(step) if step == np.rint(step) else float(step)
        return step.astype(np.int64) if np.array_equal(step, np.rint(step)) else step

    @property
    def held_from(self) -> float:
        """``T (1 - 1e-8)`` where the last level is 0, else T."""
        return self.T * (1.0 - HELD) if self._vanishes else self.T

    @cached_property
    def joints(self) -> Joints:
        """Levels at which the table is rough, as at the end of cosine tables; all of few, none of hundreds."""
        rough = np.full(len(self._nodes), True) if self.levels <= _FEW else self._rough
        edge = rough.copy()
        edge[1:] |= rough[:-1]
        edge[:-1] |= rough[1:]
        at = self._nodes[edge]
        at = at[(at > 0.0) & (at < self.T)]
        return Joints(tuple(at.tolist())) if at.size <= _MOST_KINKS else Joints(rough=True)

    @property
    def kinks(self) -> tuple[float, ...]:
        """Times of the `joints`."""
        return self.joints.times

    def beta(self, t: Any) -> FloatArray:
        """Return the noise rate beta(t) = B'(t)."""
        time = np.minimum(self._time(t), self.held_from)
        k, c = self._piece(time)
        u = time - self._nodes[k]
        rate = (3.0 * c[0] * u + 2.0 * c[1]) * u + c[2]
        return np.asarray(rate + 2.0 / (self.T - time) if self._vanishes else rate)[()]

    @property
    def _vanishes(self) -> bool:
        return self.alphas_cumprod[-1] == 0.0

    @cached_property
    def _nodes(self) -> FloatArray:
        """Times of the levels that have a finite B, 0 included."""
        count = self.levels - self._vanishes
        return self.T * np.arange(count + 1) / self.levels

    @cached_property
    def _values(self) -> FloatArray:
        """B at the nodes, without ``-2 log(1 - t/T)`` where the last level is 0."""
        table = np.array(self.alphas_cumprod[: len(self._nodes) - 1])
        values = np.append(0.0, -np.log(table))
        return values + 2.0 * np.log1p(-self._nodes / self.T) if self._vanishes else values

    @cached_property
    def _rough(self) -> NDArray[np.bool_]:
        """Which nodes have steps of B beside them that do not change smoothly."""
        steps = np.diff(-np.log(np.append(1.0, self.alphas_cumprod[: len(self._nodes) - 1])))
        least = np.minimum(steps[:-2], np.minimum(steps[1:-1], steps[2:]))
        bent = np.abs(np.diff(self._values, n=3)) > _ROUGH * least
        rough = np.zeros(len(self._nodes), dtype=bool)
        # a second difference of three steps lies between four nodes
        rough[1:-2] |= bent
        rough[2:-1] |= bent
        return rough

    @cached_property
    def _cubics(self) -> FloatArray:
        """Coefficients per piece, highest power first, shape (4, pieces)."""
        from scipy.interpolate import CubicHermiteSpline, CubicSpline, PchipInterpolator

        x, y, rough = self._nodes, self._values, self._rough
        slopes = PchipInterpolator(x, y).derivative()(x)
        edges = np.flatnonzero(np.diff(np.concatenate([[True], rough, [True]]).astype(int)))
        for first, last in zip(edges[::2], edges[1::2], strict=True):
            if last - first >= 4:
                slopes[first:last] = CubicSpline(x[first:last], y[first:last])(x[first:last], 1)
        smooth = np.asarray(CubicHermiteSpline(x, y, slopes).c)
        # whether beta > 0 at nine places of every piece
        share = np.linspace(0.0, 1.0, 9)[:, None]
        u = share * np.diff(self._nodes)
        rate = (3.0 * smooth[0] * u + 2.0 * smooth[1]) * u + smooth[2]
        if self._vanishes:
            rate = rate + 2.0 / (self.T - self._nodes[:-1] - u)
        return smooth if rate.min() > 0.0 else np.asarray(PchipInterpolator(x, y).c)

    def _piece(self, t: FloatArray) -> tuple[NDArray[np.intp], FloatArray]:
        k = np.clip(np.searchsorted(self._nodes, t, side="right") - 1, 0, len(self._nodes) - 2)
        return k, self._cubics[:, k]

    def _integral(self, s: Any, t: Any) -> FloatArray:
        """Return B(s, t) as a sum over pieces: within one the difference of cubics is divided by t - s beforehand."""
        start, end = self._interval(s, t)
        whole = self._between(start.item(), end.item()) if start.ndim == end.ndim == 0 else self._sums(start, end)
        if self._vanishes:
            with np.errstate(divide="ignore"):
                gap = np.where(end > start, (end - start) / np.where(start < self.T, self.T - start, 1.0), 0.0)
                whole = whole - 2.0 * np.log1p(-gap)
        return np.asarray(whole)[()]

    def _sums(self, start: FloatArray, end: FloatArray) -> FloatArray:
        (i, _), (j, _) = self._piece(start), self._piece(end)
        last = np.where(i == j, end, self._nodes[i + 1])
        first = np.where(i == j, end, self._nodes[j])
        whole = self._within(i, start, last) + self._within(j, first, end)
        return np.asarray(whole + np.where(i == j, 0.0, self._values[j] - self._values[np.minimum(i + 1, j)]))

    def _within(self, k: NDArray[np.intp], s: FloatArray, t: FloatArray) -> FloatArray:
        """Return the cubic of piece k at t less at s."""
        c = self._cubics[:, k]
        u, v = s - self._nodes[k], t - self._nodes[k]
        return np.asarray((t - s) * (c[0] * (u * u + u * v + v * v) + c[1] * (u + v) + c[2]))

    @cached_property
    def _plain(self) -> tuple[list[float], list[list[float]], list[float]]:
        """Nodes, cubics and values as plain numbers: samplers ask for one pair of times at every step."""
        return self._nodes.tolist(), self._cubics[:3].T.tolist(), self._values.tolist()

    def _between(self, s: float, t: float) -> float:
        """Return what `_sums` does of one pair of times, to the bit."""
        nodes, cubics, values = self._plain

        def within(k: int, low: float, high: float) -> float:
            (a, b, c), u, v = cubics[k], low - nodes[k], high - nodes[k]
            return (high - low) * (a * (u * u + u * v + v * v) + b * (u + v) + c)

        i, j = (min(max(bisect_right(nodes, at) - 1, 0), len(nodes) - 2) for at in (s, t))
        if i == j:
            return within(i, s, t)
        return within(i, s, nodes[i + 1]) + within(j, nodes[j], t) + (values[j] - values[i + 1])


def betas(
    schedule: Schedule = "linear", steps: int = 1000, *, first: float | None = None, last: float | None = None
) -> FloatArray:
    """Return a table of betas by the name that practitioners use, shape (steps,).

    "linear": evenly from 1e-4 to 0.02 (Ho et al. 2020, arXiv:2006.11239); "scaled_linear": squares of evenly spaced
    square roots, 0.00085 to 0.012 (Rombach et al. 2022, arXiv:2112.10752); "squaredcos_cap_v2", also "cosine":
    ``min(1 - f((n + 1)/N)/f(n/N), 0.999)``, ``f(u) = cos^2(pi/2 (u + 0.008)/1.008)`` (Nichol and Dhariwal 2021,
    arXiv:2102.09672).

    Parameters
    ----------
    schedule : {"linear", "scaled_linear", "squaredcos_cap_v2", "cosine"}
    steps : int, default 1000
        Number N of levels.
    first, last : float, optional
        Other ends of the linear ones, in (0, 1).

    Raises
    ------
    ValueError
        An unknown name, ends out of range or given for a cosine table.

    Examples
    --------
    >>> betas("linear")[[0, -1]].tolist()
    [0.0001, 0.02]
    """
    _checks.one_of("schedule", schedule, ("linear", "scaled_linear", "squaredcos_cap_v2", "cosine"))
    count = _memory.count("steps", steps, 128.0, "take fewer steps", minimum=4)
    if schedule not in _ENDS:
        if first is not None or last is not None:
            raise error("first, last", f"none for {schedule!r}, which has no ends", "one")
        f = np.square(np.cos(0.5 * np.pi * (np.arange(count + 1) / count + _OFFSET) / (1.0 + _OFFSET)))
        return np.asarray(np.minimum(1.0 - f[1:] / f[:-1], _CAP))
    ends = [own if given is None else given for own, given in zip(_ENDS[schedule], (first, last), strict=True)]
    for name, end in zip(("first", "last"), ends, strict=True):
        _checks.interval(name, end, 0.0, 1.0, ends="()")
    if schedule == "linear":
        return np.linspace(ends[0], ends[1], count)
    return np.square(np.linspace(ends[0] ** 0.5, ends[1] ** 0.5, count))


def zero_terminal_snr(alphas_cumprod: ArrayLike) -> FloatArray:
    """Return a table whose square roots are shifted to end at 0 and scaled to begin where they did, shape (N,).

    Lin et al. 2023, arXiv:2305.08891, section 3.1.

    Examples
    --------
    >>> float(zero_terminal_snr(np.cumprod(1.0 - betas("scaled_linear")))[-1])
    0.0
    """
    root = np.sqrt(_checks.finite_array("alphas_cumprod", alphas_cumprod, shape=(None,)))
    return np.asarray(np.square((root - root[-1]) * (root[0] / (root[0] - root[-1]))))


def from_betas(
    table: Schedule | ArrayLike = "linear", *, steps: int = 1000, zero_snr: bool = False, T: float = 1.0
) -> FromAlphasCumprod:
    """Return the process of a table of betas, ``alphas_cumprod = cumprod(1 - beta)``.

    Parameters
    ----------
    table : str or array_like of shape (N,)
        A name that `betas` knows, or betas in (0, 1); the last one may be 1.
    steps : int, default 1000
        Levels of a named table.
    zero_snr : bool, default False
        Shift and scale it to zero terminal signal-to-noise ratio, see `zero_terminal_snr`.
    T : float, default 1
        Final time > 0.

    Raises
    ------
    ValueError
        Betas out of range, an unknown name.

    Examples
    --------
    >>> from_betas("scaled_linear", zero_snr=True)
    FromAlphasCumprod(1000 levels from 0.99915 to 0, ..., T=1)
    """
    if isinstance(table, str):
        rates = betas(cast(Schedule, table), steps)
    else:
        rates = _checks.finite_array("betas", table, shape=(None,))
    if rates.size == 0 or not (rates.min() > 0.0 and rates.max() <= 1.0):
        wrong = rates[(rates <= 0.0) | (rates > 1.0)]
        raise error("betas", "numbers in (0, 1)", digits(wrong[0]) if wrong.size else "none")
    with np.errstate(divide="ignore"):
        levels = np.exp(np.cumsum(np.log1p(-rates)))
    if _checks.flag("zero_snr", zero_snr):
        levels = zero_terminal_snr(levels)
    return FromAlphasCumprod(tuple(levels.tolist()), T)


@dataclass(frozen=True)
class CosineVP(VariancePreserving):
    """The process ``dX = -beta(t)/2 X dt + sqrt(beta(t)) dW`` with the cosine schedule, clipped.

    With ``phi(t) = (t/T + 0.008)/1.008 * pi/2`` and ``abar(t) = cos(phi(t))^2 / cos(phi(0))^2``, unclipped
    ``beta = -d log abar/dt = pi/(1.008 T) tan(phi)``, which diverges at T. Here ``beta`` is the minimum of
    that and ``999/T``, and `scale` and `variance` are those of the clipped beta:
    ``alpha(s, t) = sqrt(abar(t)/abar(s))`` before `clip_time` (about 0.998 T), with ``int beta`` growing
    linearly after it; ``sigma2 = 1 - alpha^2``.

    Parameters
    ----------
    T : float, default 1
        Final time > 0.

    Raises
    ------
    ValueError
        If `T` is not > 0.

    References
    ----------
    Nichol and Dhariwal 2021, arXiv:2102.09672, equation 17.

    Examples
    --------
    >>> process = CosineVP()
    >>> round(float(process.scale(0.0, 0.5)), 6), round(float(process.beta(1.0)), 6)
    (0.70274, 999.0)
    """

    T: float = 1.0

    def __post_init__(self) -> None:
        _checks.positive("T", self.T)

    @property
    def clip_time(self) -> float:
        """Time from which on beta is held at 999/T."""
        angle = np.arctan(_CLIP / (self.T * 2.0 * self._speed))
        return float(self.T * (angle * (1.0 + _OFFSET) / (0.5 * np.pi) - _OFFSET))

    @property
    def kinks(self) -> tuple[float, ...]:
        """`clip_time`, where beta has a kink."""
        return (self.clip_time,)

    def beta(self, t: Any) -> FloatArray:
        """Return the clipped noise rate beta(t)."""
        time = self._time(t)
        before = np.minimum(time, self.clip_time)
        return np.where(time < self.clip_time, 2.0 * self._speed * np.tan(self._angle(before)), _CLIP / self.T)[()]

    @property
    def _speed(self) -> float:
        """Return phi'."""
        return float(0.5 * np.pi / ((1.0 + _OFFSET) * self.T))

    def _angle(self, t: FloatArray) -> FloatArray:
        return (t / self.T + _OFFSET) / (1.0 + _OFFSET) * (0.5 * np.pi)

    def _integral(self, s: Any, t: Any) -> FloatArray:
        """Return B(s, t) = int_s^t beta.

        Before the clip, ``cos phi(t)/cos phi(s) = 1 - (2 sin^2(d/2) + tan phi(s) sin d)`` with
        ``d = phi(t) - phi(s)`` needs no difference of logarithms.
        """
        start, end = self._interval(s, t)
        low, high = np.minimum(start, self.clip_time), np.minimum(end, self.clip_time)
        turn = self._speed * (high - low)
        drop = 2.0 * np.sin(0.5 * turn) ** 2 + np.tan(self._angle(low)) * np.sin(turn)
        clipped = np.maximum(end, self.clip_time) - np.maximum(start, self.clip_time)
        integral: FloatArray = -2.0 * np.log1p(-drop) + clipped * _CLIP / self.T
        return integral
