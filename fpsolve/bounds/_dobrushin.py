"""The weighted Dobrushin coefficient of a kernel: its contraction, with nothing left to improve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fpsolve import weights
from fpsolve.bounds._record import Hypothesis, Record
from fpsolve.kernels import Kernel
from fpsolve.weights import WeightLike

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Dobrushin(Record):
    """The sharp coefficient of a kernel; see `dobrushin`.

    Attributes
    ----------
    value : float
        delta(P), on the grid; it may exceed 1: the weighted norm of a difference can grow.
    x, y : float or array of shape (2,)
        Cell centres of the pair of sources at which it is attained.
    t0, t1 : float
        Times of the kernel.
    """

    value: float
    x: float | Array
    y: float | Array
    t0: float
    t1: float


def dobrushin(kernel: Kernel, *, weight: WeightLike = None, start_weight: WeightLike = None) -> Dobrushin:
    r"""Return the weighted Dobrushin coefficient of a kernel.

    .. math:: \delta(P) = \max_{x \ne y} \frac{\|P(x, \cdot) - P(y, \cdot)\|_{w_1}}{w_0(x) + w_0(y)},
              \qquad \|\mu P - \nu P\|_{w_1} \le \delta(P)\, \|\mu - \nu\|_{w_0},

    and no smaller constant works: it is the norm of P on differences of probabilities. Coefficients of consecutive
    blocks multiply. On a grid the supremum is over pairs of cells: a contraction for laws that the box holds, and a
    lower bound of the coefficient on the whole space. All pairs of rows are compared, in some milliseconds for 600
    cells.

    Parameters
    ----------
    kernel : Kernel
        Use ``source="point"`` for transitions from points.
    weight : Weight or callable, optional
        w1, default ``1 + |x|^2``; `UnitWeight` gives the classical coefficient.
    start_weight : Weight or callable, optional
        w0, default the same as `weight`.

    Returns
    -------
    Dobrushin

    Raises
    ------
    ValueError
        A weight below 1.

    References
    ----------
    Dobrushin 1956, doi:10.1137/1101006; Hairer and Mattingly 2011, doi:10.1007/978-3-0348-0021-1_7.

    Examples
    --------
    >>> from fpsolve import Grid
    >>> two = Kernel(np.array([[0.9, 0.1], [0.2, 0.8]]), Grid.uniform((-1, 1), cells=2), 1.0, 0.5)
    >>> from fpsolve.weights import UnitWeight
    >>> round(dobrushin(two, weight=UnitWeight()).value, 12)
    0.7
    """
    from fpsolve.bounds import _pairs

    end = weights.evaluate(weight, kernel.target).ravel()
    start = weights.evaluate(weight if start_weight is None else start_weight, kernel.grid).ravel()
    value, pair = _pairs.largest_ratio(kernel.matrix, start, end)
    centres = kernel.grid.x.reshape(len(start), -1)
    first, second = (float(centres[i, 0]) if kernel.grid.dim == 1 else centres[i] for i in pair)
    return Dobrushin(
        value=float(value),
        statement="delta(P) = sup ||P(x,.) - P(y,.)||_w1 / (w0(x) + w0(y)) (Dobrushin 1956), maximum over cells",
        checked=(_inside(kernel, pair), _stochastic(kernel)),
        unchecked=("pairs of points beyond the box and between cell centres",),
        x=first,
        y=second,
        t0=kernel.t0,
        t1=kernel.t1,
    )


def _inside(kernel: Kernel, pair: tuple[int, int]) -> Hypothesis:
    """How many cells the pair stays away from the ends of the box."""
    places = np.stack(np.unravel_index(np.array(pair), kernel.grid.shape), axis=-1)
    margin = int(np.min(np.minimum(places, np.array(kernel.grid.shape) - 1 - places)))
    return Hypothesis("the maximising pair is inside of the box", margin - 1.0, "cells from its ends, less one")


def _stochastic(kernel: Kernel) -> Hypothesis:
    return Hypothesis("the kernel is non-negative", 1e-9 - kernel.negative, "1e-9 less the negative part of a row")
