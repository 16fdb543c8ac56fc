"""The score at every particle: exact in blocks, or cubic splines on a grid whose error is measured on the particles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fpsolve import _checks
from fpsolve._compile import compiled

Array = npt.NDArray[np.float64]

# Below this many particle-component pairs per step a table costs more than it saves.
_WORTH_A_TABLE = 4_000_000
# What a law that is no mixture is taken to cost, in components: its marginals are quadratures.
_QUADRATURE = 64
# Terms an exact evaluation may hold at once: 32 MB in float64.
_TERMS = 2**22
_PROBES = 64
# Below this alpha no table is used.
_FAINT = 1.3e-3
# In automatic mode a table is used only when it is this accurate relative to the root mean square score.
_ACCEPT = 1e-3
# The spline filter assumes a mirror at the ends; that error falls by 0.268 per node: 1e-9 after 16.
_PAD = 16
_LARGEST = {1: 4096, 2: 320}  # nodes per axis
# Nodes per standard deviation of the narrowest component.
_FINENESS = {1: 40.0, 2: 12.0}
# Centred first derivative of eighth order (Fornberg 1988, doi:10.1090/S0025-5718-1988-0935077-0, table 1).
_STENCIL = np.array([4 / 5, -1 / 5, 4 / 105, -1 / 280])


@dataclass(frozen=True)
class Scoring:
    """How scores are evaluated: ``tabulate`` True, False or None (a table where it pays and is accurate)."""

    reverse: Any
    components: int
    tabulate: bool | None

    def __call__(self, t: float, x: Array) -> tuple[Array, float]:
        """Score at x (n,) or (n, 2), and the largest table error seen at probes (NaN where none was used)."""
        # noise may come first and lead beyond T, where nothing is tabulated; predicted data divide errors by alpha
        process = self.reverse.process
        if self.tabulate is False or t > process.T or float(process.scale(0.0, t)) < _FAINT:
            return exact(self.reverse, t, x, self.components), np.nan
        table = tabulated(self.reverse, t, x)
        error, size = _probe(self.reverse, table, x, self.components)
        if self.tabulate is None and not error <= _ACCEPT * size:
            return exact(self.reverse, t, x, self.components), np.nan
        score = table(x)
        outside = np.isnan(score) if x.ndim == 1 else np.isnan(score[:, 0])
        if np.any(outside):
            score[outside] = exact(self.reverse, t, x[outside], self.components)
        return score, error


def choose(reverse: Any, n: int, tabulate: bool | None) -> Scoring:
    """Settle how the scores of chunks of n particles are evaluated.

    Only the exact score is tabulated unasked: a user's model may be rough.
    """
    # components of a mixture (a kernel density has one per sample); other laws count as 64
    weights = getattr(reverse.target, "log_weights", None)
    if weights is None:
        weights = getattr(getattr(reverse.target, "components", None), "log_weights", None)
    few = 1 if type(reverse.target).__name__ == "Gaussian" else _QUADRATURE
    components = few if weights is None else int(np.size(weights))
    if tabulate is None:
        worth = getattr(reverse, "exact", False) and components > 1 and n * components >= _WORTH_A_TABLE
        tabulate = None if worth else False
    return Scoring(reverse, components, tabulate)


def exact(reverse: Any, t: float, x: Array, components: int) -> Array:
    """``reverse.score(t, x)`` in blocks of bounded memory, refusing wrong shapes and non-finite values."""
    block = max(1024, _TERMS // max(components, 1))
    parts = [
        _checks.values_at("score", reverse.score(t, x[i : i + block]), x[i : i + block].shape, f"at t = {t:g}")
        for i in range(0, len(x), block)
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _probe(reverse: Any, table: ScoreTable, x: Array, components: int) -> tuple[float, float]:
    """Largest error of the table at evenly picked particles inside of it, and the rms score there."""
    picked = x[:: max(1, len(x) // _PROBES)]
    interpolated = table(picked)
    kept = np.isfinite(interpolated) if x.ndim == 1 else np.isfinite(interpolated[:, 0])
    if not np.any(kept):
        return float("inf"), 0.0
    truth = exact(reverse, table.t, picked[kept], components)
    return float(np.max(np.abs(interpolated[kept] - truth))), float(np.sqrt(np.mean(truth**2)))


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """Spline coefficients of the score at one time: (m,) in 1D, (mx, my, 2) in 2D, with the grid they sit on.

    The interpolation error is ``O(spacing^4)``; nothing is assumed about it, it is measured on the particles.
    """

    t: float
    low: tuple[float, ...]
    spacing: tuple[float, ...]
    coefficients: Array

    def __call__(self, x: Array) -> Array:
        """Interpolated score at x (n,) or (n, 2); NaN marks points outside of the table."""
        out = np.empty_like(x)
        if x.ndim == 1:
            spline_line(self.coefficients, self.low[0], self.spacing[0], x, out)
        else:
            spline_plane(self.coefficients, np.array(self.low), np.array(self.spacing), x, out)
        return out


def tabulated(reverse: Any, t: float, x: Array) -> ScoreTable:
    """Tabulate the score at time t over the bulk of the particles x, (n,) or (n, 2).

    The table covers the central 99.6 % of (a sample of) the particles and a quarter more on either side;
    the caller evaluates the score exactly outside. A scalar table of ``log p_t`` differentiated to eighth
    order is used for the exact score in 2D: on a tensor grid a kernel density is a matrix product there.
    """
    from scipy.ndimage import spline_filter

    # lower ends, spacings and numbers of nodes per axis, padding included
    sample = x[:: max(1, len(x) // 4096)].reshape(-1, reverse.dim)
    ends = np.quantile(sample, [0.002, 0.998], axis=0)
    margin = 0.25 * (ends[1] - ends[0])
    process, smallest = reverse.process, reverse.target.smallest_std
    narrow = np.sqrt(float(process.scale(0.0, t)) ** 2 * smallest**2 + float(process.variance(0.0, t)))
    width = np.maximum(ends[1] - ends[0] + 2 * margin, narrow)
    wanted = np.ceil(_FINENESS[reverse.dim] * width / narrow)
    inner = np.minimum(np.maximum(wanted, 64), _LARGEST[reverse.dim]).astype(int)
    spacing = width / inner
    low = ends[0] - margin - _PAD * spacing
    low, spacing, nodes = tuple(low.tolist()), tuple(spacing.tolist()), tuple((inner + 1 + 2 * _PAD).tolist())
    axes = [np.asarray(lo + h * np.arange(m), dtype=np.float64) for lo, h, m in zip(low, spacing, nodes, strict=True)]
    if len(axes) == 1:
        coefficients = spline_filter(np.asarray(reverse.score(t, axes[0])), order=3, mode="mirror")
        return ScoreTable(t, low, spacing, np.ascontiguousarray(coefficients))
    values = _score_on_axes(reverse, t, axes, spacing)
    filtered = [spline_filter(values[..., i], order=3, mode="mirror") for i in range(2)]
    return ScoreTable(t, low, spacing, np.stack(filtered, axis=-1))


def _score_on_axes(reverse: Any, t: float, axes: list[Array], spacing: tuple[float, ...]) -> Array:
    """Score at the nodes of a 2D tensor grid, (mx, my, 2)."""
    if not getattr(reverse, "exact", False):
        return np.asarray(reverse.score(t, np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)), dtype=np.float64)
    reach = len(_STENCIL)
    more = [
        np.concatenate([a[0] + h * np.arange(-reach, 0), a, a[-1] + h * np.arange(1, reach + 1)])
        for a, h in zip(axes, spacing, strict=True)
    ]
    log_p = np.asarray(reverse.marginals.log_density_on_axes(np.array([t]), *more))[0]
    along_x = _derivative(log_p[:, reach:-reach], spacing[0])
    along_y = _derivative(log_p[reach:-reach, :].T, spacing[1]).T
    return np.stack([along_x, along_y], axis=-1)


def _derivative(values: Array, h: float) -> Array:
    """Eighth-order derivative along the first axis, at all but the four outer nodes of either end."""
    reach, n = len(_STENCIL), len(values) - 2 * len(_STENCIL)
    result = np.zeros((n, *values.shape[1:]))
    for k, c in enumerate(_STENCIL, start=1):
        result += c * (values[reach + k : reach + k + n] - values[reach - k : reach - k + n])
    return np.asarray(result / h, dtype=np.float64)


@compiled(error_model="python")
def _weights(u: float) -> tuple[float, float, float, float]:  # pragma: no cover - compiled
    """The four cubic B-splines at the fraction u of a cell."""
    v = 1.0 - u
    return (
        v * v * v / 6.0,
        (4.0 - 6.0 * u * u + 3.0 * u * u * u) / 6.0,
        (4.0 - 6.0 * v * v + 3.0 * v * v * v) / 6.0,
        u * u * u / 6.0,
    )


@compiled(error_model="python")
def spline_line(table: Array, low: float, spacing: float, x: Array, out: Array) -> None:  # pragma: no cover - compiled
    """Spline with coefficients ``table`` (m,) at x (n,); points outside of the nodes 1 .. m-3 give NaN."""
    m = table.size
    for p in range(x.size):
        place = (x[p] - low) / spacing
        if not 1.0 <= place < m - 2:
            out[p] = np.nan
            continue
        i = int(place)
        a, b, c, d = _weights(place - i)
        out[p] = a * table[i - 1] + b * table[i] + c * table[i + 1] + d * table[i + 2]


@compiled(error_model="python")
def spline_plane(table: Array, low: Array, spacing: Array, x: Array, out: Array) -> None:  # pragma: no cover - compiled
    """Two splines with coefficients ``table`` (m, k, 2) at x (n, 2); points outside give NaN."""
    m, k = table.shape[0], table.shape[1]
    for p in range(x.shape[0]):
        u, v = (x[p, 0] - low[0]) / spacing[0], (x[p, 1] - low[1]) / spacing[1]
        if not (1.0 <= u < m - 2 and 1.0 <= v < k - 2):
            out[p, 0], out[p, 1] = np.nan, np.nan
            continue
        i, j = int(u), int(v)
        across, along = _weights(u - i), _weights(v - j)
        first, second = 0.0, 0.0
        for r in range(4):
            for s in range(4):
                w = across[r] * along[s]
                first += w * table[i - 1 + r, j - 1 + s, 0]
                second += w * table[i - 1 + r, j - 1 + s, 1]
        out[p, 0], out[p, 1] = first, second
