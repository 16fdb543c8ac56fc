"""The best score that is a product ``g(sigma) S(x)`` for a target and levels of noise (a finite set, or a continuous
range by quadrature), its potential, and the Jacobian of its field.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from fpsolve import _checks, _memory
from fpsolve._callables import answer_of, values_of
from fpsolve._checks import FloatArray, real_array
from fpsolve.laws import Law, NormalMixture
from fpsolve.marginals import Marginals, coefficients, family
from fpsolve.processes import EDM, Process
from fpsolve.scores._base import first_derivative

#: Of one level at one point.
SUM_SECONDS = 5e-8


@dataclass(frozen=True, eq=False)
class Levels:
    """Levels sigma_i with the weight of each.

    Attributes
    ----------
    sigma : array of shape (n,)
        Standard deviations > 0 of the noise, increasing.
    gain : array of shape (n,)
        g(sigma_i) > 0.
    loss : array of shape (n,)
        Loss weight l(sigma_i) > 0 times the quadrature weight of a continuous range.
    error : float
        Quadrature error, see `ProductField`; 0 for a finite set.
    """

    sigma: FloatArray
    gain: FloatArray
    loss: FloatArray
    error: float = 0.0

    def with_error(self, error: float) -> Levels:
        """Return the same levels with a stated quadrature error."""
        return replace(self, error=float(error))


Function = Callable[[FloatArray], Any]


def finite_levels(sigma: Any, gain: Function, loss: Function) -> Levels:
    """Return a finite set of levels, each with its loss weight."""
    values = np.sort(_checks.finite_array("levels", sigma, shape=(None,)))
    if values.size == 0 or values[0] <= 0.0:
        got = "none" if values.size == 0 else f"{values[0]:g}"
        raise _checks.error("levels", "at least one standard deviation > 0", got)
    return Levels(values, _positive("gain", gain, values), _positive("loss", loss, values))


def range_levels(low: float, high: float, nodes: int, gain: Function, loss: Function) -> Levels:
    """Return Gauss-Legendre nodes in log sigma for ``int_low^high l(sigma) ... dsigma``."""
    u, w = np.polynomial.legendre.leggauss(nodes)
    half = 0.5 * np.log(high / low)
    sigma = np.sqrt(low * high) * np.exp(half * u)
    return Levels(sigma, _positive("gain", gain, sigma), _positive("loss", loss, sigma) * half * w * sigma)


def _positive(name: str, function: Function, sigma: FloatArray) -> FloatArray:
    values = values_of(name, function, sigma, dim=1)
    if values.min() <= 0.0:
        worst = int(np.argmin(values))
        raise _checks.error(f"{name}({sigma[worst]:.6g})", "a number > 0", f"{values[worst]:g}")
    return values


Field: TypeAlias = Callable[[FloatArray], Any]

#: Step of the central differences, relative to 1 + |x|, and their order.
_STEP, _ORDER = 1e-4, 4


def evaluate(field: Field, x: FloatArray) -> FloatArray:
    """Return S(x) as a finite array of the shape of x."""
    return _checks.values_at("S(x)", answer_of("S(x)", field, x), x.shape)


def as_points(x: FloatArray) -> FloatArray:
    """Return points (n, d) as a field takes them: (n,) in 1D."""
    return x[:, 0] if x.shape[1] == 1 else x


def jacobian(field: Field, x: FloatArray) -> FloatArray:
    """Return ``dS_a/dx_b`` at points (n, d), shape (n, d, d).

    In closed form where the field has a method `jacobian` that knows it, else by central differences of order 4
    with step 1e-4 (1 + |x|).
    """
    dim = x.shape[1]
    if hasattr(field, "jacobian"):
        known = field.jacobian(as_points(x))
        if known is not None:
            return np.asarray(known, dtype=np.float64).reshape(-1, dim, dim)
    out = np.zeros((len(x), dim, dim))
    for axis in range(dim):
        step = np.zeros((len(x), dim))
        step[:, axis] = _STEP * (1.0 + np.abs(x[:, axis]))
        for k, weight in enumerate(first_derivative(_ORDER), start=1):
            ahead, behind = (evaluate(field, as_points(x + side * step)).reshape(-1, dim) for side in (k, -k))
            out[:, :, axis] += weight * (ahead - behind)
        out[:, :, axis] /= step[:, axis, None]
    return out


#: Nodes of the quadrature over a continuous range: the first rule tried and the largest.
NODES = (16, 1024)
#: The largest change at the probes, times this, is the stated error: between them it is a little larger.
SAFETY = 2.0
#: Arrays of this many numbers and more are remembered by `ProductScore`, the last few of them.
_REMEMBER, _KEPT = 64, 4


def _reciprocal(sigma: FloatArray) -> FloatArray:
    return 1.0 / sigma


@dataclass(frozen=True, eq=False)
class ProductField:
    r"""The best S(x) for a target, noise levels and loss weights.

    .. math:: S^* = \frac{\nabla\Psi}{D}, \quad \Psi = \sum_i l_i g_i p_i, \quad D = \sum_i l_i g_i^2 p_i, \quad
       p_i = p_0 * N(0, \sigma_i^2 I),

    the minimiser of ``sum_i l_i E_{p_i} |g_i S - grad log p_i|^2``. Sums are taken in logarithms, so S* is finite and
    accurate however far out, where every p_i underflows.

    Parameters
    ----------
    target : Law
        p_0, in 1D or 2D. Data points are a kernel density of tiny bandwidth.
    levels : Levels
        ``levels.error`` is the quadrature error of a continuous range: twice the largest change of S* when the nodes
        are doubled, relative to the largest \|S*\|, at probe points about the data and out to four standard
        deviations of the noisiest level. Further out it is larger: there the node next to the largest sigma decides.
    """

    target: Law
    levels: Levels

    @property
    def dim(self) -> int:
        """Dimension, 1 or 2."""
        return self.target.dim

    def __call__(self, x: Any) -> FloatArray:
        """Return S*(x), the shape of x: ``(...)`` in 1D, ``(..., 2)`` in 2D."""
        return self._evaluate(x)[0]

    def log_potential(self, x: Any) -> FloatArray:
        """Return ``log Psi(x)``, shape ``(...)``: it grows along every orbit of ``x' = S*(x)``."""
        return self._evaluate(x)[1]

    def jacobian(self, x: Any) -> FloatArray | None:
        """Return ``dS*_a/dx_b`` in closed form, shape ``(..., d, d)``; None for targets that are no normal mixture."""
        return None if (both := self.with_jacobian(x)) is None else both[1]

    def with_jacobian(self, x: Any) -> tuple[FloatArray, FloatArray] | None:
        """Return S*(x) and `jacobian`, from the same sums; None for targets that are no normal mixture."""
        if self._terms is None:
            return None
        from fpsolve.scores import _level_sums

        points, shape = self._flat(x)
        sums = np.empty((len(points), 9))
        _level_sums.second_order(*self._terms, points, sums)
        p, q = sums[:, 2:4] / sums[:, 1:2], sums[:, 4:6] / sums[:, 1:2]
        full = (sums[:, [6, 7, 7, 8]] / sums[:, 1:2]).reshape(-1, 2, 2) - p[:, :, None] * q[:, None, :]
        dim = self.dim
        return p[:, :dim].reshape(np.shape(x)), full[:, :dim, :dim].reshape((*shape, dim, dim))

    def _flat(self, x: Any) -> tuple[FloatArray, tuple[int, ...]]:
        """Return points (n, 2), the second column 0 in 1D, and the shape without the last axis."""
        array = _checks.points("x", x, self.dim)
        flat = np.zeros((array.size // self.dim, 2))
        flat[:, : self.dim] = array.reshape(-1, self.dim)
        return flat, array.shape[: array.ndim - self.dim + 1]

    def _evaluate(self, x: Any) -> tuple[FloatArray, FloatArray]:
        """Return S* and log Psi."""
        sums = float(self.levels.sigma.size) * max(1, np.size(x) // self.dim)
        _memory.say_if_long("a product-form score", SUM_SECONDS * sums)
        if self._terms is None:
            return self._by_level(_checks.points("x", x, self.dim))
        from fpsolve.scores import _level_sums

        points, shape = self._flat(x)
        out = np.empty((len(points), 5))
        _level_sums.first_order(*self._terms, points, out)
        value = out[:, 3 : 3 + self.dim] / out[:, 2:3]
        return value.reshape(np.shape(x)), (out[:, 0] + np.log(out[:, 1])).reshape(shape)

    def _by_level(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The sums level by level, for any family of marginals."""
        levels = self.levels
        _memory.require("levels", 24.0 * levels.sigma.size * max(1, x.size), "take fewer levels, or fewer points")
        logs = np.stack([self._blurred.log_density(s, x) for s in levels.sigma])
        logs += np.log(levels.loss * levels.gain).reshape(-1, *(1,) * (logs.ndim - 1))
        top = logs.max(axis=0)
        share = np.exp(logs - top)
        total = np.tensordot(levels.gain, share, axes=1)
        value = np.zeros(x.shape)
        for k, s in enumerate(levels.sigma):
            ratio = share[k] / total
            value += (ratio if self.dim == 1 else ratio[..., None]) * self._blurred.score(s, x)
        return value, np.asarray(top + np.log(share.sum(axis=0)))

    @cached_property
    def _blurred(self) -> Marginals:
        """The laws ``p_0 * N(0, sigma^2 I)``: marginals of EDM's process, whose time is sigma."""
        sigma = self.levels.sigma
        return family(self.target, EDM(sigma_min=0.5 * float(sigma[0]), sigma_max=float(sigma[-1])))

    @cached_property
    def _terms(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray] | None:
        """Peaks, gains, means, halves, slopes of every (level, component), or None without components."""
        mixture = self.target.components
        if mixture is None:
            return None
        levels = self.levels
        parts = coefficients(mixture, np.ones(levels.sigma.size), np.square(levels.sigma))
        peaks = parts[0] + np.log(levels.loss * levels.gain)[:, None]
        gains = np.repeat(levels.gain, peaks.shape[1])
        means, halves = (_in_plane(part) for part in parts[1:3])
        return peaks.ravel(), gains, means, halves, parts[3].ravel()


def _in_plane(part: FloatArray) -> FloatArray:
    """Return (terms, 2) from (levels, components, d), zeros along the second axis in 1D."""
    flat = np.zeros((part.shape[0] * part.shape[1], 2))
    flat[:, : part.shape[2]] = part.reshape(-1, part.shape[2])
    return flat


@dataclass(frozen=True, eq=False)
class ProductScore:
    """A score model ``score(t, x) = g(sigma(t)) S(x)``, sigma(t) the standard deviation of the noise at time t.

    Parameters
    ----------
    field : callable ``S(x)``
        A `ProductField`, or any function of points that gives back their shape.
    process : Process
        VE or EDM.
    gain : callable ``g(sigma)``
        Vectorised, positive.
    """

    field: Field
    process: Process
    gain: Function = _reciprocal
    _recent: list[tuple[FloatArray, FloatArray]] = dataclass_field(default_factory=list, init=False, repr=False)

    def __call__(self, t: float, x: Any) -> FloatArray:
        """Return ``g(sigma(t)) S(x)``, the shape of x."""
        return float(self.gain(np.asarray(self.sigma(t)))) * self._shape_part(real_array("x", x))

    def sigma(self, t: Any) -> FloatArray:
        """Return the noise level ``sqrt(sigma2(0, t))``."""
        return np.sqrt(self.process.variance(0.0, t))

    def duration(self, t_end: float, t_start: float | None = None) -> float:
        r"""Return the time for which the flow ``x' = S(x)`` has to run to do what the deterministic sampler does.

        .. math:: \int_{\sigma(t_{end})}^{\sigma(t_{start})} \sigma g(\sigma) d\sigma,

        which for g = 1/sigma is the difference of the noise levels.

        Parameters
        ----------
        t_end : float
            Forward time at which the sampler stops.
        t_start : float, optional
            Where it starts, default T.
        """
        t_start = float(self.process.T) if t_start is None else t_start
        low, high = float(self.sigma(t_end)), float(self.sigma(t_start))
        if self.gain is _reciprocal:
            return high - low
        from scipy.integrate import quad

        return float(quad(lambda s: s * float(self.gain(np.asarray(s))), low, high, epsabs=0.0, epsrel=1e-11)[0])

    def divergence(self, t: float, x: Any) -> FloatArray:
        """Return ``div_x score(t, x) = g(sigma(t)) tr dS/dx``, shape ``(...)``, for points of 1D or 2D.

        The Jacobian is the field's own in closed form, else by central differences of order 4.
        """
        array = real_array("x", x)
        dim = self.field.dim if isinstance(self.field, ProductField) else 2 if array.shape[-1:] == (2,) else 1
        trace = np.trace(jacobian(self.field, array.reshape(-1, dim)), axis1=1, axis2=2)
        gain = float(self.gain(np.asarray(self.sigma(t))))
        return np.asarray(gain * trace.reshape(array.shape[: array.ndim - dim + 1]))

    def _shape_part(self, x: FloatArray) -> FloatArray:
        """S(x), remembered for the last arrays of points: a run on a grid asks for the same ones at every step."""
        if x.size < _REMEMBER:
            return np.asarray(self.field(x), dtype=np.float64)
        for known, value in self._recent:
            if known.shape == x.shape and np.array_equal(known, x):
                return value
        value = np.asarray(self.field(x), dtype=np.float64)
        self._recent.append((x.copy(), value))
        del self._recent[:-_KEPT]
        return value


def product_form(
    target: Law,
    process: Process,
    *,
    levels: Any = None,
    span: tuple[float, float] | None = None,
    gain: Function | None = None,
    loss: Function | None = None,
    field: Field | None = None,
    rtol: float = 1e-9,
) -> ProductScore:
    r"""Return a score of product form ``g(sigma(t)) S(x)``, by default with the best S for the target.

    The exact score is not of this form; `ProductField` is the best that is, in the least-squares sense with weights l.
    Deterministic samplers with it are time changes of the autonomous flow ``x' = S(x)``, see `fpsolve.flows`.

    Parameters
    ----------
    target : Law
        p_0.
    process : VE or EDM
        ``X_t = X_0 + sigma(t) Z``.
    levels : array_like of shape (n,), optional
        A finite set of noise levels > 0, each with its loss weight.
    span : (low, high), optional
        A continuous range of levels, uniform in sigma: ``sum_i`` becomes ``int dsigma``, Gauss-Legendre in log sigma,
        the number of nodes doubled until that changes S* by less than `rtol`. Default, with neither given: sigma_min to
        sigma_max of the process.
    gain, loss : callable, optional
        g(sigma) and l(sigma), vectorised and positive; default ``1/sigma`` and ``sigma^2``, those of NCSNv2, with which
        ``Psi = sum sigma_i p_i`` and ``D = sum p_i``.
    field : callable, optional
        Another S(x) in place of the best one; then `levels`, `span` and `loss` mean nothing and are refused.
    rtol : float, default 1e-9
        Of the quadrature over `span`, relative to the largest \|S*\|; what was reached is ``score.field.levels.error``.

    Returns
    -------
    ProductScore
        Use it as ``fp.Reverse(target, process, score=...)``; ``.field`` is S.

    Raises
    ------
    ValueError
        A process that shrinks the data, `levels` and `span` both given, levels or weights that are not positive, a
        quadrature that does not settle with 1024 nodes.

    Notes
    -----
    S* costs one exponential per level, component of the target and point. `fpsolve.evolve` asks for it once per grid in
    ``frame="fixed"``, at every step in the scaled frame; there raise `rtol`, bin the data, or `tabulate` the score.

    Levels uniform in log sigma over a span: divide `loss` by sigma.

    Motivated by arXiv 2601.12965, whose results are not reproduced here.

    References
    ----------
    Song and Ermon 2020, arXiv:2006.09011 (NCSNv2: scores divided by sigma).

    Examples
    --------
    >>> import fpsolve as fp
    >>> points = fp.GaussianMixture([0.5, 0.5], [-1.0, 1.0], stds=1e-6)
    >>> score = fp.scores.product_form(points, fp.EDM(sigma_min=0.02, sigma_max=3.0))
    >>> score.field([-2.0, 0.5, 4.0])
    array([ 0.90428078,  0.11768545, -1.52656697])
    """
    _checks.instances(target=(target, Law), process=(process, Process))
    if np.any(np.asarray(process.drift_rate(np.array([0.5, 1.0]) * process.T)) != 0.0):
        raise _checks.error(
            "process", "one that only adds noise, X_t = X_0 + sigma(t) Z", type(process).__name__, "use VE or EDM"
        )
    if field is not None:
        if levels is not None or span is not None or loss is not None:
            raise _checks.error("field", "neither levels nor span nor loss beside it", "both", "leave them out")
        if not callable(field):
            raise _checks.error("field", "a callable S(x)", repr(field))
        return ProductScore(field, process, _reciprocal if gain is None else gain)
    g, weight = _reciprocal if gain is None else gain, np.square if loss is None else loss
    if levels is not None and span is not None:
        raise _checks.error("levels / span", "at most one of these", "both", "give one and leave out the other")
    if levels is not None:
        return ProductScore(ProductField(target, finite_levels(levels, g, weight)), process, g)
    ends = (getattr(process, "sigma_min", None), getattr(process, "sigma_max", None)) if span is None else span
    if span is None and None in ends:
        raise _checks.error("span", "(low, high) for a process without sigma_min and sigma_max", "None")
    low, high = (float(value) for value in _checks.finite_array("span", ends, shape=(2,)))
    if not 0.0 < low < high:
        got = f"({_checks.digits(low)}, {_checks.digits(high)})"
        raise _checks.error("span", "0 < low < high", got, "noise levels are standard deviations")
    return ProductScore(_converged(target, low, high, g, weight, _checks.positive("rtol", rtol)), process, g)


def _converged(target: Law, low: float, high: float, gain: Function, loss: Function, rtol: float) -> ProductField:
    """Double the nodes until S* at the probes changes by less than rtol; the change is the error of the rule before."""
    probes = _probes(target, low, high)
    nodes, error = NODES[0], np.inf
    levels = range_levels(low, high, nodes, gain, loss)
    before = ProductField(target, levels)(probes)
    while nodes < NODES[1]:
        nodes *= 2
        finer = range_levels(low, high, nodes, gain, loss)
        value = ProductField(target, finer)(probes)
        error = float(SAFETY * np.abs(value - before).max() / np.abs(value).max())
        if error <= rtol:
            return ProductField(target, levels.with_error(error))
        levels, before = finer, value
    raise _checks.error(
        "rtol", f"a quadrature over the levels that settles with {NODES[1]} nodes", f"a change of {error:.2g}",
        "narrow the span, raise rtol, or give a finite set of levels",
    )  # fmt: skip


def _probes(target: Law, low: float, high: float) -> FloatArray:
    """Points where the quadrature is judged: a grid over the noisiest level, and the surroundings of the data."""
    std = np.sqrt(np.diagonal(np.atleast_2d(target.cov)))
    reach = np.where(np.isfinite(std), np.hypot(std, high), 4.0 * high)
    mean = np.atleast_1d(target.mean)
    u = np.linspace(-4.0, 4.0, 65 if target.dim == 1 else 13)
    unit = u[:, None] if target.dim == 1 else np.stack(np.meshgrid(u, u, indexing="ij"), axis=-1).reshape(-1, 2)
    probes = [mean + reach * unit]
    mixture: NormalMixture | None = target.components
    if mixture is not None:
        # the field changes on the scale of the distance to a data point, down to the lowest level
        chosen = mixture.component_means[:: max(1, len(mixture.log_weights) // 16)]
        steps = np.geomspace(0.5 * low, high, 2 * int(np.ceil(np.log2(high / low))) + 1)
        probes += [chosen + sign * step for step in steps for sign in (-1.0, 1.0)]
    points = np.concatenate(probes)
    return points[:, 0] if target.dim == 1 else points
