"""Functionals of a density and their noise: radial test functions, which drive the noise of an ensemble, their
integrals against cell averages, and SIEM-like metrics, how hard a score error stirs one along the trajectory.

Our reading of arXiv:2602.08579 ("score error as noise"), whose formulas are not known to us. Does one number put things
in the order of another? Spearman's rank correlation with a bootstrap interval says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpsolve import _checks, _memory, _runs
from fpsolve._callables import values_of
from fpsolve._messages import Status, described
from fpsolve.dynamics import BaseDynamics, Reverse, identity
from fpsolve.grid import Grid

if TYPE_CHECKING:
    import xarray as xr


Array = NDArray[np.float64]

#: The whole trajectory, and its first tenth in reverse (or running) time.
SHARES = (1.0, 0.1)


_NODES = 32
#: Share of 1 + radius that a difference quotient of the profile spans.
_STEP = 1e-3


@dataclass(frozen=True, eq=False)
class RadialFunction:
    """A test function of the radius, ``phi(x) = f(|x|)``; the default is ``f(rho) = rho^2/2``.

    Parameters
    ----------
    profile : callable, optional
        f on arrays of radii >= 0.
    slope : callable, optional
        f'. Given alone, f is its integral from 0; left out beside `profile`, it is a fourth-order difference.
    description : str, optional
        What stands in the attributes of results.

    Examples
    --------
    >>> phi = RadialFunction(slope=lambda rho: rho**3)
    >>> round(float(phi.value(np.array(2.0), 1)), 12), phi.gradient(np.array([3.0, 4.0]), 2).tolist()
    (4.0, [75.0, 100.0])
    """

    profile: Callable[[Array], Any] | None = None
    slope: Callable[[Array], Any] | None = None
    description: str = ""

    def __post_init__(self) -> None:
        for name in ("profile", "slope"):
            function = getattr(self, name)
            if function is not None and not callable(function):
                raise _checks.error(name, "a callable on radii", repr(function)[:60])
        if not self.description:
            given = [name for name in ("profile", "slope") if getattr(self, name) is not None]
            own = [f"{name} {getattr(getattr(self, name), '__qualname__', 'callable')}" for name in given]
            object.__setattr__(self, "description", ", ".join(own) if own else "|x|^2/2")

    def value(self, x: Array, dim: int) -> Array:
        """phi at points (...) in 1D, (..., 2) in 2D."""
        rho = _radius(x, dim)
        if self.profile is not None:
            return values_of("profile", self.profile, rho, dim=1)
        if self.slope is None:
            return 0.5 * rho**2
        nodes, weights = np.polynomial.legendre.leggauss(_NODES)
        inner = rho[..., None] * (0.5 + 0.5 * nodes)
        return np.asarray(rho * (values_of("slope", self.slope, inner, dim=1) @ (0.5 * weights)))

    def gradient(self, x: Array, dim: int) -> Array:
        """grad phi at the points, of their shape; 0 at the origin."""
        if self.profile is None and self.slope is None:
            return np.asarray(x, dtype=float)
        rho = _radius(x, dim)
        ratio = self._slope(rho) / np.where(rho > 0.0, rho, 1.0)
        return np.asarray(x * (ratio if dim == 1 else ratio[..., None]))

    def _slope(self, rho: Array) -> Array:
        if self.slope is not None:
            return values_of("slope", self.slope, rho, dim=1)
        assert self.profile is not None  # gradient has dealt with neither
        h = _STEP * (1.0 + rho)
        f = [values_of("profile", self.profile, np.abs(rho + k * h), dim=1) for k in (-2.0, -1.0, 1.0, 2.0)]
        return np.asarray((8.0 * (f[2] - f[1]) - (f[3] - f[0])) / (12.0 * h))


def radial(given: Any) -> RadialFunction:
    """Return a test function, the default for None; refuse what is none."""
    wanted = "a RadialFunction or None"
    return RadialFunction() if given is None else _checks.instance("test_function", given, RadialFunction, wanted)


def _radius(x: Array, dim: int) -> Array:
    return np.abs(x) if dim == 1 else np.hypot(x[..., 0], x[..., 1])


def extended_points(grid: Grid) -> Array:
    """Cell centres and one more on every side: (nx + 2,) in 1D, (nx + 2, ny + 2, 2) in 2D."""
    axes = [
        np.concatenate([[axis[0] - h], axis, [axis[-1] + h]]) for axis, h in zip(grid.axes, grid.spacing, strict=True)
    ]
    return axes[0] if grid.dim == 1 else np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def against_averages(values: Array, grid: Grid) -> Array:
    """Factors w so that ``int u f = sum w u`` for cell averages u, to fourth order in the cell width.

    Averaging over cells and sampling commute with each other, so f enters with the average taken out of it:
    ``f - h^2/24 f''``.

    Parameters
    ----------
    values : array, shape (..., nx + 2[, ny + 2])
        f at the `extended_points`.

    Returns
    -------
    array, shape (..., nx[, ny]); the volume of a cell is in it.
    """
    inner = values[..., 1:-1] if grid.dim == 1 else values[..., 1:-1, 1:-1]
    if grid.dim == 1:
        bend = np.diff(values, n=2, axis=-1)
    else:
        bend = np.diff(values, n=2, axis=-2)[..., 1:-1] + np.diff(values, n=2, axis=-1)[..., 1:-1, :]
    return np.asarray((inner - bend / 24.0) * grid.volume)


def gain(dynamics: BaseDynamics, t: float) -> float:
    """c(t): drift per score, ``(1 + eta^2)/2 g^2`` for reverse dynamics, 1 for every other."""
    if isinstance(dynamics, Reverse):
        return 0.5 * (float(dynamics.process.diffusion(t)) ** 2 + float(dynamics.noise(t)) ** 2)
    return 1.0


def quadratic_variation(run: xr.Dataset, *, shares: Sequence[float] = SHARES) -> xr.Dataset:
    r"""Return the quadratic variation of ``<u, phi>`` along every path of an ensemble, realised and from the formula.

    .. math:: [\langle u, \varphi\rangle] = \int c^2 \sum_k \lambda_k \langle u, e_k \cdot \nabla\varphi\rangle^2\, dr
              \approx \sum_n (\langle u_{n+1}, \varphi\rangle - \langle u_n, \varphi\rangle)^2

    The left-hand integral is the SIEM-like metric of the noise along that path. The realised sum tends to it as the
    steps become fine; it scatters about it by `spread`, and the drift adds about ``(d<u, phi>/dr)^2`` times the step.

    Parameters
    ----------
    run : Dataset
        From `fpsolve.stochastic.evolve`, with its test function.
    shares : sequence of float
        Shares in (0, 1] of the running time from the start; default the whole and the first 10 percent.

    Returns
    -------
    xarray.Dataset
        `formula`, `realised` and `spread` (one standard deviation of realised about formula) over (path, share), in
        units of phi^2. A share that ends inside a step takes its part of it.

    Raises
    ------
    ValueError
        A Dataset without functionals, shares outside (0, 1].

    Examples
    --------
    >>> import fpsolve as fp
    >>> ou = fp.Dynamics(lambda t, x: -x, 2**0.5)
    >>> run = fp.stochastic.evolve(ou, fp.Gaussian(1.0, std=0.8), fp.stochastic.constant(0.09), t_max=0.5, steps=100,
    ...     grid=fp.Grid.uniform((-8, 8), cells=120), paths=2, seed=0, estimate=False)
    >>> found = quadratic_variation(run)
    >>> bool((abs(found.realised - found.formula) < 4 * found.spread + 0.01).all())
    True
    """
    import xarray as xr

    for name in ("functional", "variation", "node_t"):
        if not hasattr(run, "data_vars") or name not in run:
            remedy = "for densities of evolve there is siem_like"
            raise _checks.error("run", "an ensemble of fpsolve.stochastic.evolve", f"one without {name!r}", remedy)
    r = np.abs(np.asarray(run["node_t"].values) - float(run["node_t"][0]))
    formula = np.asarray(run["variation"].values)
    realised = np.square(np.diff(run["functional"].values, axis=-1))
    parts = _checked(shares)
    return described(
        xr.Dataset(
            {
                "formula": (("path", "share"), _partial_sums(formula, r, parts)),
                "realised": (("path", "share"), _partial_sums(realised, r, parts)),
                "spread": (("path", "share"), np.sqrt(2.0 * _partial_sums(formula**2, r, parts))),
            },
            coords={"path": run["path"].values, "share": parts},
            attrs={
                "status": "Monte Carlo",
                "quantity": "SIEM-like quadratic variation",
                "test_function": run.attrs["test_function"],
            },
        )
    )


def siem_like(
    run: xr.Dataset,
    dynamics: BaseDynamics,
    error: Callable[[float, Array], Any],
    *,
    test_function: RadialFunction | None = None,
    shares: Sequence[float] = SHARES,
    mean_gain: bool = False,
) -> xr.Dataset:
    r"""Return the SIEM-like metric of a given, deterministic score error along an evolved density.

    .. math:: Q = \sum_n (c_n h_n)^2 \langle u_n, e_n \cdot \nabla\varphi\rangle^2

    over the saved times ``t_n`` of the run, ``h_n`` the steps between them, ``c = (1 + eta^2)/2 g^2`` for reverse
    dynamics and 1 for every other. For errors smooth in time Q goes to zero like the steps, so values compare on one
    fixed time grid only: save the same times in all runs.

    Parameters
    ----------
    run : Dataset
        From `fpsolve.evolve` under the score with the error, in the fixed frame.
    dynamics : BaseDynamics
        What it was run with, under the score with the error or without it: gives c(t).
    error : callable ``e(t, x)``
        Score error, of the shape of x.
    test_function : RadialFunction, optional
        phi, default ``|x|^2/2``.
    shares : sequence of float
        As in `quadratic_variation`.
    mean_gain : bool
        Take for c_n the mean of c over the step (Simpson's rule) in place of c(t_n): the cosine schedule near T, and
        EDM near sigma_max, change by tens of percent within one.

    Returns
    -------
    xarray.Dataset
        `metric` over (start, share) and `contribution` over (start, step), in units of phi^2.

    Raises
    ------
    ValueError
        A run in the scaled frame or of other dynamics, or an error that returns another shape than x, or not finite
        numbers.

    Examples
    --------
    >>> import fpsolve as fp
    >>> dynamics = fp.Dynamics(lambda t, x: -x + 0.3, 2**0.5)
    >>> times = np.linspace(0.0, 0.5, 51)
    >>> run = fp.evolve(dynamics, fp.Gaussian(0.3, std=1.0), grid=fp.Grid.uniform((-7, 8), cells=120), steps=50,
    ...     t_max=0.5, save_at=times, estimate=False)
    >>> q = siem_like(run, dynamics, lambda t, x: 0.3 + 0.0 * x)  # 50 (0.01)^2 (0.3 * 0.3)^2, the mean being 0.3
    >>> f"{float(q.metric.sel(share=1.0)[0]):.3e}"
    '4.050e-05'
    """
    import xarray as xr

    members = _runs.member_of(run)
    run = _runs.tidy(run, member=members)
    if _runs.attribute(run, "frame") != "fixed":
        raise _checks.error("run", "a run in the fixed frame", "another", "set frame='fixed' in evolve")
    # c(t) is the same with the score of the run and without its error
    named = [part for part in _runs.IDENTITY if part != "score_model"]
    _runs.require_same_dynamics(run.attrs, identity(dynamics), ("run", "dynamics"), named)
    grid, phi = _runs.grid(run), radial(test_function)
    points = extended_points(grid)
    gradient = phi.gradient(points, grid.dim)
    t = np.asarray(run["t"].values, dtype=float)
    density = np.asarray(run["density"].values).reshape(run.sizes[members], len(t), -1)
    contribution = np.empty((len(density), len(t) - 1))
    c = np.array([gain(dynamics, u) for u in t.tolist()])
    if _checks.flag("mean_gain", mean_gain):
        middle = [gain(dynamics, u) for u in (0.5 * (t[1:] + t[:-1])).tolist()]
        c[:-1] = (c[:-1] + 4.0 * np.array(middle) + c[1:]) / 6.0
    for n, h in enumerate(np.abs(np.diff(t))):
        e = values_of("error", error, points, t=float(t[n]), vector=True)
        product = e * gradient if grid.dim == 1 else (e * gradient).sum(axis=-1)
        stirred = density[:, n] @ against_averages(product, grid).ravel()
        contribution[:, n] = np.square(c[n] * h * stirred)
    parts = _checked(shares)
    return described(
        xr.Dataset(
            {
                "metric": ((members, "share"), _partial_sums(contribution, np.abs(t - t[0]), parts)),
                "contribution": ((members, "step"), contribution),
            },
            coords={members: run[members].values, "share": parts},
            attrs={
                "status": "estimated",
                "quantity": "SIEM-like metric",
                "test_function": phi.description,
                "steps": len(t) - 1,
            },
        )
    )


def _checked(shares: ArrayLike) -> Array:
    parts = np.atleast_1d(_checks.finite_array("shares", shares))
    if parts.ndim != 1 or parts.size == 0 or parts.min() <= 0.0 or parts.max() > 1.0:
        raise _checks.error("shares", "numbers in (0, 1]", repr(shares))
    return parts


def _partial_sums(terms: Array, r: Array, shares: Array) -> Array:
    """Sums over the steps up to shares of the running time, shape (members, shares)."""
    total = np.concatenate([np.zeros((len(terms), 1)), np.cumsum(terms, axis=1)], axis=1)
    return np.stack([np.interp(shares * r[-1], r, one) for one in total])


#: Fewer pairs than this have no interval worth the name.
MINIMUM_PAIRS = 10
#: Below this rank variance a resample has next to no ranks.
_TIED = 1e-12


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rank correlation of pairs, see `rank_correlation`.

    Attributes
    ----------
    value : float
        In [-1, 1]; 1 where the two orders agree.
    low, high : float
        Ends of the percentile interval of the bootstrap.
    level : float
        Its coverage, nominally.
    pairs, resamples, seed : int
    """

    status: ClassVar[Status] = "Monte Carlo"

    value: float
    low: float
    high: float
    level: float
    pairs: int
    resamples: int
    seed: int

    def __str__(self) -> str:
        """Return ``value [low, high]`` to two digits."""
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def rank_correlation(
    first: ArrayLike, second: ArrayLike, *, seed: int, resamples: int = 2000, level: float = 0.95
) -> RankCorrelation:
    """Return Spearman's rank correlation of pairs and its bootstrap interval.

    Pairs are resampled with replacement; ties, which resampling makes, share their mean rank. Resamples in which one
    number is the same everywhere have no ranks and widen the interval, to [-1, 1] where there are many.

    Parameters
    ----------
    first, second : array_like, shape (pairs,)
        At least ten pairs of finite numbers, in each not all the same.
    seed : int
        Of the resampling.
    resamples : int
    level : float
        In (0, 1).

    Raises
    ------
    ValueError
        Fewer pairs, unequal lengths, numbers that are not finite or all the same up to rounding.

    References
    ----------
    Spearman 1904, doi:10.2307/1412159; Efron and Tibshirani 1993, An introduction to the bootstrap, chapter 13.

    Examples
    --------
    >>> x = np.arange(40.0)
    >>> found = rank_correlation(x, np.exp(x) * (-1.0) ** (x < 3), seed=0)
    >>> found.value > 0.9 and found.low < found.value < found.high
    True
    """
    given = [_checks.finite_array("first", first), _checks.finite_array("second", second)]
    if given[0].shape != given[1].shape:
        got = f"shapes {given[0].shape} and {given[1].shape}"
        raise _checks.error("first, second", "two vectors of one length", got)
    pairs = np.stack(given)
    if pairs.ndim != 2 or pairs.shape[1] < MINIMUM_PAIRS:
        raise _checks.error("first, second", f"two vectors of at least {MINIMUM_PAIRS} numbers", f"shape {pairs.shape}")
    if not np.all(_checks.varies(pairs, axis=1)):
        raise _checks.error("first, second", "numbers that differ", "one that is the same everywhere")
    _checks.interval("level", level, 0.0, 1.0, ends="()")
    n = pairs.shape[1]
    count = _memory.count("resamples", resamples, 80.0 * n, "take fewer resamples", seconds=2e-7 * n)
    chosen = np.random.default_rng(_checks.integer("seed", seed, minimum=0)).integers(0, n, (count, n))
    spread = _spearman(pairs[0][chosen], pairs[1][chosen])
    # a resample without ranks may be anything
    low = np.quantile(np.nan_to_num(spread, nan=-1.0), 0.5 - 0.5 * level)
    high = np.quantile(np.nan_to_num(spread, nan=1.0), 0.5 + 0.5 * level)
    return RankCorrelation(
        value=float(_spearman(pairs[:1], pairs[1:])[0]),
        low=float(low),
        high=float(high),
        level=float(level),
        pairs=n,
        resamples=count,
        seed=seed,
    )


def _spearman(first: Array, second: Array) -> Array:
    """Correlation of the ranks along the last axis; NaN where all ranks are tied."""
    from scipy.stats import rankdata

    a, b = (rankdata(values, axis=-1) for values in (first, second))
    a, b = (ranks - ranks.mean(axis=-1, keepdims=True) for ranks in (a, b))
    power = (a**2).sum(axis=-1) * (b**2).sum(axis=-1)
    tied = power < _TIED
    return np.where(tied, np.nan, (a * b).sum(axis=-1) / np.sqrt(np.where(tied, 1.0, power)))
