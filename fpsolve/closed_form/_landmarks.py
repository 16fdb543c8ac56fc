"""Where to look for the mass of a law: edges near its peaks, and at its kinks and jumps."""

from typing import Any

import numpy as np

from fpsolve._checks import FloatArray
from fpsolve.closed_form._mixture import as_mixture
from fpsolve.laws import Laplace, Law, StudentT, Uniform

_OFFSETS = np.array([-12.0, -4.0, -1.5, 0.0, 1.5, 4.0, 12.0])  # in standard deviations


def landmarks(law: Law, axis: int) -> FloatArray:
    """Return edges for the panels of integrals against `law` along `axis`, increasing.

    Every peak has a few of them within its width, every kink and jump is one of them.
    """
    mixture = as_mixture(law)
    if mixture is not None:
        return around(mixture.means[:, axis], np.sqrt(mixture.covs[:, axis, axis]))
    if isinstance(law, Uniform):
        ends = np.array([np.atleast_1d(law.low)[axis], np.atleast_1d(law.high)[axis]])
        return np.concatenate([ends, [0.5 * ends.sum(), 2.0 * ends[0] - ends[1], 2.0 * ends[1] - ends[0]]])
    if isinstance(law, Laplace | StudentT):
        scales = np.broadcast_to(law.scale, (law.dim,))
        return around(np.atleast_1d(law.mean)[[axis]], scales[[axis]])
    panels = getattr(law, "panels", None)
    if panels is not None:
        return np.union1d(panels[axis].low, panels[axis].high)
    return _from_moments(law, axis)


def around(centres: FloatArray, widths: FloatArray) -> FloatArray:
    """Return edges at, and some widths off, every centre; near duplicates are thinned out."""
    widths = np.broadcast_to(widths, centres.shape)
    edges = np.unique(centres[:, None] + widths[:, None] * _OFFSETS)
    kept = np.round(edges / (0.5 * widths.min()))
    return edges[np.unique(kept, return_index=True)[1]]


def _from_moments(law: Any, axis: int) -> FloatArray:
    """Return edges for a law of which only the moments are known; they may be infinite or missing."""
    centre = float(np.atleast_1d(law.mean)[axis])
    variance = float(np.atleast_2d(law.cov)[axis, axis])
    widths = [np.sqrt(variance)] if np.isfinite(variance) and variance > 0.0 else [1.0]
    if law.smallest_std > 0.0:
        widths.append(law.smallest_std)
    return np.concatenate([around(np.array([centre]), np.array([width])) for width in widths])
