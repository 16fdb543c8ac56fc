"""Processes, mixtures, weights and norms in ball arithmetic.

alpha(s, t) and sigma2(s, t) of the built-in processes are written again here, from the definitions, so that nothing of
a proof rests on floating point. Normal mixtures have ball parameters, densities, and integrals of polynomials against
them between two points. The weights V are those for which integrals against normal laws are closed form: polynomials
times e^{cx} on each side of 0. Of a signed mixture f ``int V |f|`` is enclosed: two laws at one time, early stopping.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flint

from fpsolve import _checks
from fpsolve.laws import Gaussian, GaussianMixture, KernelDensity
from fpsolve.processes import EDM, VE, VP, CosineVP, OrnsteinUhlenbeck, OwnUnits, Process, RectifiedFlow, SubVP
from fpsolve.proofs._balls import (
    Ball,
    Judge,
    Stopwatch,
    arb,
    around,
    exact,
    normal_cdf,
    normal_density,
    pieces,
    precision,
    size,
)
from fpsolve.weights import DEFAULT, ExponentialWeight, PolynomialWeight, UnitWeight

#: Cramer's constant: |He_n(z)| <= 1.0865 sqrt(n!) e^{z^2/4}.
CRAMER = "1.0865"
#: A series has one degree for every so many bits.
DEGREE_BITS = 8


@dataclass(frozen=True)
class Path:
    """``X_t | X_s = x ~ N(scale x, variance)``."""

    scale: Ball
    variance: Ball


def path(process: Process, s: float, t: float) -> Path:
    """The transition of a built-in process between two times s <= t; ValueError for any other process.

    Which process has which formula is looked up by its class: a process of one's own has only floating point.
    """
    formula = _FORMULAS.get(type(process))
    inner = process.plain
    if formula is None or type(inner) not in _FORMULAS:
        known = ", ".join(kind.__name__ for kind in _FORMULAS)
        raise _checks.error("reverse", f"one of the processes {known}", type(inner).__name__)
    if s == t:
        return Path(arb(1), arb(0))
    return formula(process, exact(s), exact(t))


def _variance_preserving(integral: Ball, sigma: Ball) -> Path:
    """alpha = exp(-B/(2 sigma^2)), sigma2 = sigma^2 (1 - alpha^2)."""
    return Path((-integral / (2 * sigma**2)).exp(), -(sigma**2) * (-integral / sigma**2).expm1())


def _ou(process: Any, s: Ball, t: Ball) -> Path:
    return _variance_preserving(2 * (t - s), arb(1))


def _vp(process: Any, s: Ball, t: Ball) -> Path:
    return _variance_preserving(_beta_integral(process, s, t, process.curvature), exact(process.sigma))


def _beta_integral(process: Any, s: Ball, t: Ball, curvature: float = 0.0) -> Ball:
    """int_s^t beta of a linear or curved schedule."""
    low, high, end = exact(process.beta_min), exact(process.beta_max), exact(process.T)
    if curvature == 0.0:
        risen = (t**2 - s**2) / (2 * end)
    else:
        # twice the digits of 1/(cT) cancel
        lost = max(0, math.ceil(-2.0 * math.log2(abs(curvature) * float(process.T))))
        with precision(flint.ctx.prec + lost + 64):
            c = exact(curvature)
            risen = (((c * t).exp() - (c * s).exp()) / c - (t - s)) / (c * end).expm1()
    return low * (t - s) + (high - low) * risen


def _sub_vp(process: Any, s: Ball, t: Ball) -> Path:
    """alpha = exp(-B/2), sigma2 = (1 - e^{-B(s, t)}) (1 - e^{-B(0, s) - B(0, t)})."""
    between = _beta_integral(process, s, t)
    total = _beta_integral(process, arb(0), s) + _beta_integral(process, arb(0), t)
    return Path((-between / 2).exp(), (-between).expm1() * (-total).expm1())


def _cosine(process: Any, s: Ball, t: Ball) -> Path:
    """abar(t) = cos(phi(t))^2/cos(phi(0))^2 until beta reaches 999/T, exponential after."""
    end, offset, clip = exact(process.T), arb("0.008"), arb(999)
    speed = arb.pi() / (2 * (1 + offset) * end)
    clip_time = end * ((clip / (end * 2 * speed)).atan() * (1 + offset) * 2 / arb.pi() - offset)

    def log_cosine(u: Ball) -> Ball:
        early = u.min(clip_time)
        angle = (early / end + offset) / (1 + offset) * arb.pi() / 2
        late = u.max(clip_time) - clip_time
        return -2 * angle.cos().log() + late * clip / end

    return _variance_preserving(log_cosine(t) - log_cosine(s), arb(1))


def _ve(process: Any, s: Ball, t: Ball) -> Path:
    """alpha = 1, sigma2 = sigma(t)^2 - sigma(s)^2, and sigma(t)^2 from s = 0 in the convention of score_sde."""
    low = exact(process.sigma_min)
    growth = (exact(process.sigma_max) / low).log() / exact(process.T)
    start = s == 0 and process.convention == "score_sde"
    added = low**2 * ((2 * growth * t).exp() - (2 * growth * s).exp())
    return Path(arb(1), added + low**2 if start else added)


def _edm(process: Any, s: Ball, t: Ball) -> Path:
    return Path(arb(1), (t - s) * (t + s))


def _rectified(process: Any, s: Ball, t: Ball) -> Path:
    """alpha = (1 - t)/(1 - s), sigma2 = (t - s)(t + s - 2st)/(1 - s)^2."""
    return Path((1 - t) / (1 - s), (t - s) * (t + s - 2 * s * t) / (1 - s) ** 2)


def _own_units(process: Any, s: Ball, t: Ball) -> Path:
    """Those of the process, divided by c(t)/c(s) and c(t)^2, c^2 = alpha^2 + sigma2 from time 0."""
    formula = _FORMULAS[type(process.plain)]
    found, first, last = (formula(process.plain, *ends) for ends in ((s, t), (arb(0), s), (arb(0), t)))
    start, end = (arb(1) if u == 0 else p.scale**2 + p.variance for u, p in ((s, first), (t, last)))
    return Path(found.scale * (start / end).sqrt(), found.variance / end)


_FORMULAS: dict[type[Process], Callable[[Any, Ball, Ball], Path]] = {
    OrnsteinUhlenbeck: _ou,
    VP: _vp,
    SubVP: _sub_vp,
    CosineVP: _cosine,
    VE: _ve,
    EDM: _edm,
    RectifiedFlow: _rectified,
    OwnUnits: _own_units,
}


@dataclass(frozen=True)
class Mixture:
    """``sum_k weights[k] N(means[k], variances[k])`` on the line; weights may have any sign."""

    weights: tuple[Ball, ...]
    means: tuple[Ball, ...]
    variances: tuple[Ball, ...]

    def __len__(self) -> int:
        return len(self.weights)

    def diffused(self, path: Path) -> Mixture:
        """The law of ``alpha X + sigma Z``."""
        means = tuple(path.scale * m for m in self.means)
        return Mixture(self.weights, means, tuple(path.scale**2 * v + path.variance for v in self.variances))

    def minus(self, other: Mixture) -> Mixture:
        """The signed mixture ``self - other``; components that both have are one, so that equal laws leave nothing."""
        rows = list(self.rows())
        for w, m, v in other.rows():
            same = next((k for k, (_, mean, variance) in enumerate(rows) if mean == m and variance == v), None)
            if same is None:
                rows.append((-w, m, v))
            else:
                rows[same] = (rows[same][0] - w, m, v)
        weights, means, variances = zip(*rows, strict=True)
        return Mixture(weights, means, variances)

    def density(self, x: Ball) -> Ball:
        return sum((w * normal_density(x, m, v) for w, m, v in self.rows()), arb(0))

    def series(self, centre: Ball, half: Ball, degree: int) -> tuple[list[Ball], Ball]:
        """Taylor coefficients in u of the density at ``centre + half u``, and what they leave of it for |u| <= 1.

        ``f = e^{-(z + step u)^2/2}`` has ``f' = -step (z + step u) f``, a recurrence for its coefficients.
        """
        total, error = [arb(0)] * (degree + 1), arb(0)
        for w, m, v in self.rows():
            std = v.sqrt()
            z, step = (centre - m) / std, half / std
            height = w / (std * (2 * arb.pi()).sqrt())
            before, here = arb(0), height * (-z * z / 2).exp()
            for k in range(degree + 1):
                total[k] += here
                before, here = here, -step * (z * here + step * before) / (k + 1)
            nearest = (z + arb(0, size(step))).abs_lower()
            error += size(height * taylor_remainder(step, degree) * (-nearest * nearest / 4).exp())
        return total, error

    def rows(self) -> zip[tuple[Ball, Ball, Ball]]:
        return zip(self.weights, self.means, self.variances, strict=True)

    def span(self, widths: float) -> tuple[float, float]:
        """An interval that holds every component by so many standard deviations: where to look, no claim."""
        ends = [(float(m.mid()), widths * float(v.mid()) ** 0.5) for _, m, v in self.rows()]
        return min(m - s for m, s in ends), max(m + s for m, s in ends)


def mixture(name: str, law: Any) -> Mixture:
    """The components of a law as they are stored: weights exp(log w) over their sum, doubles for the rest.

    ValueError for anything but a finite mixture of normal laws on the line. Student's t has components that are it to
    rounding only, and a law of one's own may have a density that is not theirs: kinds are looked up by their class.
    """
    if type(law) not in (Gaussian, GaussianMixture, KernelDensity):
        remedy = "proofs are for Gaussian, GaussianMixture and KernelDensity; measure others with evolve"
        raise _checks.error(name, "a finite mixture of normal laws", type(law).__name__, remedy)
    if law.dim != 1:
        raise _checks.error(name, "a law in 1D", f"dimension {law.dim}", "prove one axis at a time: axis_marginal")
    components = law.components
    raw = [exact(float(w)).exp() for w in components.log_weights]
    total = sum(raw, arb(0))
    means = tuple(exact(float(m)) for m in components.component_means[:, 0])
    variances = tuple(exact(float(v)) for v in components.component_covs[:, 0, 0])
    return Mixture(tuple(w / total for w in raw), means, variances)


def taylor_remainder(step: Ball, degree: int) -> Ball:
    """What the polynomial of this degree leaves of ``e^{-(z - step u)^2/2}``, |u| <= 1, over ``sup e^{-z^2/4}``.

    The derivatives are Hermite functions, which Cramer's inequality bounds (Abramowitz and Stegun 1964, 22.14.17).
    """
    return arb(CRAMER) * step ** (degree + 1) / arb(degree + 1).fac().sqrt()


def moments(mean: Ball, variance: Ball, low: Ball | None, high: Ball | None, degree: int) -> list[Ball]:
    """``int_low^high x^j N(x; mean, variance) dx`` for j = 0..degree; None is an infinite end.

    ``M_j = mean M_{j-1} + (j - 1) variance M_{j-2} - variance [x^{j-1} N]``.
    """
    std = variance.sqrt()
    found = [_mass((low - mean) / std if low is not None else None, (high - mean) / std if high is not None else None)]
    at_low = arb(0) if low is None else normal_density(low, mean, variance)
    at_high = arb(0) if high is None else normal_density(high, mean, variance)
    for j in range(1, degree + 1):
        before = (j - 1) * variance * found[j - 2] if j > 1 else arb(0)
        found.append(mean * found[-1] + before - variance * (at_high - at_low))
        at_low = at_low if low is None else at_low * low
        at_high = at_high if high is None else at_high * high
    return found


def _mass(low: Ball | None, high: Ball | None) -> Ball:
    """P(low < Z < high), from the tail in which nothing cancels."""
    if low is None:
        return arb(1) if high is None else normal_cdf(high)
    if high is None:
        return normal_cdf(-low)
    if low.mid() > 0:
        return normal_cdf(-low) - normal_cdf(-high)
    return normal_cdf(high) - normal_cdf(low)


@dataclass(frozen=True)
class Side:
    """A weight on one side of 0: ``polynomial(x) e^{rate x}``."""

    polynomial: flint.arb_poly
    rate: Ball

    def __call__(self, x: Ball) -> Ball:
        return self.polynomial(x) * (self.rate * x).exp()


def integral(law: Mixture, side: Side, low: Ball | None, high: Ball | None) -> Ball:
    """``int_low^high P(x) e^{cx} law(x) dx``.

    ``e^{cx} N(x; m, v) = e^{cm + c^2 v/2} N(x; m + cv, v)`` leaves moments of normal laws.
    """
    rate, coefficients = side.rate, side.polynomial.coeffs() or [arb(0)]
    total = arb(0)
    for w, m, v in law.rows():
        found = moments(m + rate * v, v, low, high, len(coefficients) - 1)
        part = sum((a * moment for a, moment in zip(coefficients, found, strict=True)), arb(0))
        total += w * (rate * m + rate * rate * v / 2).exp() * part
    return total


class Sides:
    """V on the two sides of 0.

    Parameters
    ----------
    weight : UnitWeight, PolynomialWeight of an integer power, ExponentialWeight or None (1 + x^2)
    """

    def __init__(self, weight: Any = None) -> None:
        weight = DEFAULT if weight is None else weight
        self.left, self.right = _side(weight, -1), _side(weight, 1)

    def at(self, inside: Ball) -> Side:
        """V on the side of 0 on which a point lies."""
        if inside >= 0:
            return self.right
        if inside <= 0:
            return self.left
        raise ValueError(f"weight: expected a point on one side of 0, got {inside}")


def _side(weight: Any, sign: int) -> Side:
    # by its class: a subclass may be another function
    if type(weight) is UnitWeight:
        return Side(flint.arb_poly([1]), arb(0))
    if type(weight) is ExponentialWeight:
        return Side(flint.arb_poly([1]), sign * exact(weight.rate))
    if type(weight) is PolynomialWeight and float(weight.power).is_integer():
        power = int(weight.power)
        return Side(flint.arb_poly([1] + [0] * (power - 1) + [sign**power * exact(weight.beta)]), arb(0))
    got = repr(weight) if isinstance(weight, PolynomialWeight) else f"a {type(weight).__name__}"
    expected = "UnitWeight, ExponentialWeight or a PolynomialWeight of an integer power"
    raise _checks.error("weight", expected, got, "proofs need integrals in closed form")


def by_series(law: Mixture) -> Judge:
    """Judge a signed mixture on a box by its Taylor series around the centre.

    The degree grows with the precision: components that nearly cancel leave a small function, and the remainder has to
    be smaller still on boxes that are not.
    """
    degree = flint.ctx.prec // DEGREE_BITS

    def judge(centre: Ball, half: Ball) -> tuple[Ball, Ball]:
        (first, *others), error = law.series(centre, half, degree)
        return first, around(first, size(sum((abs(c) for c in others), error)))

    return judge


def signed_norm(law: Mixture, sides: Sides, small: Ball, watch: Stopwatch) -> Ball:
    """A ball that holds ``int V |law|``, as narrow as signs are known: `small` is what may stay of it unknown."""
    low, high = reach(law, sides, small)
    mass = absolute(law)
    total = arb(0)
    for a, b in ((exact(low), arb(0)), (arb(0), exact(high))):
        side = sides.at((a + b) / 2)
        cap = size(side(a)) + size(side(b))
        allowed = small / (cap * (b - a))
        for piece in pieces(by_series(law), a, b, allowed, watch):
            part = piece.sign * integral(law, side, piece.low, piece.high)
            if piece.sign == 0:
                # V is largest at an end of a side
                part = around(arb(0), piece.bound * (piece.high - piece.low) * cap)
            total += part
    beyond = tail(mass, sides, exact(low), exact(high))
    return around(total, beyond)


def absolute(law: Mixture) -> Mixture:
    """``sum |w_k| N(m_k, v_k)``, which is at least |law| everywhere."""
    return Mixture(tuple(abs(w) for w in law.weights), law.means, law.variances)


def tail(law: Mixture, sides: Sides, low: Ball, high: Ball) -> Ball:
    """``int V law`` beyond [low, high], low <= 0 <= high."""
    return integral(law, sides.left, None, low) + integral(law, sides.right, high, None)


def reach(law: Mixture, sides: Sides, small: Ball) -> tuple[float, float]:
    """Ends on the two sides of 0 beyond which ``int V |law|`` is at most `small`, or as far as 60 widths."""
    mass, low, high = absolute(law), -1.0, 1.0
    for widths in range(6, 61):
        ends = law.span(float(widths))
        low, high = min(ends[0], -1.0), max(ends[1], 1.0)
        if tail(mass, sides, exact(low), exact(high)) <= small:
            break
    return low, high
