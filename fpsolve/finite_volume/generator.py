"""The generator as a scipy sparse matrix: reference for the compiled sweeps, and what steady states are solved with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csc_matrix

Array = NDArray[np.float64]


def generator_matrix(rates: list[tuple[Array, Array]], shape: tuple[int, ...]) -> csc_matrix:
    """Matrix A of ``dq/dr = A q`` for one instant, q the cell averages in C order.

    Parameters
    ----------
    rates : list of (up, down), one pair per axis
        Jump rates of `fpsolve.finite_volume.rates.jump_rates` without the time axis. Along its axis a pair has one
        entry less than `shape` (no-flux ends) or as many (periodic ends).
    shape : tuple of int
        Cells per axis.

    Returns
    -------
    scipy.sparse.csc_matrix, shape (cells, cells)
        Column sums are zero, off-diagonals non-negative.
    """
    from scipy.sparse import coo_matrix

    index = np.arange(int(np.prod(shape))).reshape(shape)
    rows, columns, values = [], [], []
    for axis, (up, down) in enumerate(rates):
        faces = up.shape[axis]
        here = np.take(index, range(faces), axis=axis).ravel()
        there = np.take(np.roll(index, -1, axis=axis), range(faces), axis=axis).ravel()
        for source, target, rate in ((here, there, up.ravel()), (there, here, down.ravel())):
            rows += [target, source]
            columns += [source, source]
            values += [rate, -rate]
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return coo_matrix(entries, shape=(index.size, index.size)).tocsc()
