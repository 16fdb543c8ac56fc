"""The convex hull of data, and how far outside of it points are."""

from __future__ import annotations

from typing import Any

import numpy as np

from fpsolve import _checks
from fpsolve._checks import FloatArray

__all__ = ["outside_hull"]


def outside_hull(points: Any, data: Any) -> FloatArray:
    r"""Return how far points are outside of the convex hull of data, negative inside.

    Stationary points of the best product-form score lie in the convex hull of the component means of a normal mixture
    whose covariances are multiples of the identity: ``grad Psi = 0`` reads ``x = sum_k a_k m_k`` with weights a_k > 0
    that sum to 1.

    Parameters
    ----------
    points : array_like
        Shape ``(n,)`` in 1D, ``(n, 2)`` in 2D.
    data : array_like
        Shape ``(m,)`` or ``(m, 2)``.

    Returns
    -------
    array of shape (n,)
        Distance to the hull outside of it (in 2D the largest distance to a line through one of its edges, which is no
        larger); inside minus the distance to its boundary.

    Raises
    ------
    ValueError
        Another dimension, in 2D data on one line.

    Examples
    --------
    >>> outside_hull([0.0, 1.5], [-1.0, 1.0])
    array([-1. ,  0.5])
    """
    at, cloud = _checks.finite_array("points", points), _checks.finite_array("data", data)
    if at.ndim not in (1, 2) or at.shape[1:] not in ((), (2,)) or at.shape[1:] != cloud.shape[1:] or not cloud.ndim:
        raise _checks.error("points", "shapes (n,) and (m,), or (n, 2) and (m, 2)", f"{at.shape} and {cloud.shape}")
    if at.ndim == 1:
        return np.asarray(np.maximum(cloud.min() - at, at - cloud.max()))
    from scipy.spatial import ConvexHull, QhullError

    try:
        edges = ConvexHull(cloud).equations
    except QhullError:
        raise _checks.error("data", "points that do not lie on one line", f"{len(cloud)} points that do") from None
    return np.asarray((at @ edges[:, :2].T + edges[:, 2]).max(axis=1))
