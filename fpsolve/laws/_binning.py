"""Linear binning of samples: many kernels become few, with mass and mean kept exactly and the variance on average."""

import numpy as np

from fpsolve._checks import FloatArray


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
    base = np.floor(position).astype(np.int64)
    share = position - base
    low = base.min(axis=0)
    extent = base.max(axis=0) - low + 2
    mass = np.zeros(tuple(extent))
    for corner in np.ndindex(*(2,) * samples.shape[1]):
        part = np.prod(np.where(corner, share, 1.0 - share), axis=1)
        np.add.at(mass, tuple((base + corner - low).T), part / len(samples))
    occupied = np.argwhere(mass > 0.0)
    return mass[tuple(occupied.T)], (occupied + low) * widths
