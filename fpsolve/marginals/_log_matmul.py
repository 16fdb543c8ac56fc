"""The matrix product of two matrices given by their logarithms, as a logarithm."""

import numpy as np

from fpsolve._checks import FloatArray

_UNDERFLOW = 1e-280


def log_matmul(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return ``log(exp(a) @ exp(b))``, finite wherever a term is.

    Rows of `a` and columns of `b` are scaled by their largest entry, which leaves one BLAS product; the few entries
    that underflow all the same (no term is large both in its row and in its column) are summed in logarithms by
    compiled code.

    Parameters
    ----------
    a : ndarray of shape (m, k)
        Logarithms, finite or -inf with at least one finite entry per row.
    b : ndarray of shape (k, n)
        Logarithms, likewise per column.

    Returns
    -------
    ndarray of shape (m, n)
    """
    rows, columns = a.max(axis=1, keepdims=True), b.max(axis=0, keepdims=True)
    product: FloatArray = np.exp(a - rows) @ np.exp(b - columns)
    lost = product < _UNDERFLOW
    if not lost.any():
        np.log(product, out=product)
        product += rows
        product += columns
        return product
    product[lost] = 1.0
    product = np.asarray(np.log(product) + rows + columns)
    from fpsolve.marginals._compiled import log_sums

    log_sums(np.ascontiguousarray(a), np.ascontiguousarray(b), lost, product)
    return product
