"""Integrals of an absolute value from Gauss nodes: each panel is split at the roots of its interpolant."""

import numpy as np

from fpsolve._checks import FloatArray
from fpsolve.closed_form._panels import NODES, ORDER, WEIGHTS

_SAMPLES = np.linspace(-1.0, 1.0, 65)
_VANDER = np.polynomial.legendre.legvander
# rows: nodes, columns: Legendre coefficients of the interpolant
_TO_COEFFICIENTS = (_VANDER(NODES, ORDER - 1) * WEIGHTS[:, None]) * (np.arange(ORDER) + 0.5)
_TO_SAMPLES = _TO_COEFFICIENTS @ _VANDER(_SAMPLES, ORDER - 1).T


def absolute_integrals(values: FloatArray) -> FloatArray:
    """Return ``int_{-1}^{1} |g|`` for interpolants g of values at the 16 Gauss nodes.

    Parameters
    ----------
    values : ndarray of shape (p, 16)

    Returns
    -------
    ndarray of shape (p,)
    """
    out = np.abs(values @ WEIGHTS)
    samples = values @ _TO_SAMPLES
    # the samples reach the ends of the panel, the nodes do not: a root may lie between
    changing = np.flatnonzero((samples.min(axis=1) < 0.0) & (samples.max(axis=1) > 0.0))
    if not changing.size:
        return out
    coefficients = values[changing] @ _TO_COEFFICIENTS
    signs = np.where(samples[changing] < 0.0, -1.0, 1.0)
    rows, places = np.nonzero(signs[:, :-1] != signs[:, 1:])
    roots = _roots(coefficients[rows], _SAMPLES[places], _SAMPLES[places + 1], signs[rows, places])
    primitive = np.polynomial.legendre.legint(coefficients, lbnd=-1, axis=1)
    at_roots = (_VANDER(roots, ORDER) * primitive[rows]).sum(axis=1)
    # int |g| telescopes: twice the primitive at every root, with the sign of g to its left
    total = signs[:, -1] * primitive.sum(axis=1)
    np.add.at(total, rows, 2.0 * signs[rows, places] * at_roots)
    out[changing] = total
    return out


def _roots(coefficients: FloatArray, low: FloatArray, high: FloatArray, sign: FloatArray) -> FloatArray:
    """Return one root per row of Legendre coefficients, by bisection; `sign` is that of g at `low`."""
    for _ in range(45):
        middle = 0.5 * (low + high)
        g = (_VANDER(middle, ORDER - 1) * coefficients).sum(axis=1)
        left = g * sign > 0.0
        low, high = np.where(left, middle, low), np.where(left, high, middle)
    return np.asarray(0.5 * (low + high))
