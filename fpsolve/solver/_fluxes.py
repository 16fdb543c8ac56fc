"""Jump rates through the faces of cells from a drift and a diffusivity there (Scharfetter-Gummel), compiled, and the
birth-death generator they make, as a scipy sparse matrix for steady states and as reference for the sweeps.

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

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fpsolve._compile import compiled, exp
from fpsolve._memory import over

if TYPE_CHECKING:
    from scipy.sparse import csc_matrix


Array = NDArray[np.float64]

#: Below this |z| the Taylor series is exact to round-off, above the quotient is.
SERIES_LIMIT = 0.5


@compiled(inline="always")
def _series(a: Any) -> Any:
    """Taylor polynomial of ``a / (e^a - 1)``, exact to round-off for a < `SERIES_LIMIT`."""
    s = a * a
    tail = s * (
        -1.0 / 720 + s * (1.0 / 30240 + s * (-1.0 / 1209600 + s * (1.0 / 47900160 - s * 5.284190138687493e-10)))
    )
    return 1.0 - 0.5 * a + s * (1.0 / 12 + tail)


@compiled(inline="always")
def bernoulli_series(z: Any) -> Any:
    """`bernoulli_pair` where |z| is below `SERIES_LIMIT`, the same bits."""
    a = abs(z)
    small = _series(a)
    big = small + a
    return (big, small) if z > 0.0 else (small, big)


@compiled(inline="always")
def bernoulli_pair(z: Any) -> Any:
    """``Ber(-z), Ber(z)`` with ``Ber(z) = z / (e^z - 1)``, both from |z|: the small one keeps its relative accuracy.

    Both branches are computed and one is taken, so that loops run in the vector units. 0 where e^|z| overflows.
    """
    a = abs(z)
    series = _series(a)
    beyond = a if a > SERIES_LIMIT else SERIES_LIMIT  # where it is not taken it is no 0/0
    quotient = a / (exp(beyond if beyond < OVERFLOW else OVERFLOW) - 1.0) if a < OVERFLOW else 0.0 * a
    small = series if a < SERIES_LIMIT else quotient
    big = small + a
    return (big, small) if z > 0.0 else (small, big)


#: Largest exponent of a number of double precision, about.
OVERFLOW = 709.0


@compiled
def fill_rates(z: Array, rate: Array, up: Array, down: Array, first: int, last: int) -> None:
    """up = rate Ber(-z), down = rate Ber(z) for the rows first to last - 1; rate has one number per row."""
    for k in range(first, last):
        for i in range(z.shape[1]):
            forth, back = bernoulli_pair(z[k, i])
            up[k, i] = rate[k] * forth
            down[k, i] = rate[k] * back


@compiled
def fill_rates_from_log_gibbs(u: Array, axis: int, rate: Array, up: Array, down: Array, first: int, last: int) -> None:
    """The same with ``z = u_{i+1} - u_i`` along an axis of planes u (times, nx, ny); rows of all times are one list.

    One face more than between the cells joins the last to the first.
    """
    rows, faces = up.shape[1], up.shape[2]
    nx, ny = u.shape[1], u.shape[2]
    for r in range(first, last):
        t = r // rows
        i = r - t * rows
        here, there = u[t, i], u[t, (i + 1) % nx if axis == 0 else i]
        forths, backs = up[t, i], down[t, i]
        inner = min(faces, ny - axis)
        for j in range(faces):
            z = there[j + axis] - here[j] if j < inner else here[0] - here[ny - 1]
            forth, back = bernoulli_pair(z)
            forths[j] = rate[t] * forth
            backs[j] = rate[t] * back


def rates_from_log_gibbs(log_gibbs: Array, axis: int, rate: Array, *, periodic: bool = False) -> tuple[Array, Array]:
    """Rates with exponents that are differences of a dimensionless potential, ``z = u_{i+1} - u_i``, ``u = -Phi/D``.

    Taking differences of the values at the cell centres makes ``exp(u)`` at the centres an exact zero-flux state.

    Parameters
    ----------
    log_gibbs : array, shape (times, nx[, ny])
        ``u(t, x) = -Phi(t, x)/D(t)`` at the cell centres, where the drift is ``b = -grad Phi``.
    axis : int
        Grid axis (0 for x, 1 for y) along which neighbours are compared.
    rate : array, shape (times,)
        ``D / h^2``.
    periodic : bool
        Append the face that joins the last cell to the first.

    Returns
    -------
    up, down : arrays, shape (times, nx - 1[, ny]) or (times, nx[, ny - 1]); one longer along `axis` when periodic
        As those of `jump_rates`, also where z is not finite.
    """
    u = np.ascontiguousarray(log_gibbs)
    shape = [*u.shape]
    shape[axis + 1] -= not periodic
    up, down = np.empty(shape), np.empty(shape)
    planes = [array.reshape(len(u), -1, array.shape[-1]) for array in (u, up, down)]
    rows = planes[1].shape[0] * planes[1].shape[1]
    rate = np.ascontiguousarray(rate, dtype=float)
    along = axis + 3 - u.ndim  # a line lies along the last axis of its plane
    over(rows, up.size, partial(fill_rates_from_log_gibbs, planes[0], along, rate, planes[1], planes[2]))
    return up, down


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
        ``up/down = e^z`` to round-off: computed from ``|z|``, so neither suffers from cancellation, and
        ``up - down = rate z``.
    """
    z = np.ascontiguousarray(exponents)
    up, down = np.empty_like(z), np.empty_like(z)
    flat, ups, downs = (array.reshape(-1, z.shape[-1]) for array in (z, up, down))
    rates = np.repeat(np.asarray(rate, dtype=float), len(flat) // len(z))
    over(len(flat), z.size, partial(fill_rates, flat, rates, ups, downs))
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
