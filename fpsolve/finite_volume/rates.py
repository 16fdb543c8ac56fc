"""Scharfetter-Gummel jump rates: a drift and a diffusivity on cell faces become a birth-death generator.

The finite-volume flux through the face between the cells i and i + 1 is

    F = (D/h) [ Ber(-z) q_i - Ber(z) q_{i+1} ],    z = b h / D,    Ber(z) = z / (e^z - 1),

with the drift b and the diffusivity D at the face. Divided by the cell width h it reads ``up q_i - down q_{i+1}``:
mass jumps from i to i + 1 at the rate ``up = D/h^2 Ber(-z)`` and back at ``down = D/h^2 Ber(z)``. Both are positive
for every z, so the generator has non-negative off-diagonals and zero column sums by construction.

References
----------
Scharfetter and Gummel 1969, doi:10.1109/T-ED.1969.16566; Chang and Cooper 1970, doi:10.1016/0021-9991(70)90001-X.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fpsolve.finite_volume._kernels import fill_rates

Array = NDArray[np.float64]


def exponents_from_log_gibbs(log_gibbs: Array, axis: int, *, periodic: bool = False) -> Array:
    """Face exponents z as differences of a dimensionless potential, ``z = u_{i+1} - u_i`` with ``u = -Phi/D``.

    Taking differences of the values at the cell centres makes ``exp(u)`` at the centres an exact zero-flux state.

    Parameters
    ----------
    log_gibbs : array, shape (times, nx[, ny])
        ``u(t, x) = -Phi(t, x)/D(t)`` at the cell centres, where the drift is ``b = -grad Phi``.
    axis : int
        Grid axis (0 for x, 1 for y) along which neighbours are compared.
    periodic : bool
        Append the face that joins the last cell to the first.

    Returns
    -------
    array, shape (times, nx - 1[, ny]) or (times, nx[, ny - 1]); one longer along `axis` when periodic.
    """
    z = np.diff(log_gibbs, axis=axis + 1)
    if periodic:
        first = np.take(log_gibbs, [0], axis=axis + 1)
        last = np.take(log_gibbs, [-1], axis=axis + 1)
        z = np.concatenate([z, first - last], axis=axis + 1)
    return z


def exponents_from_drift(drift_faces: Array, diffusivity: Array, spacing: float) -> Array:
    """Face exponents ``z = b h / D`` from drift values at the faces.

    Parameters
    ----------
    drift_faces : array, shape (times, ...)
        Component of the drift b normal to the face, point values at the face midpoints.
    diffusivity : array, shape (times,)
        D = noise^2 / 2 along this axis.
    spacing : float
        Cell width h along this axis.

    Returns
    -------
    array, same shape as `drift_faces`
    """
    shape = (-1,) + (1,) * (drift_faces.ndim - 1)
    return drift_faces * (spacing / diffusivity).reshape(shape)


def jump_rates(exponents: Array, rate: Array) -> tuple[Array, Array]:
    """Rates ``up = rate * Ber(-z)`` and ``down = rate * Ber(z)`` of the birth-death generator.

    Parameters
    ----------
    exponents : array, shape (times, ...)
        Face exponents z = b h / D.
    rate : array, shape (times,)
        ``D / h^2``.

    Returns
    -------
    up, down : arrays of the shape of `exponents`
        ``up/down = e^z`` to round-off: computed from ``|z|``, so neither suffers from cancellation.
    """
    z = np.ascontiguousarray(exponents)
    up, down = np.empty_like(z), np.empty_like(z)
    flat = (z.shape[0], -1)
    fill_rates(z.reshape(flat), np.ascontiguousarray(rate, dtype=float), up.reshape(flat), down.reshape(flat))
    return up, down
