"""Jump rates through the faces of cells from arrays on faces, and the generator they make.

Compiled Bernoulli function. Imported only when a solver runs, so that ``import fpsolve`` does not load numba.

Scharfetter-Gummel jump rates: a drift and a diffusivity on cell faces become a birth-death generator.

The finite-volume flux through the face between the cells i and i + 1 is

    F = (D/h) [ Ber(-z) q_i - Ber(z) q_{i+1} ],    z = b h / D,    Ber(z) = z / (e^z - 1),

with the drift b and the diffusivity D at the face. Divided by the cell width h it reads ``up q_i - down q_{i+1}``:
mass jumps from i to i + 1 at the rate ``up = D/h^2 Ber(-z)`` and back at ``down = D/h^2 Ber(z)``. Both are positive
for every z, so the generator has non-negative off-diagonals and zero column sums by construction.

References
----------
Scharfetter and Gummel 1969, doi:10.1109/T-ED.1969.16566; Chang and Cooper 1970, doi:10.1016/0021-9991(70)90001-X.

The generator as a scipy sparse matrix: reference for the compiled sweeps, and what steady states are solved with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fpsolve._compile import compiled

if TYPE_CHECKING:
    from scipy.sparse import csc_matrix


Array = NDArray[np.float64]

#: Below this |z| the Taylor series is exact to round-off and cheaper than an exponential.
SERIES_LIMIT = 0.5


@compiled(inline="always")
def bernoulli_of_positive(a: Any) -> Any:
    """``a / (e^a - 1)`` for a >= 0; 0 where e^a overflows."""
    if a < SERIES_LIMIT:
        s = a * a
        tail = s * (
            -1.0 / 720 + s * (1.0 / 30240 + s * (-1.0 / 1209600 + s * (1.0 / 47900160 - s * 5.284190138687493e-10)))
        )
        return 1.0 - 0.5 * a + s * (1.0 / 12 + tail)
    return a / (np.exp(a) - 1.0)


@compiled
def fill_rates(z: Array, rate: Array, up: Array, down: Array) -> None:
    """up = rate Ber(-z), down = rate Ber(z), both from |z| so that the small one keeps its relative accuracy."""
    for k in range(z.shape[0]):
        for i in range(z.shape[1]):
            a = abs(z[k, i])
            small = bernoulli_of_positive(a)
            big = small + a
            if z[k, i] > 0.0:
                up[k, i] = rate[k] * big
                down[k, i] = rate[k] * small
            else:
                up[k, i] = rate[k] * small
                down[k, i] = rate[k] * big


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


def generator_matrix(rates: list[tuple[Array, Array]], shape: tuple[int, ...]) -> csc_matrix:
    """Matrix A of ``dq/dr = A q`` for one instant, q the cell averages in C order.

    Parameters
    ----------
    rates : list of (up, down), one pair per axis
        Jump rates of `fpsolve.solver._fluxes.jump_rates` without the time axis. Along its axis a pair has one
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
