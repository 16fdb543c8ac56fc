"""What every family of marginals offers, and those in closed form: laws that know their own Gaussian blur (Laplace,
uniform, point mass), and normal mixtures by compiled sums at points, by matrix products of logarithms on axes: the hot
path of the solver and of the particles.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from fpsolve._checks import FloatArray, points
from fpsolve._memory import over, threads
from fpsolve.grid import nodes_for
from fpsolve.laws import LOG_2PI, Gaussian, Law, NormalMixture, check_axes
from fpsolve.processes import Process


class Marginals(ABC):
    """The marginals ``p_t`` of a forward process started from a target law.

    ``p_t`` is the law of ``alpha(0, t) X_0 + sqrt(sigma2(0, t)) Z``, X_0 from the target, Z standard normal. All
    densities are point values with respect to Lebesgue measure. Made by `fpsolve.marginals.family`.

    Attributes
    ----------
    target : Law
        p_0.
    process : Process
        Gives alpha and sigma2.
    """

    target: Law
    process: Process

    @property
    def dim(self) -> int:
        """Dimension, 1 or 2."""
        return self.target.dim

    @abstractmethod
    def law(self, t: float) -> Law:
        """Return p_t, 0 <= t <= T; the target itself at t = 0."""

    def log_density(self, t: float, x: Any) -> FloatArray:
        """Return ``log p_t(x)``, shape ``(...)``, at points of shape ``(...)`` in 1D, ``(..., 2)`` in 2D."""
        return self.law(t).log_density(x)

    def score(self, t: float, x: Any) -> FloatArray:
        """Return ``grad log p_t(x)``, the shape of `x`."""
        return self.law(t).score(x)

    def score_and_laplacian(self, t: float, x: Any) -> tuple[FloatArray, FloatArray] | None:
        """Return ``grad log p_t`` (n, 2) and ``Lap log p_t`` (n,) at points (n, 2); None without a closed form."""
        return None

    def log_density_on_axes(self, times: Any, *axes: Any) -> FloatArray:
        """Return ``log p_t`` on a tensor grid at several times.

        Parameters
        ----------
        times : array_like of shape (n_t,)
            Forward times.
        *axes : array_like
            Coordinates per axis, shapes ``(nx,)`` and, in 2D, ``(ny,)``.

        Returns
        -------
        ndarray of shape (n_t, nx) or (n_t, nx, ny)
            A new array, the caller's to overwrite.
        """
        return np.stack([self.law(float(t)).log_density_on_axes(*axes) for t in np.asarray(times)])

    def log_gibbs_on_axes(self, times: Any, factor: FloatArray, bowl: FloatArray, *axes: Any) -> FloatArray:
        """Return ``factor(t) log p_t(x) - bowl(t) |x|^2`` on a tensor grid, as `log_density_on_axes`."""
        u = self.log_density_on_axes(times, *axes)
        squares = [np.square(np.asarray(axis)) for axis in axes]
        steeper = factor.reshape(-1, *(1,) * len(axes))

        def tilt(first: int, last: int) -> None:
            part = u[:, first:last]
            part *= steeper
            if len(axes) == 1:  # many short lines: together
                part -= np.multiply.outer(bowl, squares[0][first:last])
                return
            norm = np.add.outer(squares[0][first:last], squares[1])
            for plane, steep in zip(part, bowl, strict=True):
                plane -= steep * norm

        over(len(squares[0]), u.size, tilt)
        return u

    def transition(self, times: Any) -> tuple[FloatArray, FloatArray]:
        """Return ``alpha(0, t)`` and ``sigma2(0, t)``, each of the shape of `times`."""
        times = np.asarray(times, dtype=np.float64)
        return np.asarray(self.process.scale(0.0, times)), np.asarray(self.process.variance(0.0, times))


def only_noise(dim: int, variance: float) -> Gaussian:
    """Return the law where alpha(0, t) = 0: nothing is left of the target."""
    return Gaussian(0.0 if dim == 1 else np.zeros(2), std=float(np.sqrt(variance)))


@dataclass(frozen=True, eq=False)
class ClosedFormMarginals(Marginals):
    """Marginals by `Law.diffused`, evaluated by the methods of the law that returns."""

    target: Law
    process: Process

    def law(self, t: float) -> Law:
        """Return ``target.diffused(alpha(0, t), sigma2(0, t))``."""
        scale, variance = self.transition(t)
        if scale == 0.0:
            return only_noise(self.dim, float(variance))
        law = self.target.diffused(float(scale), float(variance))
        if law is None:
            raise ValueError(f"target: expected a law with a closed form of diffused(), got {self.target!r}.")
        return law


_UNDERFLOW = 1e-280


def log_matmul(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return ``log(exp(a) @ exp(b))``, finite wherever a term is.

    Rows of `a` and columns of `b` are scaled by their largest entry, which leaves one BLAS product; the few entries
    that underflow all the same (no term is large both in its row and in its column) are summed in logarithms by
    compiled code.

    Parameters
    ----------
    a : ndarray of shape (m, k)
        Logarithms, finite or -inf with at least one finite entry per row.
    b : ndarray of shape (k, n)
        Logarithms, likewise per column.

    Returns
    -------
    ndarray of shape (m, n)
    """
    rows, columns = a.max(axis=1, keepdims=True), b.max(axis=0, keepdims=True)
    product: FloatArray = np.exp(a - rows) @ np.exp(b - columns)
    lost = np.zeros(product.shape, dtype=bool)

    def take_logarithms(first: int, last: int) -> None:
        part = product[first:last]
        np.less(part, _UNDERFLOW, out=lost[first:last])
        part[lost[first:last]] = 1.0
        np.log(part, out=part)
        part += rows[first:last]
        part += columns

    over(len(product), product.size, take_logarithms)
    if lost.any():
        from fpsolve.marginals._compiled import log_sums

        log_sums(np.ascontiguousarray(a), np.ascontiguousarray(b), lost, product)
    return product


@dataclass(frozen=True, eq=False)
class MixtureMarginals(Marginals):
    """Marginals of a law that is a finite normal mixture ``sum_k w_k N(m_k, C_k)`` (Gaussian, kernel density, t).

    ``p_t = sum_k w_k N(alpha m_k, alpha^2 C_k + sigma2 I)``. The arrays of all times are made at once; the sums run
    in compiled code, or, for diagonal covariances on 2D tensor grids, as one matrix product per time.
    """

    target: Law
    process: Process

    @cached_property
    def mixture(self) -> NormalMixture:
        """The target as a normal mixture."""
        mixture = self.target.components
        if mixture is None:
            raise ValueError(f"target: expected a normal mixture, got {self.target!r}.")
        return mixture

    def law(self, t: float) -> Law:
        """Return p_t as a law: a Gaussian stays one, any other becomes a mixture."""
        scale, variance = self.transition(t)
        law = self.target.diffused(float(scale), float(variance))
        return self.target if law is None or t == 0.0 else law

    def log_density(self, t: float, x: Any) -> FloatArray:
        """Return ``log p_t(x)``, shape ``(...)``."""
        return self.law(t).log_density(x)

    def score(self, t: float, x: Any) -> FloatArray:
        """Return ``grad log p_t(x)``, the shape of `x`, compiled: about 1 to 2 ns per point and component."""
        from fpsolve._compile import BLOCK
        from fpsolve.marginals import _compiled

        x = points("x", x, self.dim)
        peaks, means, halves, slopes = (array[0] for array in self._coefficients(np.array([t])))
        flat = np.array(x, order="C").reshape(-1, self.dim)
        out = np.empty_like(flat)
        on_line = means[:, 0].copy(), halves[:, 0].copy()

        def part(first: int, last: int) -> None:
            some, found = flat[first:last], out[first:last]
            if self.dim == 1:
                _compiled.scatter_1d(peaks, *on_line, some[:, 0], found[:, 0])
            else:
                _compiled.scatter(peaks, means, halves, slopes, some, found)

        over(len(flat), len(flat), part, multiple=BLOCK)
        return out.reshape(x.shape)

    def score_and_laplacian(self, t: float, x: Any) -> tuple[FloatArray, FloatArray] | None:
        """Return ``grad log p_t`` (n, 2) and ``Lap log p_t`` (n,) at points (n, 2), compiled; None in 1D."""
        from fpsolve._compile import BLOCK
        from fpsolve.marginals import _compiled

        if self.dim == 1:
            return None
        peaks, means, halves, slopes = (array[0] for array in self._coefficients(np.array([t])))
        flat = np.array(x, order="C").reshape(-1, 2)
        gradient, laplacian = np.empty_like(flat), np.empty(len(flat))

        def part(first: int, last: int) -> None:
            at = slice(first, last)
            _compiled.scatter_second(peaks, means, halves, slopes, flat[at], gradient[at], laplacian[at])

        over(len(flat), len(flat), part, multiple=BLOCK)
        return gradient, laplacian

    def log_density_on_axes(self, times: Any, *axes: Any) -> FloatArray:
        """Return ``log p_t`` on a tensor grid, shape (n_t, nx) or (n_t, nx, ny)."""
        times = np.atleast_1d(np.asarray(times, dtype=np.float64))
        return _on_axes(self.mixture, *self.transition(times), check_axes(self.dim, axes))

    def log_gibbs_on_axes(self, times: Any, factor: FloatArray, bowl: FloatArray, *axes: Any) -> FloatArray:
        """Return ``factor(t) log p_t(x) - bowl(t) |x|^2``, in the plane in one pass."""
        if self.dim == 1 or self.mixture.diagonal:
            return super().log_gibbs_on_axes(times, factor, bowl, *axes)
        tilt = np.stack([factor, bowl], axis=-1)
        return _on_axes(self.mixture, *self.transition(times), check_axes(self.dim, axes), tilt)

    def _coefficients(self, times: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        return coefficients(self.mixture, *self.transition(times))


@dataclass(frozen=True, eq=False)
class FastLaw:
    """A normal mixture seen through the compiled kernels: what `Grid.cell_average` needs of a law, on tensor grids."""

    law: NormalMixture

    @property
    def dim(self) -> int:
        """Dimension of the law."""
        return self.law.dim

    @property
    def component_std(self) -> float:
        """Smallest standard deviation of a component, in any direction."""
        return float(np.sqrt(np.linalg.eigvalsh(self.law.component_covs).min()))

    def cell_probabilities(self, *faces: Any) -> FloatArray | None:
        """Those of the law; in the plane without a closed form by quadrature on equal cells, to rounding."""
        masses = self.law.cell_probabilities(*faces)
        if masses is not None or self.dim == 1 or self.law.diagonal or min(len(axis) for axis in faces) < 3:
            return masses
        from fpsolve.marginals import _compiled

        widths = [(axis[-1] - axis[0]) / (len(axis) - 1) for axis in faces]
        nodes, weights = np.polynomial.legendre.leggauss(nodes_for(max(widths) / self.component_std))
        x, y = (
            (0.5 * (axis[1:] + axis[:-1]))[:, None] + 0.5 * h * nodes for axis, h in zip(faces, widths, strict=True)
        )
        peaks, means, halves, slopes = (array[0] for array in coefficients(self.law, np.ones(1), np.zeros(1)))
        out, share = np.empty((len(x), len(y))), np.multiply.outer(weights, 0.25 * widths[0] * widths[1] * weights)
        rows = partial(_compiled.averages, peaks, means, halves, slopes, x, np.ascontiguousarray(y.T), share, out)
        over(len(x), out.size * share.size, rows)
        return out

    def log_density_on_axes(self, *axes: Any) -> FloatArray:
        """Return ``log p`` on a tensor grid, shape (nx,) or (nx, ny)."""
        return np.asarray(_on_axes(self.law, np.ones(1), np.zeros(1), check_axes(self.dim, axes))[0])


def _on_axes(
    mixture: NormalMixture,
    scale: FloatArray,
    variance: FloatArray,
    axes: list[FloatArray],
    tilt: FloatArray | None = None,
) -> FloatArray:
    """Log density of ``scale X + sqrt(variance) Z`` for every (scale, variance), shape (n_t, nx[, ny]).

    In the plane with covariances that are not diagonal times a factor and minus a bowl, tilt (n_t, 2).
    """
    from fpsolve.marginals import _compiled

    x = [np.array(axis) for axis in axes]
    peaks, means, halves, slopes = coefficients(mixture, scale, variance)
    out = np.empty((scale.size, *(axis.size for axis in x)))
    if len(x) == 1:
        line = partial(_compiled.lines, peaks, means[..., 0].copy(), halves[..., 0].copy(), x[0], out)
        over(len(out), out.size, line)
    elif mixture.diagonal:

        def some(first: int, last: int) -> None:
            for i in range(first, last):
                # log sum_k A_k(x) B_k(y) for diagonal covariances
                along_x = peaks[i] - halves[i, :, 0] * (x[0][:, None] - means[i, :, 0]) ** 2
                along_y = -halves[i, :, 1, None] * (x[1] - means[i, :, 1, None]) ** 2
                out[i] = log_matmul(along_x, along_y)

        # times one after another where they are too few for all threads: then these share the rows of each
        if scale.size < threads():
            some(0, scale.size)
        else:
            over(scale.size, out.size + (x[0].size + x[1].size) * peaks.size, some)
    else:
        tilt = np.tile([1.0, 0.0], (scale.size, 1)) if tilt is None else tilt
        rows = partial(_compiled.planes, peaks, means, halves, slopes, x[0], x[1], tilt, out)
        over(scale.size * x[0].size, out.size, rows)
    return out


def coefficients(
    mixture: NormalMixture, scale: FloatArray, variance: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return peaks (n_t, K), means (n_t, K, d), halves (n_t, K, d), slopes (n_t, K); see `_compiled`."""
    means = scale[:, None, None] * mixture.component_means
    covs = scale[:, None, None, None] ** 2 * mixture.component_covs
    first = covs[:, :, 0, 0] + variance[:, None]
    if mixture.dim == 1:
        log_volume, widths, slopes = np.log(first), first[..., None], np.zeros_like(first)
    else:
        slopes = covs[:, :, 0, 1] / first
        second = covs[:, :, 1, 1] + variance[:, None] - slopes * covs[:, :, 0, 1]
        log_volume, widths = np.log(first) + np.log(second), np.stack([first, second], axis=-1)
    peaks = mixture.log_weights - 0.5 * mixture.dim * LOG_2PI - 0.5 * log_volume
    return peaks, means, 0.5 / widths, slopes
