"""Normal mixtures with ball parameters: densities, and integrals of polynomials against them between two points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import flint

from fpsolve import _checks
from fpsolve.laws import Gaussian, GaussianMixture, KernelDensity
from fpsolve.proofs._balls import Ball, arb, exact, normal_cdf, normal_density
from fpsolve.proofs._paths import Path


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

    def slope(self, x: Ball) -> Ball:
        """The derivative of the density."""
        return sum((-w * (x - m) / v * normal_density(x, m, v) for w, m, v in self.rows()), arb(0))

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
