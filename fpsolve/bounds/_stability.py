"""Stability in relative entropy: what a score error does to KL along a run, against what it can do at most.

Both bounds come from differentiating the entropy along the Fokker-Planck equation with a drift error: the Fisher
information that diffusion takes away absorbs half of what the error adds (Young's inequality).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fpsolve import _checks, _runs, distances, weights
from fpsolve._callables import values_of
from fpsolve.bounds._closed import score_slope
from fpsolve.bounds._line import RESOLVED, Line, on_cells
from fpsolve.bounds._record import Hypothesis, Record, failure
from fpsolve.dynamics import Reverse
from fpsolve.grid import Grid
from fpsolve.laws import Law

if TYPE_CHECKING:
    import xarray as xr


Array = NDArray[np.float64]
Error = Callable[[float, Array], Any]

#: Densities below this share of their largest value are rounding: no information is read off them.
_FLOOR = 1e-12
_OF_RUN = "that the run was made under the drift and noise of the statement, with this error"
#: Share of the wanted convexity that differences on the grid may miss.
_CONVEXITY_SLACK = 1e-3


@dataclass(frozen=True, eq=False, kw_only=True)
class KLStability(Record):
    """A bound of the relative entropy along a run, and the entropy itself; see `langevin_kl` and `reverse_kl`.

    Attributes
    ----------
    value : float or None
        The bound at the last saved time.
    kl_start, kl_end : float
        Measured at the first and last saved time.
    times : array, shape (saves,)
        Forward times.
    bound, measured, measured_error : arrays, shape (saves,)
        The bound, the relative entropy of the run, and its error: of the integral, and of the densities to first order.
    """

    kl_start: float
    kl_end: float
    times: Array = field(repr=False)
    bound: Array = field(repr=False)
    measured: Array = field(repr=False)
    measured_error: Array = field(repr=False)

    @property
    def holds(self) -> Hypothesis:
        """Whether the measured entropy is below the bound at every saved time, beyond the errors of both."""
        slack = self.bound + self.measured_error - self.measured
        k = int(np.argmin(slack))
        return Hypothesis("measured KL <= bound", float(slack[k]), f"smallest at t = {self.times[k]:.4g}")


def langevin_kl(
    run: xr.Dataset, law: Law, error: Error, *, convexity: float, diffusivity: float = 1.0, start: str | None = None
) -> KLStability:
    r"""Return the entropy bound of Langevin dynamics with a drift error.

    For ``dY = (D grad log pi + delta) dr + sqrt(2 D) dB`` and a law pi with ``Hess(-log pi) >= l > 0``,

    .. math:: \mathrm{KL}(u_r | \pi) \le e^{-l D r}\, \mathrm{KL}(u_0 | \pi)
              + \frac{\sup_s E_{u_s} |\delta|^2}{2\, l\, D^2},

    by the logarithmic Sobolev inequality of Bakry and Emery.

    Parameters
    ----------
    run : Dataset
        From `fpsolve.evolve`, under the drift with the error, in the fixed frame.
    law : Law
        pi.
    error : callable ``delta(t, x)``
        Drift error, of the shape of x.
    convexity : float
        l > 0, checked on the grid.
    diffusivity : float
        D, default 1 as in `fpsolve.Langevin`.
    start : str, optional
        Label of the start, where the run has several.

    Raises
    ------
    ValueError
        A run in the scaled frame, an unknown start, l or D not > 0.

    References
    ----------
    Bakry and Emery 1985, doi:10.1007/BFb0075847.

    Examples
    --------
    >>> import fpsolve as fp
    >>> law, grid = fp.Gaussian(0.0, std=1.0), fp.Grid.uniform((-8, 8), cells=160)
    >>> pushed = fp.Dynamics(lambda t, x: -x + 0.5, 2**0.5)  # ends in N(0.5, 1): KL = 1/8, and the bound is attained
    >>> run = fp.evolve(pushed, fp.Gaussian(0.0, std=1.0), grid=grid, steps=60, t_max=6.0)
    >>> found = langevin_kl(run, law, lambda t, x: np.full_like(x, 0.5), convexity=1.0)
    >>> round(found.value, 4), round(found.kl_end, 3), found.holds.holds
    (0.125, 0.124, True)
    """
    _checks.instances(law=(law, Law))
    run = _runs.tidy(run)
    grid, density, t = _read(run, start)
    rate = _checks.positive("convexity", convexity) * _checks.positive("diffusivity", diffusivity)
    measured, off = _entropies(run, density, grid, [law] * len(t))
    size, resolved = _mean_squares(density, grid, t, error)
    r = np.abs(t - t[0])
    bound = np.exp(-rate * r) * measured[0] + np.maximum.accumulate(size) / (2.0 * rate * diffusivity)
    least, where, beyond = _least_convexity(law, grid)
    checked = (
        Hypothesis("Hess(-log pi) >= l", least - convexity * (1.0 - _CONVEXITY_SLACK), where, "Bakry and Emery 1985"),
        resolved,
    )
    return _record(
        "KL_r <= exp(-l D r) KL_0 + sup E|delta|^2/(2 l D^2) (Bakry and Emery 1985)",
        checked, (*beyond, "sup of E|delta|^2 between the saved times", _OF_RUN), t, bound, measured, off,
    )  # fmt: skip


def reverse_kl(
    run: xr.Dataset, reverse: Reverse, error: Error, *, start: str | None = None, information: bool = True
) -> KLStability:
    r"""Return the entropy bound of a reverse run with a score error, relative to the exact marginals.

    With u the density under the score ``grad log p_t + e`` and ``c = (1 + eta^2)/2 g^2``,

    .. math:: \frac{d}{dr} \mathrm{KL}(u | p) \le -\frac{\eta^2 g^2}{4}\, I(u | p)
              + \frac{c^2}{\eta^2 g^2} \int u\, |e|^2 ,

    I the relative Fisher information; for eta = 1 the factors are ``g^2/4`` and ``g^2``. Integrated over the saved
    times by the trapezoidal rule, from the entropy at the first.

    Parameters
    ----------
    run : Dataset
        From `fpsolve.evolve` under the score with the error, in the fixed frame, saved at enough times for the
        integral: its error, from every second time, is part of what the bound is allowed.
    reverse : Reverse
        The exact dynamics, eta > 0.
    error : callable ``e(t, x)``
        Score error, of the shape of x.
    start : str, optional
        Label of the start, where the run has several.
    information : bool
        Subtract the Fisher information, read off the densities; False leaves it out, for a bound that needs nothing
        but ``E|e|^2``.

    Raises
    ------
    ValueError
        eta = 0, dynamics with a score model, a run in the scaled frame or of other dynamics, an unknown start.

    Examples
    --------
    >>> import fpsolve as fp
    >>> exact = fp.Reverse(fp.Gaussian(0.0, std=0.5), fp.OrnsteinUhlenbeck(T=1.0))
    >>> e = lambda t, x: np.full_like(x, 0.2)
    >>> wrong = fp.Reverse(exact.target, exact.process, score=lambda t, x: exact.score(t, x) + e(t, x))
    >>> run = fp.evolve(wrong, exact.marginal(1.0), grid=fp.Grid.uniform((-7, 7), cells=200), steps=80, t_min=0.05)
    >>> found = reverse_kl(run, exact, e)
    >>> found.holds.holds, bool(found.kl_end < found.value < 3.0 * found.kl_end)
    (True, True)
    """
    _checks.instances(reverse=(reverse, Reverse))
    _checks.flag("information", information)
    if not reverse.exact:
        raise _checks.error("reverse", "the exact dynamics", "one with a score model", "leave score out")
    run = _runs.tidy(run)
    _runs.require_made_of(run, target=reverse.target, process=reverse.process, eta=reverse.eta)
    grid, density, t = _read(run, start)
    g2 = np.array([float(reverse.process.diffusion(s)) ** 2 for s in t])
    noise2 = np.array([float(reverse.noise(s)) ** 2 for s in t])
    if not np.all(noise2 > 0.0):
        raise _checks.error("reverse", "eta > 0", "no noise", "without it entropy is not dissipated")
    laws = [reverse.marginal(float(s)) for s in t]
    measured, off = _entropies(run, density, grid, laws)
    size, resolved = _mean_squares(density, grid, t, error)
    rate = np.square(0.5 * (g2 + noise2)) / noise2 * size
    if information:
        found = [_information(q, grid.cell_average(law), grid) for q, law in zip(density, laws, strict=True)]
        rate = rate - 0.25 * noise2 * np.array(found)
    gained, doubt = _integral(rate, np.abs(t - t[0]))
    return _record(
        "d/dr KL <= -(eta^2 g^2/4) I + c^2/(eta^2 g^2) E|e|^2, integrated",
        (Hypothesis("eta > 0", float(np.min(noise2 / g2)), "smallest eta^2 at the saved times"), resolved),
        ("decay of u log(u/p) at infinity", "E|e|^2 beyond the box and between the saved times", _OF_RUN),
        t, measured[0] + gained, measured, off + doubt,
    )  # fmt: skip


def _record(
    statement: str,
    checked: tuple[Hypothesis, ...],
    unchecked: tuple[str, ...],
    t: Array,
    bound: Array,
    measured: Array,
    off: Array,
) -> KLStability:
    reason = failure(checked)
    return KLStability(
        value=None if reason else float(bound[-1]),
        statement=statement,
        checked=checked,
        unchecked=unchecked,
        reason=reason,
        kl_start=float(measured[0]),
        kl_end=float(measured[-1]),
        times=t,
        bound=bound,
        measured=measured,
        measured_error=off,
    )


def _read(run: xr.Dataset, start: str | None) -> tuple[Grid, Array, Array]:
    """Grid, densities (saves, nx[, ny]) and times of one start."""
    if _runs.attribute(run, "frame") != "fixed":
        raise _checks.error("run", "a run in the fixed frame", "another", "set frame='fixed' in evolve")
    labels = [str(label) for label in run["start"].values]
    if start is None and len(labels) > 1:
        raise _checks.error("start", "the label of one start", "None", f"choose among {', '.join(labels)}")
    one = run.isel(start=0) if start is None else run.sel(start=_checks.one_of("start", start, labels))
    return _runs.grid(run), np.asarray(one["density"].values), np.asarray(run["t"].values, dtype=float)


def _entropies(run: xr.Dataset, density: Array, grid: Grid, laws: list[Law]) -> tuple[Array, Array]:
    """KL(u|p) at every saved time, and its error: of the integral, and ``|log(u/p)|/V`` times that of the density."""
    import xarray as xr

    names = ("x", "y")[: grid.dim]
    axes = dict(zip(names, grid.axes, strict=True))
    p = np.stack([grid.cell_average(law) for law in laws])
    u = xr.DataArray(density, dims=("t", *names), coords=axes)
    found = distances.kl(u, xr.DataArray(p, dims=("t", *names), coords=axes))
    v = weights.evaluate(weights.from_json(_runs.attribute(run, "weight")), grid)
    estimate = np.asarray(run["error_estimate"].max("start").values)
    # without them the comparison would pass or fail for no reason
    if np.any(np.isnan(estimate)):
        raise _checks.error("run", "a run with error estimates", "one without", "leave out estimate=False")
    lever = np.array([_log_ratio(q, r, v) for q, r in zip(density, p, strict=True)])
    return np.asarray(found["distance"]), np.asarray(found["error"]) + lever * estimate


def _log_ratio(u: Array, p: Array, v: Array) -> float:
    seen = (u > _FLOOR * u.max()) & (p > _FLOOR * p.max())
    return float(np.max(np.abs(np.log(u[seen] / p[seen])) / v[seen]))


def _mean_squares(density: Array, grid: Grid, t: Array, error: Error) -> tuple[Array, Hypothesis]:
    """``E_u |e|^2`` at every saved time, and whether the cells resolve it."""
    found = []
    for q, s in zip(density, t, strict=True):
        e = values_of("error", error, grid.x, t=float(s), vector=True)
        square = np.square(e) if grid.dim == 1 else np.square(e).sum(axis=-1)
        found.append(on_cells(q, square, grid))
    resolved = Hypothesis("the cells resolve E|e|^2", min(one.resolved for one in found), RESOLVED)
    return np.array([one.value for one in found]), resolved


def _information(u: Array, p: Array, grid: Grid) -> float:
    """A lower estimate of ``I(u|p) = int u |grad log(u/p)|^2``: differences, less thrice their own error."""
    fine = _differences(u, p, grid)
    half = grid.coarsen()
    coarse = _differences(grid.restrict(u), grid.restrict(p), half)
    return max(0.0, fine - abs(fine - coarse))


def _differences(u: Array, p: Array, grid: Grid) -> float:
    seen = (u > _FLOOR * u.max()) & (p > _FLOOR * p.max())
    log_ratio = np.log(np.where(seen, u, 1.0) / np.where(seen, p, 1.0))
    total = 0.0
    for axis, h in enumerate(grid.spacing):
        n = u.shape[axis]
        first, second = (np.take(seen, range(a, n - 1 + a), axis=axis) for a in (0, 1))
        mass = 0.5 * (np.take(u, range(n - 1), axis=axis) + np.take(u, range(1, n), axis=axis))
        slope = np.diff(log_ratio, axis=axis) / h
        total += float(np.sum(np.where(first & second, mass * slope**2, 0.0)) * grid.volume)
    return total


def _integral(rate: Array, r: Array) -> tuple[Array, Array]:
    """Trapezoidal integral from the first time to each, and the difference to every second time, accumulated."""
    pieces = 0.5 * (rate[1:] + rate[:-1]) * np.diff(r)
    bend = np.zeros_like(pieces)
    pairs = np.arange(0, len(pieces) - 1, 2)
    wide = 0.5 * (rate[pairs] + rate[pairs + 2]) * (r[pairs + 2] - r[pairs])
    bend[pairs + 1] = np.abs(wide - pieces[pairs] - pieces[pairs + 1])
    return np.append(0.0, np.cumsum(pieces)), np.append(0.0, np.cumsum(bend))


def _least_convexity(law: Law, grid: Grid) -> tuple[float, str, tuple[str, ...]]:
    """Smallest eigenvalue of the Hessian of -log p, where it was looked for, and what that leaves unchecked."""
    slope = score_slope(law)
    if slope is not None and slope < 0.0:
        return -slope, "closed form", ()
    w = -np.asarray(law.log_density_on_axes(*grid.axes))
    if grid.dim == 1:
        on_grid = float(np.min(np.diff(w, n=2)) / grid.spacing[0] ** 2)
        x = Line.of(law).x
        x = x[law.log_density(x) > -700.0]
        step = 1e-4 * float(np.min(np.diff(grid.axes[0])))
        far = float(np.min(-(law.score(x + step) - law.score(x - step)) / (2.0 * step)))
        return min(on_grid, far), "by differences on the grid and along the whole line", ()
    hx, hy = grid.spacing
    xx = np.diff(w, n=2, axis=0)[:, 1:-1] / hx**2
    yy = np.diff(w, n=2, axis=1)[1:-1] / hy**2
    xy = (w[2:, 2:] - w[2:, :-2] - w[:-2, 2:] + w[:-2, :-2]) / (4.0 * hx * hy)
    least = float(np.min(0.5 * (xx + yy) - np.hypot(0.5 * (xx - yy), xy)))
    return least, "by differences on the grid", ("Hess(-log pi) >= l beyond the box",)
