r"""How much of a signed difference the exact kernels can leave at most: coefficients for a-priori bounds.

.. math:: \|w P_k \cdots P_{n-1}\|_V \le c_k \|w\|_V, \qquad c_k = g_{k,j} \delta_j

for every difference w of two probabilities: delta_j the weighted Dobrushin coefficient from a block boundary ``t_j``
to the end, ``g_{k,j} = sup_x (P_k \cdots P_{j-1} V)(x)/V(x)`` the growth of V from ``t_k`` to it; j is the boundary
that gives the smallest product, the end (delta = 1) among them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fpsolve.kernels import Kernel

if TYPE_CHECKING:
    from fpsolve.kernels import Operator

Array = NDArray[np.float64]


def coefficient(matrix: Array, v: Array) -> float:
    r"""``max_{i \ne k} sum_j V_j |P_ij - P_kj| / (V_i + V_k)``, v of shape (cells,).

    Examples
    --------
    >>> round(coefficient(np.array([[0.9, 0.1], [0.2, 0.8]]), np.ones(2)), 12)
    0.7
    """
    from scipy.spatial.distance import pdist

    first, second = np.triu_indices(len(v), 1)
    return float(np.max(pdist(matrix * v, "cityblock") / (v[first] + v[second])))


def contractions(chain: list[Kernel | Operator], v: Array, boundaries: list[int]) -> Array:
    """Return ``c_k``, k = 0, ..., n, of a chain of n kernels; ``c_n = 1``.

    Parameters
    ----------
    chain : list
        The exact kernels.
    v : array, shape (*grid.shape)
        The weight.
    boundaries : list of int
        Steps at which Dobrushin coefficients are computed, 0 to n - 1; matrices are needed for that.
    """
    n, rest = len(chain), None
    found = np.ones(n + 1)
    # images of V, one per boundary still ahead, and the coefficient from that boundary on
    images, ahead = [v], [1.0]
    for k in range(n - 1, -1, -1):
        images = list(pulled(chain[k], np.stack(images)))
        found[k] = min(float(np.max(image / v)) * delta for image, delta in zip(images, ahead, strict=True))
        kernel = chain[k]
        if not boundaries or not isinstance(kernel, Kernel):
            continue
        rest = kernel.matrix if rest is None else kernel.matrix @ rest
        if k in boundaries:
            delta = coefficient(rest, v.ravel())
            images.append(v)
            ahead.append(delta)
            found[k] = min(found[k], delta)
    return found


def pulled(kernel: Kernel | Operator, f: Array) -> Array:
    """``|P| f``: splines have small negative entries."""
    if isinstance(kernel, Kernel) and kernel.negative > 0.0:
        flat = f.reshape(len(f), -1) @ np.abs(kernel.matrix).T
        return flat.reshape(f.shape)
    return kernel.pull(f)
