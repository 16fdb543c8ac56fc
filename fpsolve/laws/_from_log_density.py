"""Laws given by a callable log density."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fpsolve import _callables
from fpsolve._checks import (
    USER_ERRORS,
    FloatArray,
    dimension,
    error,
    generator,
    points,
    real_array,
    values_at,
)
from fpsolve.laws._base import Law, Tail, measured, number_of_draws, plain
from fpsolve.laws._gaussian import log_sum_exp
from fpsolve.laws._panels import ORDER, Panels, resolve, tensor_log_density

_STENCIL = ((1, 3.0 / 4.0), (2, -3.0 / 20.0), (3, 1.0 / 60.0))  # first derivative, central, sixth order
_PARTS = 64  # pieces per panel of the inverse CDF


@dataclass(frozen=True, eq=False, init=False, repr=False)
class FromLogDensity(Law):
    """A law given by its log density, normalised by quadrature.

    Parameters
    ----------
    log_density : callable
        Takes points of shape ``(n,)`` (1D) or ``(n, 2)`` (2D), returns ``log p`` of shape ``(n,)``, up to a constant;
        ``-inf`` where the density is 0.
    dim : int
        1 or 2.
    sampler : callable, optional
        ``sampler(n, rng)`` returns `n` draws, shape ``(n,)`` or ``(n, 2)``. Without it 1D laws are sampled by inverting
        the quadrature's CDF; 2D laws cannot be sampled.

    Attributes
    ----------
    panels : tuple of Panels
        Per axis, the composite Gauss-Legendre rule that resolves the density to about 1e-11, tails included (down to
        800 nats below the peak in 1D, 150 in 2D). It is found automatically, where the log density itself leads to the
        mass: a spike added to a broad density is missed if no node falls on it, and a compact support if it holds none
        of the first probes (4097 in 1D, 257 per axis in 2D, dense at the origin). Kinks and jumps are resolved in 1D;
        in 2D only those along the axes.
    log_constant : float
        log of the integral of ``exp(log_density)`` as given; the method `log_density` subtracts it.

    Raises
    ------
    ValueError
        If the function returns NaN, +inf or a wrong shape, is -inf wherever it was probed, or is not integrable (more
        than 1e-3 of what was found lies beyond 5e7).

    Examples
    --------
    >>> import numpy as np
    >>> from fpsolve.laws import FromLogDensity
    >>> law = FromLogDensity(lambda x: -0.5 * x**2, dim=1)
    >>> round(law.cov, 9), round(law.log_constant, 9)
    (1.0, 0.918938533)
    """

    dim: int
    panels: tuple[Panels, ...]
    log_constant: float
    function: Callable[[FloatArray], Any]
    sampler: Callable[[int, np.random.Generator], Any] | None

    def __init__(
        self,
        log_density: Callable[[FloatArray], Any],
        dim: int,
        sampler: Callable[[int, np.random.Generator], Any] | None = None,
    ) -> None:
        _callables.refuse_signature("log_density", log_density, "x", "a law does not depend on time")
        if sampler is not None and not callable(sampler):
            raise error("sampler", "a function of (n, rng), or None", repr(sampler)[:60])
        object.__setattr__(self, "function", log_density)
        object.__setattr__(self, "sampler", sampler)
        object.__setattr__(self, "dim", dimension("dim", dim))
        object.__setattr__(self, "log_constant", 0.0)
        object.__setattr__(self, "panels", resolve(self._values, self.dim))
        masses = self._log_masses()
        object.__setattr__(self, "log_constant", float(log_sum_exp(masses.ravel())))
        mass = np.exp(masses - self.log_constant)
        for axis, panels in enumerate(self.panels):
            along = mass if self.dim == 1 else mass.sum(axis=1 - axis)
            outside = float(along[np.abs(panels.nodes) > 5e7].sum())
            if outside > 1e-3:
                raise ValueError(
                    f"log_density: expected an integrable density, got {outside:.3g} of its mass beyond 5e7 on "
                    f"axis {axis}; it must fall off faster than 1/|x|."
                )
        self._look(masses)

    @property
    def edges(self) -> FloatArray:
        """Ends of the panels, on the line."""
        return np.append(self.panels[0].low, self.panels[0].high[-1:])

    def __repr__(self) -> str:
        """Return a short description: a function has no representation."""
        return f"FromLogDensity({getattr(self.function, '__name__', 'log_density')}, dim={self.dim})"

    @property
    def mean(self) -> float | FloatArray:
        """Mean by quadrature, float or shape (2,); meaningless where it does not exist."""
        return plain(self._moments[0])

    @property
    def cov(self) -> float | FloatArray:
        """Variance or covariance (2, 2) by quadrature up to 1e8 from the origin; meaningless where it is infinite."""
        return plain(self._moments[1])

    @cached_property
    def tail(self) -> Tail:
        """Read off the log density at radii up to 1e8, in the directions of the axes and between them."""
        return measured(self.log_density, self.dim)

    @cached_property
    def smallest_std(self) -> float:
        """``max(-(log p)'')^(-1/2)`` over the bulk (30 nats below the peak); 0 where the rule met a kink or a jump."""
        if min(panels.smooth for panels in self.panels) == 0.0:
            return 0.0
        log_p = self._log_p()
        std = float(np.sqrt(np.min(np.diag(np.atleast_2d(self._moments[1])))))
        sharpest = std**-2.0
        for axis, panels in enumerate(self.panels):
            lines = np.moveaxis(log_p, axis, -1).reshape(-1, panels.low.size, ORDER)
            bulk = lines.max(axis=(0, 2)) > log_p.max() - 30.0
            if (panels.high - panels.low)[bulk].min() < 1e-6 * std:
                return 0.0
            # three-point differences of nodes (m, 16) and lines (n, m, 16), where all three values are in the bulk
            nodes, lines = panels.nodes.reshape(-1, ORDER)[bulk], lines[:, bulk]
            kept = np.maximum(lines, lines.max() - 60.0)  # differences of log 0 would be NaN
            slopes = np.diff(kept, axis=-1) / np.diff(nodes, axis=-1)
            curvature = -np.diff(slopes, axis=-1) / (0.5 * (nodes[:, 2:] - nodes[:, :-2]))
            inside = np.minimum(np.minimum(lines[..., 2:], lines[..., 1:-1]), lines[..., :-2]) > lines.max() - 30.0
            sharpest = max(sharpest, float(np.where(inside, curvature, 0.0).max()))
        return float(1.0 / np.sqrt(sharpest))

    def log_density(self, x: Any) -> FloatArray:
        """Return the normalised ``log p(x)``, shape ``(...)``."""
        x = points("x", x, self.dim)
        shape = x.shape[: x.ndim - self.dim + 1]
        flat = x.reshape((-1, 2)) if self.dim == 2 else x.ravel()
        nowhere = np.isnan(flat) if self.dim == 1 else np.isnan(flat).any(axis=1)
        if nowhere.any():  # NaN is not a point to ask a user's function at
            values = np.full(len(flat), np.nan)
            values[~nowhere] = self._values(flat[~nowhere])
            return values.reshape(shape)
        return self._values(flat).reshape(shape)

    def score(self, x: Any) -> FloatArray:
        """Return ``grad log p(x)`` by central differences of sixth order, step 1/100 of the narrowest feature."""
        x = points("x", x, self.dim)
        widest = float(np.sqrt(np.max(np.diag(np.atleast_2d(self._moments[1])))))
        step = 0.01 * max(self.smallest_std, 1e-4 * widest)
        if self.dim == 1:
            return self._slope(x, np.asarray(step), step)
        return np.stack([self._slope(x, step * direction, step) for direction in np.eye(2)], axis=-1)

    def sample(self, n: int, rng: np.random.Generator | int) -> FloatArray:
        """Return `n` draws: the sampler's, or by inverting the CDF in 1D.

        Raises
        ------
        ValueError
            In 2D without a sampler, or if the sampler returns a wrong shape or non-finite values.
        """
        n, rng = number_of_draws(n, self.dim), generator("rng", rng)
        if self.sampler is not None:
            return values_at("sampler", self.sampler(n, rng), (n,) if self.dim == 1 else (n, 2))
        if self.dim == 2:
            raise ValueError("sampler: expected a callable sampler(n, rng) for draws in 2D, got None; pass one.")
        return _inverse_cdf(*self._fine_density, rng.random(n))

    @cached_property
    def _moments(self) -> tuple[FloatArray, FloatArray]:
        mass = np.exp(self._log_masses())
        nodes = [panels.nodes for panels in self.panels]
        per_axis = [mass] if self.dim == 1 else [mass.sum(axis=1), mass.sum(axis=0)]
        mean = np.array([weight @ y for weight, y in zip(per_axis, nodes, strict=True)])
        offsets = [y - m for y, m in zip(nodes, mean, strict=True)]
        cov = np.diag([weight @ y**2 for weight, y in zip(per_axis, offsets, strict=True)])
        if self.dim == 1:
            return mean[0], cov[0, 0]
        cov[0, 1] = cov[1, 0] = offsets[0] @ mass @ offsets[1]
        return mean, cov

    @cached_property
    def _fine_density(self) -> tuple[FloatArray, FloatArray]:
        """Points and densities between which the density is taken to be linear when sampling."""
        (panels,) = self.panels
        fine = panels.low[:, None] + (panels.high - panels.low)[:, None] * np.linspace(0.0, 1.0, _PARTS + 1)
        return fine, np.exp(self._values(fine.ravel()).reshape(fine.shape))

    def _log_p(self) -> FloatArray:
        """Return log p at the rule's nodes, shape (n1,) or (n1, n2)."""
        nodes = [panels.nodes for panels in self.panels]
        return self._values(nodes[0]) if self.dim == 1 else tensor_log_density(self._values, *nodes)

    def _log_masses(self) -> FloatArray:
        """Return log of density times weight at the rule's nodes."""
        weights = [panels.log_weights for panels in self.panels]
        return self._log_p() + (weights[0] if self.dim == 1 else np.add.outer(*weights))

    def _values(self, flat: FloatArray) -> FloatArray:
        """Return the function's values at points (n,) or (n, 2), checked, minus the constant."""
        # it is probed up to 1e8 from the origin, where an overflow inside of it is no error; NaN and +inf are, below
        with np.errstate(all="ignore"):
            try:
                raw = self.function(flat)
            except USER_ERRORS as reason:
                got = _callables.told(reason)
                remedy = "use numpy functions, which take arrays"
                raise error("log_density", f"an answer for points of shape {flat.shape}", got, remedy) from reason
        values = real_array("log_density", raw)
        if values.shape != flat.shape[:1]:
            raise ValueError(f"log_density: expected values of shape ({len(flat)},), got {values.shape}.")
        bad = np.isnan(values) | (values == np.inf)
        if bad.any():
            first = int(bad.argmax())
            raise ValueError(
                f"log_density: expected numbers or -inf, got {values[first]} at x = {flat[first].tolist()}; write it "
                "so that it stays finite far out."
            )
        return values - self.log_constant

    def _look(self, masses: FloatArray) -> None:
        """Refuse a function whose value at a point depends on the other points, or that changes them."""
        bulk = masses > masses.max() - 30.0
        nodes = [panels.nodes for panels in self.panels]
        x = nodes[0][bulk] if self.dim == 1 else np.stack(np.meshgrid(*nodes, indexing="ij"), axis=-1)[bulk]
        before = x.copy()
        values = self._values(x)
        if not np.array_equal(before, x):
            raise error("log_density", "a function that leaves its points alone", "one that changes x", "copy it")
        _callables.refuse_company("log_density", lambda y: self._values(y), before, values)

    def _slope(self, x: FloatArray, shift: FloatArray, step: float) -> FloatArray:
        total = np.zeros(x.shape[: x.ndim - self.dim + 1])
        for k, c in _STENCIL:
            there, back = self.log_density(x + k * shift), self.log_density(x - k * shift)
            if not (np.isfinite(there).all() and np.isfinite(back).all()):
                raise ValueError("x: expected points inside of the support, got some where log_density is -inf.")
            total += c * (there - back)
        return np.asarray(total / step)


def _inverse_cdf(fine: FloatArray, density: FloatArray, u: FloatArray) -> FloatArray:
    """Return the points where the CDF of a piecewise linear density reaches u; shapes (m, parts + 1), (n,)."""
    left, right = density[:, :-1].ravel(), density[:, 1:].ravel()
    start, width = fine[:, :-1].ravel(), np.diff(fine, axis=1).ravel()
    cumulative = np.concatenate([[0.0], np.cumsum(0.5 * (left + right) * width)])
    goal = u * cumulative[-1]
    cell = np.clip(np.searchsorted(cumulative, goal, side="right") - 1, 0, left.size - 1)
    rest = (goal - cumulative[cell]) / width[cell]
    # the root of left z + (right - left) z^2/2 = rest, in the form that does not cancel
    root = np.sqrt(np.maximum(left[cell] ** 2 + 2.0 * (right - left)[cell] * rest, 0.0))
    return np.asarray(start[cell] + width[cell] * 2.0 * rest / np.maximum(left[cell] + root, 1e-300))
