"""Wasserstein distances on the line: ``int_0^1 |F^-1(u) - G^-1(u)|^2 du`` from cell averages of two densities.

The integral runs over the probability level u, in pieces between the levels that either cumulative has at its faces.
Within a piece each quantile stays inside of one cell: a gap in a density, across which its quantile jumps while u
stands still, lies between two pieces and never inside of one.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from fpsolve import _checks
from fpsolve._cells import edge_tail
from fpsolve._checks import FloatArray
from fpsolve.distances import _splines
from fpsolve.distances._divergences import root
from fpsolve.distances._fields import Frame, aligned, weigher, weighted_sum
from fpsolve.distances._spectral import line_transport, transport_to_samples
from fpsolve.distances._splines import PRIMITIVES, spline_error, spread
from fpsolve.weights import UnitWeight

_ROUNDING = 8.0 * float(np.finfo(float).eps)
# pieces of less mass than this are left out
_LIGHTEST = 1e-18
# pieces are halved until two rules agree to this share of the whole, or so often
_TOLERANCE, _HALVINGS = 1e-13, 8
# pieces of less than this share of the value do not decide whether there are jumps or kinks
_SMALL = 1e-9
# levels say nothing before their differences fall like this and the cells are sure of this share of the value
_REGIME, _SURE = 1 / 12, 3e-4
# where grids that begin elsewhere differ by more than this share: few cells of a smooth density do better than the
# sixth order, kinks and jumps do so by chance only
_AGREE, _SMOOTH, _ORDER = 1 / 4, 1 / 40, 1 / 64
# the least share of the difference before, which the sixth order divides by 64, that the last one counts for
_CHANCE = 1 / 256
# what errors of both signs leave of the sum of their sizes, where nothing is known of their order
_RANDOM = 1 / 4
# the least share of the last difference, and of the sum of the errors of the cells, that may be left
_LEAST, _LEAST_OF_CELLS = 1 / 32, 1 / 512


def squared_displacement(p: FloatArray, q: FloatArray, spacing: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return ``int_0^1 |F^-1(u) - G^-1(u)|^2 du`` for every row, and its error; symmetric in p and q.

    Parameters
    ----------
    p, q : arrays, shape (rows, n)
        Cell averages.
    spacing : array, shape (rows,) or (1,)
        Cell widths.

    Returns
    -------
    value, error : arrays, shape (rows,)
        The error covers reconstruction, quadrature, the round-off of the cumulatives, and negative masses, which have
        no quantiles.
    """
    widths = np.broadcast_to(spacing, len(p))
    sums = [_row(a * h, b * h) for a, b, h in zip(p, q, widths, strict=True)]
    value, error = np.array(sums).T
    return value * widths**2, error * widths**2


def _row(p: FloatArray, q: FloatArray) -> tuple[float, float]:
    """Return value and error for two arrays of cell masses, in units of cells."""
    quartic = _Pieces.of(p, q, 4)
    value, quadrature = quartic.integral(_HALVINGS)
    first = quartic.rule(_splines.NODES)
    gap_2, gap_0 = (spread(np.abs(first - _Pieces.of(p, q, degree).rule(_splines.NODES))) for degree in (2, 0))
    errors, rough = PRIMITIVES.error(gap_2, gap_0), PRIMITIVES.is_rough(gap_2, gap_0)
    by_cell = float(errors.sum())
    in_rough = float(errors[rough].sum()) if rough[first > _SMALL * value].any() else 0.0
    negative = sum(float(np.maximum(-masses, 0.0).sum()) for masses in (p, q))
    mass = float(np.abs(p).sum() + np.abs(q).sum())
    # round-off of sequential sums is a random walk; negative masses, and pieces left out, may belong anywhere
    rounding = _ROUNDING * (1.0 + np.sqrt(p.size) / 8.0) * mass * quartic.lever() + p.size**2 * (
        negative + quartic.lost
    )
    return value, min(by_cell, _by_level(p, q, value, by_cell, in_rough)) + quadrature + rounding


def _by_level(p: FloatArray, q: FloatArray, value: float, by_cell: float, in_rough: float) -> float:
    """Return the error judged by grids of a half and a quarter of the cells; infinity where they cannot.

    The errors of single cells have both signs and all but cancel in the sum, which the sum of their sizes cannot know.
    Where jumps or kinks may be, or cells are few, coarse grids must say the same wherever they begin: where their
    errors change sign with it, those of rough pieces are as good as random, and a part of their sum `in_rough` counts.
    """
    if p.size < 4 * _splines.MINIMUM_CELLS or by_cell > _SURE * value:
        return np.inf
    gaps, befores = [], []
    for begin in (0, 1) if in_rough > 0.0 else (0,):
        half, quarter = _merged(p, q, 2, begin), _merged(p, q, 4, 2 * begin)
        gaps.append(value - half)
        befores.append(half - quarter)
    gap, before, largest = max(map(abs, gaps)), min(map(abs, befores)), max(map(abs, befores))
    # grids that begin elsewhere agree where the sixth order reigns
    apart = (max(gaps) - min(gaps)) / gap if gap > 0.0 else 0.0
    if not gap < (_REGIME if apart < _AGREE else _SMOOTH) * before:
        return np.inf
    # levels may cross, and a difference be small by chance, but not twice by the same one
    share = max(_LEAST, gap / before, apart * min(1.0, gap / before / _ORDER))
    certain = len(gaps) == 2 and apart < _AGREE
    left = (gap if certain else max(gap, _CHANCE * largest)) * min(share, 1.0)
    random = min(befores) * max(befores) < 0.0
    return max(left, _LEAST_OF_CELLS * by_cell, _RANDOM * in_rough if random else 0.0)


def _merged(p: FloatArray, q: FloatArray, k: int, begin: int) -> float:
    """Return the integral from sums of k cells, the first of which holds `begin` empty ones: these change nothing."""
    padded = (np.pad(masses, (begin, -(begin + masses.size) % k)) for masses in (p, q))
    first, second = (masses.reshape(-1, k).sum(axis=1) for masses in padded)
    return k**2 * _Pieces.of(first, second, 4).integral(2)[0]


@dataclass(frozen=True, eq=False)
class _Pieces:
    """Intervals of levels in which both quantiles stay inside of one cell, shape (pieces,) each.

    `lost` is the mass of those too light to be kept.
    """

    low: FloatArray
    high: FloatArray
    quantiles: "tuple[_Quantile, _Quantile]"
    lost: float = 0.0

    @classmethod
    def of(cls, p: FloatArray, q: FloatArray, degree: int) -> "_Pieces":
        rising = [np.maximum.accumulate(np.concatenate([np.zeros(1), np.cumsum(masses)])) for masses in (p, q)]
        # the mass that one has and the other has not is the caller's mismatch
        levels = np.unique(np.minimum(np.concatenate(rising), min(faces[-1] for faces in rising)))
        steps = np.diff(levels)
        heavy = steps > _LIGHTEST
        low, high = levels[:-1][heavy], levels[1:][heavy]
        first, second = (_Quantile.of(m, faces, degree, low) for m, faces in zip((p, q), rising, strict=True))
        return cls(low, high, (first, second), float(steps[~heavy].sum()))

    def rule(self, nodes: int) -> FloatArray:
        """Return ``int |F^-1 - G^-1|^2 du`` of every piece by a Gauss rule."""
        u, weights = _splines.gauss(nodes)
        level = self.low[:, None] + (self.high - self.low)[:, None] * u
        first, second = (quantile.at(level) for quantile in self.quantiles)
        return np.asarray((self.high - self.low) * ((first - second) ** 2 @ weights))

    def lever(self) -> float:
        """Return how much an error of the levels counts, as ``sum (2 |F^-1 - G^-1| + r) r`` over ways r of a quantile.

        A level that is off by e moves the mass e along the way of the quantile there: little within a cell, much across
        a gap.
        """
        ends = np.stack([self.low, self.high], axis=1)
        first, second = (quantile.at(ends).ravel() for quantile in self.quantiles)
        ways, apart = np.abs(np.diff(first)) + np.abs(np.diff(second)), np.abs(first - second)
        return float((2.0 * np.maximum(apart[1:], apart[:-1]) + ways) @ ways)

    def integral(self, halvings: int) -> tuple[float, float]:
        """Return the sum over the pieces, halved where two rules disagree, and what they still disagree on."""
        fine, coarse = self.rule(_splines.NODES), self.rule(_splines.NODES - 2)
        apart = np.abs(fine - coarse)
        poor = apart > _TOLERANCE * (fine.sum() + 1.0)
        if halvings == 0 or not poor.any():
            return float(fine.sum()), float(apart.sum())
        low, high = self.low[poor], self.high[poor]
        middle = 0.5 * (low + high)
        halves = _Pieces(
            np.concatenate([low, middle]), np.concatenate([middle, high]),
            (self.quantiles[0].twice(poor), self.quantiles[1].twice(poor)),
        )  # fmt: skip
        value, left = halves.integral(halvings - 1)
        return float(fine[~poor].sum()) + value, float(apart[~poor].sum()) + left


@dataclass(frozen=True, eq=False)
class _Quantile:
    """The inverse of a cumulative spline, piece by piece.

    Attributes
    ----------
    cell : array, shape (pieces,)
        The cell in which the quantile of a piece lies.
    powers : array, shape (pieces, degree + 2)
        The cumulative there in powers of the inner position.
    """

    cell: NDArray[np.intp]
    powers: FloatArray

    @classmethod
    def of(cls, masses: FloatArray, rising: FloatArray, degree: int, low: FloatArray) -> "_Quantile":
        # cells whose mass is negative round-off hold no level
        cell = np.clip(np.searchsorted(rising, low, side="right") - 1, 0, masses.size - 1)
        spline = _splines.windows(_splines.coefficients(masses, degree), degree)[cell]
        primitive = spline @ (_splines.monomials(degree) / np.arange(1.0, degree + 2.0)[:, None]).T
        start = np.concatenate([np.zeros(1), np.cumsum(masses)])[cell]
        return cls(cell, np.concatenate([start[:, None], primitive], axis=1))

    def twice(self, chosen: NDArray[np.bool_]) -> "_Quantile":
        """Return the chosen pieces, each twice."""
        return _Quantile(np.tile(self.cell[chosen], 2), np.tile(self.powers[chosen], (2, 1)))

    def at(self, level: FloatArray) -> FloatArray:
        """Return the positions (in cells) where the cumulative reaches the levels, shape (pieces, nodes)."""
        if self.powers.shape[1] == 2:
            straight = (level - self.powers[:, :1]) / np.maximum(self.powers[:, 1:], _LIGHTEST)
            return np.asarray(self.cell[:, None] + np.clip(straight, 0.0, 1.0))
        powers = np.repeat(self.powers, level.shape[1], axis=0)
        powers[:, 0] -= level.ravel()
        inner = np.where(powers[:, 0] >= 0.0, 0.0, 1.0)
        inside = (powers[:, 0] < 0.0) & (powers.sum(axis=1) > 0.0)
        zero, one = np.zeros(inside.sum()), np.ones(inside.sum())
        inner[inside] = _splines.bracketed_roots(powers[inside], zero, one, -one)
        return np.asarray(self.cell[:, None] + inner.reshape(level.shape))


# relative difference of the two masses that may be tails and rounding
_MASS_TOLERANCE = 1e-3


def wasserstein(p: xr.DataArray, q: Any, order: Literal[1, 2] = 1, *, unbounded: bool = True) -> xr.Dataset:
    """Return the Wasserstein distance of order 1 or 2.

    In 1D ``W1 = int |F - G| dx`` and ``W2 = (int_0^1 |F^-1(u) - G^-1(u)|^2 du)^(1/2)`` with the cumulative distribution
    functions F, G. Between the faces these are the quintic splines that interpolate them; W1 is split at the
    crossings, W2 integrates ``|x - G^-1(F(x))|^2 p(x) dx``. In 2D it lies between two bounds from a linear program on
    merged cells (POT, the extra ``fpsolve[ot]``): their middle, half of their distance, a few per cent. Units of x.

    Parameters
    ----------
    p : DataArray
        Cell averages of a density, see `weighted_tv`.
    q : DataArray, or array of shape (n,) or (n, 2)
        The same and of equal mass, or at least 20 samples of q (in 2D at most 900 of them are used, at random).
    order : {1, 2}
        Order of the distance.
    unbounded : bool, default True
        Whether the densities go on beyond the box; what that may change is then part of the error.

    Returns
    -------
    Dataset
        `distance` and `error` over the leading dimensions. W2 of less than about 1e-7 box lengths drowns in the
        round-off of the cumulatives, as its error says; W1 keeps its digits. In 2D W2 of less than a few cells is an
        upper bound only: the error is as large.
        With samples also `standard_error`, the root of the mean square of the distance of such samples from their law
        (no deviation of the distance is larger, by the triangle inequality), and `bias`, what the distance of the raw
        samples is estimated to be above the true one, not taken off. The error then fails with probability 1e-3.

    Raises
    ------
    ValueError
        If their masses differ by more than 1e-3 of them, or they do not fit together.
    ModuleNotFoundError
        In 2D without POT.

    Examples
    --------
    >>> from fpsolve import Gaussian, Grid
    >>> grid = Grid.uniform((-9, 9), cells=300)
    >>> p, q = (xr.DataArray(grid.cell_average(Gaussian(m, std=1.0)), coords={"x": grid.x}) for m in (0.0, 0.5))
    >>> [round(float(wasserstein(p, q, order).distance), 8) for order in (1, 2)]
    [0.5, 0.5]
    """
    _checks.one_of("order", order, (1, 2))
    # the plane's stand on those of lines
    from fpsolve.distances._plane_transport import plane_transport, plane_wasserstein

    _checks.flag("unbounded", unbounded)
    attrs = {"quantity": f"Wasserstein distance of order {order}"}
    if not isinstance(q, xr.DataArray):
        plane = aligned(p=p).dim == 2
        return transport_to_samples(p, q, attrs, *(plane_transport if plane else line_transport)(order), most=plane)
    frame = aligned(p=p, q=q)
    mine, other = frame.rows(p), frame.rows(q)
    if frame.dim == 2:
        return plane_wasserstein([mine, other], frame, order, unbounded, attrs)
    mismatch = mass_mismatch(mine, other, frame)
    if order == 1:
        value, error = _first(mine - other, frame)
        masses = weighted_sum(np.abs(mine) + np.abs(other), frame, weigher(UnitWeight(), 1))
        rounding = (np.finfo(float).eps + frame.stored) * masses
        error = error + (mismatch + rounding) * frame.length + _beyond(mine - other, frame, unbounded, 1)
        return frame.labelled(attrs, distance=value, error=error)
    square, error = squared_displacement(mine, other, frame.spacing[0])
    # as much as the round-off of the sums is in that of the cumulatives
    walk = np.sqrt(mine.shape[1]) * np.finfo(float).eps * np.abs(mine).sum(axis=1) * frame.volume
    mismatch = np.where(mismatch <= walk, 0.0, mismatch)
    error = error + mismatch * frame.length**2 + _beyond(np.abs(mine) + np.abs(other), frame, unbounded, 2)
    result = root(frame.labelled(attrs, distance=square, error=error))
    if frame.stored == 0.0:
        return result
    # by the triangle inequality: a share of the mass, the rounding of float32, may lie anywhere in the box
    moved = [np.sqrt(frame.stored * np.abs(density).sum(axis=1) * frame.volume) for density in (mine, other)]
    lost = frame.labelled({}, error=(moved[0] + moved[1]) * frame.length)
    return result.assign(error=result["error"] + lost["error"])


def mass_mismatch(p: FloatArray, q: FloatArray, frame: Frame) -> FloatArray:
    """Return how far the masses of every row are apart; refuse what no tail explains."""
    masses = [density.sum(axis=tuple(range(1, density.ndim))) * frame.volume for density in (p, q)]
    mismatch = np.abs(masses[0] - masses[1])
    if (mismatch > _MASS_TOLERANCE * np.abs(masses[0])).any():
        raise _checks.error(
            "p, q", "equal masses, within 1e-3", f"masses that differ by {mismatch.max():.3g}", "enlarge the box"
        )
    return np.asarray(mismatch)


def _beyond(density: FloatArray, frame: Frame, unbounded: bool, order: int) -> FloatArray:
    """Return what mass outside of the box may change: it is moved from where it is to somewhere in the box."""
    if not unbounded:
        return np.zeros(len(density))
    axes = [np.arange(float(density.shape[1]))]
    # tails are extrapolated in units of cells, and so is the distance from the middle of the box
    middle = 0.5 * (density.shape[1] - 1)
    moved = (density.shape[1] + np.abs(axes[0] - middle)) ** order
    return edge_tail(density, axes, moved) * frame.spacing[0] ** (order + 1)


def _first(w: FloatArray, frame: Frame) -> tuple[FloatArray, FloatArray]:
    """Return ``int |F - G|`` over the box and its error, from the cumulative of w = p - q (in cells)."""
    spline = _splines.coefficients(w, 4)
    start = np.cumsum(w, axis=1) - w
    # coefficients of 1, u, ..., u^5 of the integral of the spline from each left face
    rising = _splines.windows(spline, 4) @ (_splines.monomials(4) / np.arange(1.0, 6.0)[:, None]).T
    powers = np.concatenate([start[..., None], rising], axis=-1)
    whole = powers @ (1.0 / np.arange(1, 7))
    corners = powers @ _splines.to_bernstein(5).T
    row, cell = np.nonzero((corners.min(axis=-1) < 0.0) & (corners.max(axis=-1) > 0.0))
    pieces = np.abs(whole)
    pieces[row, cell] = _splines.absolute_in_cells(powers[row, cell], lambda index, u: np.ones_like(u))
    rounding = _ROUNDING * np.abs(start).sum(axis=1) + _ROUNDING * np.abs(w).sum(axis=1) * w.shape[1]
    square = frame.spacing[0] ** 2
    return pieces.sum(axis=1) * square, (_error_of_first(w, spline, start, corners) + rounding) * square


def _error_of_first(w: FloatArray, spline: FloatArray, start: FloatArray, corners: FloatArray) -> FloatArray:
    """Return the error of ``int |F - G|`` of every row, in cells; corners bound F - G in every cell.

    With S the spline of F - G, s its sign and ``E(x) = int_{-inf}^x (S - F + G)``, the error is ``int s dE``: what E
    has become at the far end, the error of the trapezoidal rule of the values at the faces, and 2 |E| at every change
    of sign. Errors of cells in between have both signs and cancel in E. Where w is not smooth nothing is known to. The
    sum of the sizes of all of them bounds it too, and is the smaller one where few cells hold everything.
    """
    local, rough = spline_error(w, spline)
    drifts = (np.abs(np.cumsum(_mean_primitive(w, 4) - _mean_primitive(w, degree), axis=1)) for degree in (2, 0))
    drift = PRIMITIVES.error(*(spread(one) for one in drifts))
    # the smallest value that is no round-off of the cumulative
    least = _ROUNDING * np.abs(w).sum(axis=1, keepdims=True)
    low, high = corners.min(axis=-1), corners.max(axis=-1)
    changes = (low < local) & (high > -local) & (np.maximum(high, -low) > least)
    cells = np.where(changes, 2.0 * (drift + local), 0.0) + np.where(rough, local, 0.0)
    # the error of the sum of every row as an integral, from those of every second and every fourth value
    fine = start.sum(axis=1)
    half, quarter = (
        np.max([np.abs(k * start[:, first::k].sum(axis=1) - fine) for first in range(k)], axis=0) for k in (2, 4)
    )
    sums = half * np.minimum(1.0, np.divide(half, quarter, out=np.ones_like(half), where=quarter > 0.0))
    return np.asarray(np.minimum(cells.sum(axis=1) + sums, local.sum(axis=1)))


def _mean_primitive(w: FloatArray, degree: int) -> FloatArray:
    """Return the mean over each cell of the integral of the spline of w from the left face."""
    k = np.arange(1.0, degree + 2.0)
    return np.asarray(
        _splines.windows(_splines.coefficients(w, degree), degree)
        @ ((1.0 / (k * (k + 1.0))) @ _splines.monomials(degree))
    )
