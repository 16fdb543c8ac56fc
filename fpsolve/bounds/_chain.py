"""Harris' contractions chained along a run, with one beta for all blocks of a chain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fpsolve.bounds._harris_closed import Closed
from fpsolve.bounds._sharp import Sharp

Array = NDArray[np.float64]

#: Factors beta on V that are tried; 1 is the weight as given.
BETAS = np.append(1.0, np.geomspace(1e-4, 10.0, 31))
#: Every so many trial gammas and levels are used while beta is searched.
_COARSE = 4


@dataclass(frozen=True, eq=False)
class Chain:
    """The kernels between neighbouring boundaries, and from the first boundary to each, analysed.

    Attributes
    ----------
    blocks, whole : sequences of Sharp or Closed, one for each boundary but the first
    """

    blocks: Sequence[Sharp | Closed]
    whole: Sequence[Sharp | Closed]

    def factors(self) -> tuple[Array, Array]:
        """Factors on the initial distance at the boundaries in the weight 1 + V, and the beta behind each.

        A contraction in the weight ``1 + beta V`` costs ``max(beta, 1/beta)`` in that of ``1 + V``. At each boundary
        the best beta is taken, and the better of one block from the start and of a chain that ends with the last block.
        NaN where there is no certificate.
        """
        costs = np.maximum(BETAS, 1.0 / BETAS)
        rough = np.stack([c * self._products(float(b), _COARSE) for b, c in zip(BETAS, costs, strict=True)])
        chosen = BETAS[np.argmin(rough, axis=0)]
        exact = {b: max(b, 1.0 / b) * self._products(b, 1) for b in {float(b) for b in chosen} | {1.0}}
        values = np.array([min(exact[float(b)][n], exact[1.0][n]) for n, b in enumerate(chosen)])
        betas = np.where(values == exact[1.0], 1.0, chosen)
        found = np.isfinite(values)
        return np.where(found, values, np.nan), np.where(found, betas, np.nan)

    def _products(self, beta: float, step: int) -> Array:
        """Contractions from the start to every boundary for one beta, infinite without certificate; 1 at the start."""
        products = [1.0]
        for block, whole in zip(self.blocks, self.whole, strict=True):
            products.append(min(whole.best(beta, step), products[-1] * block.best(beta, step)))
        return np.array(products)

