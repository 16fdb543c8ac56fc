"""Step grids by the names that papers and libraries give them: decreasing forward times for n steps of a sampler.

Those of noise levels (`karras`, `exponential`, `log_snr`) and `uniform` run from `t_max` to `t_min`, both included.
Those of integer timesteps (`leading`, `trailing`, `linspace`, `from_timesteps`, diffusers' words) are the times of n
levels of a table, at which a model is asked, and `t_min` at the end, by default 0: clean data. Timestep k of N lies at
``t = T (k + 1)/N``, as in `fpsolve.FromAlphasCumprod`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from fpsolve import _checks, _times
from fpsolve._checks import FloatArray, digits, error
from fpsolve.processes import EDM, FromAlphasCumprod, Process

__all__ = ["exponential", "from_timesteps", "karras", "leading", "linspace", "log_snr", "trailing", "uniform"]

#: Where runs end unless told, in T.
_LAST = 1e-3
_HALVINGS = 110


def uniform(n: int, process: Process, *, t_min: float | None = None, t_max: float | None = None) -> FloatArray:
    """Return n + 1 times, evenly in t.

    Parameters
    ----------
    n : int
        Steps >= 1.
    process : Process
    t_min, t_max : float, optional
        Ends, ``0 <= t_min < t_max <= T``; defaults T/1000 (EDM: sigma_min; a table: its first level) and T.

    Raises
    ------
    ValueError
        Ends or n out of range.

    Examples
    --------
    >>> import fpsolve as fp
    >>> uniform(4, fp.VP(), t_min=0.0).tolist()
    [1.0, 0.75, 0.5, 0.25, 0.0]
    """
    count, first, last = _ends(n, process, t_min, t_max, "[)")
    return np.linspace(first, last, count + 1)


def karras(
    n: int, process: Process, rho: float = 7.0, *, t_min: float | None = None, t_max: float | None = None
) -> FloatArray:
    r"""Return n + 1 times whose noise levels ``sigma = s/alpha`` are even in ``sigma^(1/rho)``.

    .. math:: \sigma_i = (\sigma_0^{1/\rho} + (i/n) (\sigma_n^{1/\rho} - \sigma_0^{1/\rho}))^\rho

    Parameters
    ----------
    n, process, t_min, t_max
        As in `uniform`; t_min > 0, and alpha > 0 at t_max.
    rho : float, default 7
        Exponent > 0.

    Raises
    ------
    ValueError
        Ends, n or rho out of range; an infinite noise level at t_max.

    Notes
    -----
    Karras et al. count n levels and step from the last one to 0: that is ``numpy.append(karras(n - 1, ...), 0.0)``.

    References
    ----------
    Karras et al. 2022, arXiv:2206.00364, equation 5.

    Examples
    --------
    >>> import fpsolve as fp
    >>> karras(3, fp.EDM()).round(4).tolist()
    [80.0, 9.7232, 0.47, 0.002]
    """
    _checks.positive("rho", rho)
    count, first, last = _ends(n, process, t_min, t_max)
    top, bottom = _log_levels(process, np.array([first, last])) / rho
    share = np.arange(count + 1) / count
    # relative to the largest: powers of levels may be large
    return _at_levels(process, first, last, rho * (top + np.log1p(share * np.expm1(bottom - top))))


def exponential(n: int, process: Process, *, t_min: float | None = None, t_max: float | None = None) -> FloatArray:
    """Return n + 1 times whose noise levels ``sigma = s/alpha`` fall by the same factor in every step.

    Parameters, errors: as in `karras`, of which it is the limit of large rho.

    Examples
    --------
    >>> import fpsolve as fp
    >>> exponential(2, fp.EDM(sigma_min=0.01, sigma_max=100.0)).round(6).tolist()
    [100.0, 1.0, 0.01]
    """
    count, first, last = _ends(n, process, t_min, t_max)
    top, bottom = _log_levels(process, np.array([first, last]))
    return _at_levels(process, first, last, np.linspace(top, bottom, count + 1))


def log_snr(n: int, process: Process, *, t_min: float | None = None, t_max: float | None = None) -> FloatArray:
    """Return n + 1 times even in ``log(alpha/s)``, the grid of DPM-Solver: `exponential` by another name.

    References
    ----------
    Lu et al. 2022, arXiv:2206.00927.

    Examples
    --------
    >>> import fpsolve as fp
    >>> bool(np.all(log_snr(7, fp.VP()) == exponential(7, fp.VP())))
    True
    """
    return exponential(n, process, t_min=t_min, t_max=t_max)


def leading(n: int, process: Process, *, levels: int | None = None, offset: int = 0, t_min: float = 0.0) -> FloatArray:
    """Return the times of timesteps ``(n - 1) (N // n), ..., N // n, 0``, all plus `offset`, and t_min.

    The first step does not begin at T: what diffusers calls "leading" starts from a marginal that is not the prior's.

    Parameters
    ----------
    n : int
        Timesteps, 1 to N.
    process : Process
    levels : int, optional
        N: that of the table, else 1000.
    offset : int, default 0
        diffusers' `steps_offset` (1 in Stable Diffusion).
    t_min : float, default 0
        Where the last step ends.

    Raises
    ------
    ValueError
        Arguments out of range.

    Examples
    --------
    >>> import fpsolve as fp
    >>> leading(4, fp.VP()).tolist()
    [0.751, 0.501, 0.251, 0.001, 0.0]
    """
    count, most = _counts(n, process, levels)
    steps = np.arange(count - 1, -1, -1) * (most // count) + _checks.integer("offset", offset, minimum=0)
    return from_timesteps(steps, process, levels=levels, t_min=t_min)


def trailing(n: int, process: Process, *, levels: int | None = None, t_min: float = 0.0) -> FloatArray:
    """Return the times of timesteps ``round(N - k N/n) - 1``, k = 0..n-1, and t_min: the first step begins at T.

    Parameters, errors: as in `leading`.

    References
    ----------
    Lin et al. 2023, arXiv:2305.08891, table 2.

    Examples
    --------
    >>> import fpsolve as fp
    >>> trailing(4, fp.VP()).tolist()
    [1.0, 0.75, 0.5, 0.25, 0.0]
    """
    count, most = _counts(n, process, levels)
    steps = np.rint(most - np.arange(count) * (most / count)) - 1.0
    return from_timesteps(steps, process, levels=levels, t_min=t_min)


def linspace(n: int, process: Process, *, levels: int | None = None, t_min: float = 0.0) -> FloatArray:
    """Return the times of timesteps ``round(linspace(N - 1, 0, n))``, and t_min.

    Parameters, errors: as in `leading`.

    Examples
    --------
    >>> import fpsolve as fp
    >>> linspace(4, fp.VP()).tolist()
    [1.0, 0.667, 0.334, 0.001, 0.0]
    """
    count, most = _counts(n, process, levels)
    steps = np.rint(np.linspace(0.0, most - 1.0, count))[::-1] if count > 1 else np.zeros(1)
    return from_timesteps(steps, process, levels=levels, t_min=t_min)


def from_timesteps(
    timesteps: ArrayLike, process: Process, *, levels: int | None = None, t_min: float = 0.0
) -> FloatArray:
    """Return the times ``T (k + 1)/N`` of decreasing timesteps k, as a scheduler lists them, and t_min at the end.

    Parameters
    ----------
    timesteps : array_like of shape (n,)
        Decreasing, from 0 to N - 1; numbers between are taken too.
    process, levels, t_min
        As in `leading`.

    Raises
    ------
    ValueError
        Timesteps out of range or not decreasing, a t_min that is not below the last of them.

    Examples
    --------
    >>> import fpsolve as fp
    >>> from_timesteps([999, 499], fp.VP()).tolist()
    [1.0, 0.5, 0.0]
    """
    _checks.instances(process=(process, Process))
    most = _levels(process, levels)
    steps = _checks.finite_array("timesteps", timesteps, shape=(None,))
    if steps.size == 0 or steps.min() < 0.0 or steps.max() > most - 1:
        got = digits(steps[np.argmax((steps < 0.0) | (steps > most - 1))]) if steps.size else "none"
        raise error("timesteps", f"numbers from 0 to {most - 1}", got, "levels= says how many there are")
    last = float(process.T * (steps[-1] + 1.0) / most)
    end = _times.one("t_min", t_min, 0.0, last, ends="[)")
    return _times.decreasing("timesteps", np.append(process.T * (steps + 1.0) / most, end), process.T)


def _levels(process: Process, levels: int | None) -> int:
    if levels is not None:
        return _checks.integer("levels", levels, minimum=1)
    return process.levels if isinstance(process, FromAlphasCumprod) else 1000


def _counts(n: int, process: Process, levels: int | None) -> tuple[int, int]:
    """Return n and N, checked."""
    _checks.instances(process=(process, Process))
    count, most = _checks.integer("n", n, minimum=1), _levels(process, levels)
    if count > most:
        raise error("n", f"at most {most} timesteps, as many as there are", str(count))
    return count, most


def _ends(
    n: int, process: Process, t_min: float | None, t_max: float | None, ends: str = "()"
) -> tuple[int, float, float]:
    """Return n and the first and last time, checked."""
    _checks.instances(process=(process, Process))
    first = process.T if t_max is None else _times.one("t_max", t_max, 0.0, process.T, ends="(]")
    if t_min is None:
        own = _LAST * process.T
        if isinstance(process, EDM):
            own = process.sigma_min
        elif isinstance(process, FromAlphasCumprod):
            own = float(process.time_of(0))
        t_min = own if own < first else _LAST * first
    return _checks.integer("n", n, minimum=1), first, _times.one("t_min", t_min, 0.0, first, ends=ends)


def _log_levels(process: Process, t: FloatArray) -> FloatArray:
    """Return ``log(s/alpha)``."""
    scale = np.asarray(process.scale(0.0, t))
    if scale.min() <= 0.0:
        at = digits(t[int(np.argmin(scale))])
        remedy = f"give t_max = {digits(0.999 * process.T)}, or a grid in t: uniform, trailing"
        raise error("t_max", "a time with a finite noise level", f"{at}, where alpha(0, t) = 0", remedy)
    return np.asarray(0.5 * np.log(process.variance(0.0, t)) - np.log(scale))


def _at_levels(process: Process, first: float, last: float, wanted: FloatArray) -> FloatArray:
    """Return the times at which log(s/alpha), increasing in t, is what is wanted: halved in log t, ends exact."""
    low, high = np.full(wanted.size, np.log(last)), np.full(wanted.size, np.log(first))
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        above = _log_levels(process, np.exp(middle)) > wanted
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    times = np.exp(0.5 * (low + high))
    times[[0, -1]] = first, last
    return _times.decreasing("n", times, process.T, wanted="few enough steps for distinct")
