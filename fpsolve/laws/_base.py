"""The interface every law keeps: densities, samples, cell probabilities, and the law after Gaussian noise.

What laws share: how fast a density falls far out, which decides on the moments that are finite; linear binning of
samples, by which many kernels become few with mass and mean kept exactly and the variance on average; and probabilities
of intervals from a cumulative distribution function, without cancellation in either tail.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fpsolve import _memory
from fpsolve._checks import FloatArray, error, finite_array, generator, integer, points
from fpsolve._messages import page

if TYPE_CHECKING:
    from fpsolve.laws._gaussian import NormalMixture


#: Lengths beyond it, or below one over it, have squares and products that are no longer numbers.
_LARGEST = 1e100


def number_of_draws(n: int, dim: int) -> int:
    """Return the number of draws of a sample that fits into memory."""
    count = integer("n", n, minimum=0)
    _memory.require("n", 16.0 * count * dim, "draw fewer at a time")
    return count


class Law(ABC):
    """A probability law on R or R^2.

    All densities are point values with respect to Lebesgue measure (per unit length or area). Subclasses are
    frozen dataclasses; each gives `log_density`, `score`, `sample` and the properties below, and overrides
    the closed forms it has.

    Attributes
    ----------
    dim : int
        1 or 2.
    mean : float or ndarray of shape (2,)
        Mean; the centre of symmetry where the mean does not exist.
    cov : float or ndarray of shape (2, 2)
        Variance in 1D, covariance matrix in 2D; infinite where it does not exist.
    smallest_std : float
        Standard deviation of the narrowest feature (of the narrowest component along its narrowest axis):
        what a grid has to resolve. 0 for laws with kinks or jumps.
    """

    if TYPE_CHECKING:
        # Declared for type checkers only: a subclass may have any of them as a dataclass field, and a
        # property here would at run time be taken for the field's default.
        @property
        def dim(self) -> int: ...
        @property
        def mean(self) -> float | FloatArray: ...
        @property
        def cov(self) -> float | FloatArray: ...
        @property
        def smallest_std(self) -> float: ...

    @abstractmethod
    def log_density(self, x: Any) -> FloatArray:
        """Return ``log p(x)``, shape ``(...)``, at points of shape ``(...)`` in 1D, ``(..., 2)`` in 2D."""

    @abstractmethod
    def score(self, x: Any) -> FloatArray:
        """Return ``grad log p(x)``, the shape of `x`."""

    @abstractmethod
    def sample(self, n: int, rng: np.random.Generator | int) -> FloatArray:
        """Return `n` independent draws, shape ``(n,)`` or ``(n, 2)``; `rng` is a Generator or an integer seed."""

    def density(self, x: Any) -> FloatArray:
        """Return the density ``p(x)``, shape ``(...)``; underflows to 0 far out where `log_density` does not."""
        return np.exp(self.log_density(x))

    def log_density_on_axes(self, *axes: Any) -> FloatArray:
        """Return ``log p`` on the tensor grid of `axes`: shape ``(nx,)`` in 1D, ``(nx, ny)`` in 2D."""
        return self.log_density(tensor_points(self.dim, axes))

    def _repr_html_(self) -> str:
        """Show mean, deviation and, on the line, the density."""
        told = f"{repr(self)[:300]}\nmean {np.round(self.mean, 6) + 0.0}, covariance {np.round(self.cov, 6)}"
        low, high = np.quantile(self.sample(400, 0), [0.01, 0.99])
        if self.dim > 1 or low == high:
            return page(told)
        faces = np.linspace(low - 0.3 * (high - low), high + 0.3 * (high - low), 121)
        mass, centres = self.cell_probabilities(faces), 0.5 * (faces[1:] + faces[:-1])
        return page(told, [(centres, self.density(centres) if mass is None else mass / np.diff(faces))])

    def cell_probabilities(self, *faces: Any) -> FloatArray | None:
        """Return the exact probability of every cell between `faces`, or None where there is no closed form.

        Parameters
        ----------
        *faces : array_like
            Increasing faces per axis, shapes ``(nx + 1,)`` and, in 2D, ``(ny + 1,)``; ends may be infinite.

        Returns
        -------
        ndarray of shape (nx,) or (nx, ny), or None
            Probability mass (not density) of each cell, free of cancellation in both tails.
        """
        return None

    def log_tail(self, x: Any, side: Any) -> FloatArray | None:
        """Return ``log P(X <= x)`` where `side` is 1 and ``log P(X >= x)`` where it is -1, or None without closed form.

        On a line, at points x of shape ``(n,)`` and sides of that shape; finite and accurate however far out.
        """
        return None

    def diffused(self, scale: float, variance: float) -> Law | None:
        """Return the law of ``scale X + sqrt(variance) Z``, Z standard normal, or None without a closed form."""
        return None

    @property
    def tail(self) -> Tail | None:
        """How fast the density falls far out, or None where that is not known."""
        return None

    @property
    def components(self) -> NormalMixture | None:
        """The law as a finite normal mixture, or None where it is none."""
        return None

    @property
    def features(self) -> list[tuple[float, float]]:
        """Centres and widths of what an integral with a law on the line has to resolve."""
        mean, std = float(np.asarray(self.mean)), float(np.sqrt(np.asarray(self.cov)))
        narrowest = (mean, self.smallest_std if self.smallest_std > 0.0 else std)
        return [(mean, std), narrowest] if np.isfinite(std) else [narrowest]

    @property
    def edges(self) -> FloatArray:
        """Points of the line at which the density jumps or has kinks, and ends of the law's own panels."""
        return np.empty(0)

    @property
    def jumps(self) -> bool | None:
        """Whether the density has jumps, or None where that is not known."""
        return None

    @property
    def poincare_constant(self) -> float | None:
        """Smallest C with ``Var f(X) <= C E |f'(X)|^2``, or None without a closed form."""
        return None

    def axis_marginal(self, axis: int) -> Law | None:
        """Return the 1D law of coordinate `axis` (the law itself in 1D), or None without a closed form."""
        return self if self.dim == 1 else None


class Noisy(Law):
    """What laws with Gaussian noise of standard deviation `std` have of it."""

    std: float

    @property
    def smallest_std(self) -> float:
        """Standard deviation of the noise, which rounds kinks and jumps."""
        return self.std

    def with_noise(self, law: Law, n: int, rng: np.random.Generator | int) -> FloatArray:
        """Return `n` draws of a law plus noise."""
        rng = generator("rng", rng)
        draws = law.sample(n, rng)
        return draws + self.std * rng.standard_normal(draws.shape)


def check_axes(dim: int, axes: tuple[Any, ...], name: str = "axes") -> list[FloatArray]:
    """Return the 1D coordinate arrays of a tensor grid; refuse others than `dim` of them, and faces out of order."""
    if len(axes) != dim:
        raise ValueError(f"{name}: expected {dim} arrays for a {dim}D law, got {len(axes)}; give one per axis.")
    arrays = [points(name, axis, 1) for axis in axes]
    for array in arrays:
        if array.ndim != 1:
            raise error(name, f"one array of shape (n,) per axis, {dim} in all", f"shape {array.shape}")
        if name == "faces" and not np.all(array[1:] > array[:-1]):
            raise error(name, "increasing faces", "some that are not", "sort them")
    return arrays


def tensor_points(dim: int, axes: tuple[Any, ...]) -> FloatArray:
    """Return the points of the tensor grid of `axes`: ``(nx,)`` in 1D, ``(nx, ny, 2)`` in 2D."""
    arrays = check_axes(dim, axes)
    return arrays[0] if dim == 1 else np.stack(np.meshgrid(*arrays, indexing="ij"), axis=-1)


def lengths(name: str, value: Any, *, power: int = 1, widths: bool = False) -> FloatArray:
    """Return lengths (or their `power`) as a float array: finite, and such that squares and products are numbers.

    `widths` are not 0 and so not tiny either; that they are > 0 is checked where they are used.
    """
    array = finite_array(name, value)
    size = np.abs(array)
    bad = (size > _LARGEST**power) | (widths & (size > 0.0) & (size < _LARGEST**-power))
    if bad.any():
        low = f"{_LARGEST**-power:g} to " if widths else "at most "
        remedy = "choose another unit of length"
        raise error(name, f"numbers of a size of {low}{_LARGEST**power:g}", f"{array[bad].flat[0]:g}", remedy)
    return array


def component_covariances(name: str, stds: Any, covs: Any, dim: int, count: int, plural: str = "") -> FloatArray:
    """Return checked covariances ``(count, dim, dim)`` from standard deviations or covariances, exactly one given.

    Standard deviations: one number or one per component, isotropic in 2D. Covariances: variances in 1D and
    ``(count, 2, 2)`` matrices in 2D. `plural` ends the names of the arguments in messages.
    """
    if (stds is None) == (covs is None):
        got = "neither" if stds is None else "both"
        raise ValueError(f"{name}: expected exactly one of std{plural} and cov{plural}, got {got}.")
    label = f"{name} {'cov' if stds is None else 'std'}{plural}"
    power = 2 if stds is None else 1
    values = lengths(label, covs if stds is None else stds, power=power, widths=dim == 1 or power == 1)
    if dim == 2 and stds is None:
        matrices = values
        if matrices.shape == (2, 2):
            matrices = np.broadcast_to(matrices, (count, 2, 2))
        if matrices.shape != (count, 2, 2):
            raise ValueError(f"{label}: expected matrices of shape ({count}, 2, 2), got shape {matrices.shape}.")
        asymmetry = np.abs(matrices[:, 0, 1] - matrices[:, 1, 0])
        for k in np.flatnonzero(asymmetry > 1e-12 * np.abs(matrices).max(axis=(1, 2))):
            raise ValueError(f"{label}: expected symmetric matrices, got {matrices[k].tolist()} (index {k}).")
        smallest, largest = np.linalg.eigvalsh(matrices).T
        # an eigenvalue of rounding size is zero, whatever its sign
        for k in np.flatnonzero(smallest <= 8.0 * np.finfo(float).eps * largest):
            raise ValueError(
                f"{label}: expected positive definite matrices, got {matrices[k].tolist()} (index {k}) "
                f"with smallest eigenvalue {smallest[k]:.6g}."
            )
        return matrices
    if values.ndim > 1 or values.size not in (1, count):
        raise ValueError(f"{label}: expected one number or {count}, got shape {values.shape}.")
    if values.min() <= 0.0:
        raise ValueError(f"{label}: expected numbers > 0, got {values.min():.6g}; use PointMass for no spread.")
    variances = values if stds is None else values**2
    return np.broadcast_to(variances.reshape(-1, 1, 1), (count, 1, 1)) * np.eye(dim)


def location(name: str, value: Any) -> FloatArray:
    """Return a frozen copy of a point: shape ``()`` in 1D or ``(2,)`` in 2D, finite."""
    point = lengths(name, value)
    if point.shape not in ((), (2,)):
        raise ValueError(f"{name}: expected a number (1D) or two numbers (2D), got shape {point.shape}.")
    return frozen(point)


def plain(point: FloatArray) -> float | FloatArray:
    """Return a 0-dimensional array as a float, any other unchanged."""
    return float(point) if point.ndim == 0 else point


def frozen(array: FloatArray) -> FloatArray:
    """Return a read-only copy, so that a frozen law cannot change under its user."""
    copy = np.array(array, dtype=np.float64)
    copy.flags.writeable = False
    return copy


@dataclass(frozen=True)
class Tail:
    """The leading term of ``-log p(x)`` far out, along the direction in which it is smallest.

    Attributes
    ----------
    power : float
        ``-log p ~ rate |x|^power``: 2 for Gaussian tails, 1 for exponential ones, inf for a compact support; 0 stands
        for power laws, ``p ~ |x|^-rate``.
    rate : float
        > 0, in units of 1/(unit of x)^power; for Gaussian tails ``1/(2 v)``, v the largest variance of a component
        along any direction.
    known : bool
        True for a closed form; False where it was read off the log density at growing radii.
    """

    power: float
    rate: float
    known: bool = True

    def diffused(self, scale: float, variance: float) -> Tail:
        """Return the tail of ``scale X + sqrt(variance) Z``, Z standard normal: the slower of the two decays."""
        if variance == 0.0:
            return Tail(self.power, self.rate / scale ** min(self.power, 2.0), self.known) if self.power else self
        if scale == 0.0 or self.power > 2.0:
            return Tail(2.0, 0.5 / variance, self.known)
        if self.power == 2.0:
            return Tail(2.0, 0.5 / (scale**2 * 0.5 / self.rate + variance), self.known)
        return Tail(self.power, self.rate / scale**self.power, self.known) if self.power else self


#: The tail of a law on a bounded set.
COMPACT = Tail(np.inf, np.inf)

#: Radii at which a log density is read, and the power that counts as 2 or 0 within their rounding.
_RADII = 2.0 ** np.arange(17, 27)
_SAME = 1e-4


def measured(log_density: Callable[[FloatArray], FloatArray], dim: int) -> Tail:
    """Return the tail of a log density read at radii from 1e5 to 1e8.

    With ``g = -log p`` the differences ``g(2r) - g(r)`` grow like ``2^power``; the slowest of 2 (in 2D 16) directions
    counts. A law whose tail begins further out is taken for what it is there.
    """
    angles = np.pi * np.arange(2 if dim == 1 else 16) / (1 if dim == 1 else 8)
    ways = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    points = np.asarray(_RADII[:, None] * np.round(ways[:, 0]) if dim == 1 else _RADII[:, None, None] * ways)
    g = -np.asarray(log_density(points))
    slowest = g.min(axis=1)
    if not np.all(np.isfinite(slowest)):
        return Tail(np.inf, np.inf, known=False)
    first, last = np.diff(slowest)[-2:]
    power = float(np.log2(last / first)) if first > 0.0 else 0.0
    if power < _SAME:
        return Tail(0.0, float(last / np.log(2.0)), known=False)
    power = 2.0 if abs(power - 2.0) < _SAME else 1.0 if abs(power - 1.0) < _SAME else power
    return Tail(power, float(last / (_RADII[-2] ** power * (2.0**power - 1.0))), known=False)


def bin_samples(samples: FloatArray, widths: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Share every sample out among its 2 (4) neighbouring nodes, in proportion to its closeness.

    Parameters
    ----------
    samples : array, shape (n, d)
    widths : array, shape (d,)
        Distance of the nodes per axis.

    Returns
    -------
    weights : array, shape (K,)
        Mass of the occupied nodes, sum 1.
    nodes : array, shape (K, d)

    Notes
    -----
    A sample between two nodes at the share f gains the variance ``width^2 f (1 - f)``, on average ``width^2 / 6``,
    which whoever uses the nodes takes off the kernel's own (Wand 1994, doi:10.1080/10618600.1994.10474656).
    """
    position = samples / widths
    base = np.floor(position)
    share = position - base
    # numbers of the nodes per axis that have a share: few, however far samples lie apart
    axes = [np.unique(np.stack([low, low + 1.0]), return_inverse=True) for low in base.T]
    keys, parts = [], []
    for corner in np.ndindex(*(2,) * samples.shape[1]):
        places = [place.reshape(2, -1)[side] for (_, place), side in zip(axes, corner, strict=True)]
        keys.append(np.ravel_multi_index(places, [len(nodes) for nodes, _ in axes]))
        parts.append(np.prod(np.where(corner, share, 1.0 - share), axis=1) / len(samples))
    occupied, place = np.unique(np.concatenate(keys), return_inverse=True)
    mass = np.bincount(place, np.concatenate(parts)).astype(np.float64)
    some = np.unravel_index(occupied[mass > 0.0], [len(nodes) for nodes, _ in axes])
    found = [nodes[k] * width for (nodes, _), k, width in zip(axes, some, widths, strict=True)]
    return mass[mass > 0.0], np.stack(found, axis=-1)


def faces_around(x: FloatArray, bandwidth: float) -> FloatArray:
    """Faces of cells of half a bandwidth within five of some samples, and of one cell between those far apart."""
    x, reach = np.sort(x), 5.0 * bandwidth
    gaps = np.flatnonzero(np.diff(x) > 2.0 * reach)
    ends = zip(x[np.append(0, gaps + 1)] - reach, x[np.append(gaps, len(x) - 1)] + reach, strict=True)
    return np.unique(np.concatenate([np.linspace(a, b, int(np.ceil((b - a) / (0.1 * reach))) + 1) for a, b in ends]))


def symmetric_interval_probabilities(cdf: Callable[[FloatArray], FloatArray], z: FloatArray) -> FloatArray:
    """Return ``P(z_i < Z <= z_{i+1})`` for a law symmetric about 0.

    ``F(z_{i+1}) - F(z_i)`` loses all digits in the upper tail, where both are nearly 1; there the reflected
    ``F(-z_i) - F(-z_{i+1})`` is used.

    Parameters
    ----------
    cdf : callable
        F, accurate in the lower tail.
    z : ndarray of shape (..., n + 1)
        Standardised faces, increasing along the last axis.

    Returns
    -------
    ndarray of shape (..., n)
        Probability masses.
    """
    lower, upper = cdf(z), cdf(-z)
    above = z[..., :-1] > 0.0
    return np.where(above, upper[..., :-1] - upper[..., 1:], lower[..., 1:] - lower[..., :-1])
