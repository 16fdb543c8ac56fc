"""Integrals over the box of a grid, and whether the box is large enough for them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fpsolve.bounds._record import Hypothesis
from fpsolve.grid import Grid
from fpsolve.laws import Law

Array = NDArray[np.float64]

#: Share of an integral that the cells at the ends of the box may hold.
END_SHARE = 1e-6
#: Beyond this exponent an integrand is far beyond anything that a bound could use.
_HUGE = 300.0


#: Mass of a law that the quadrature in the cells may get wrong.
_UNRESOLVED = 1e-4
#: Mass of a law that the box may miss.
LOST = 1e-6
#: How far beyond the box an integrand is looked for, in boxes on either side.
_AROUND = 2


def held(grid: Grid, **laws: Law) -> tuple[Hypothesis, ...]:
    """Return the hypotheses that the box holds laws, up to a mass of 1e-6 each, and in 2D that its cells resolve them.

    Without it an integral over the box says nothing: a law that lies elsewhere leaves no trace at its ends, and one
    between the nodes of the quadrature none at all. In 1D integrals are those of the line, which follow the law.
    """
    found = []
    for name, law in laws.items():
        mass = float(grid.cell_average(law).sum() * grid.volume)
        found.append(Hypothesis(f"the box holds {name}", LOST - abs(1.0 - mass), "1e-6 less the mass beyond it"))
        if grid.dim == 2:
            found.append(resolved(grid, name, law))
    return tuple(found)


def resolved(grid: Grid, name: str, law: Law) -> Hypothesis:
    """Return the hypothesis that the quadrature within the cells finds a law, where its cell probabilities are known.

    What is integrated against the law by the same nodes is then not further off than it is rough itself.
    """
    missed = np.abs(grid.cell_average(law.density) - grid.cell_average(law)).sum() * grid.volume
    detail = f"{_UNRESOLVED:g} less the mass that the nodes in the cells get wrong"
    return Hypothesis(f"the cells resolve {name}", _UNRESOLVED - float(missed), detail)


def around_share(grid: Grid, integrand: Callable[[Array], Array], total: float) -> float:
    """1e-6 less the share of an integral over the box that point values find in the two boxes beside it, on each side.

    `integrand` takes points of the shape of ``grid.x`` and is not negative; `total` is its integral over the box.
    """
    around = Grid(
        tuple((low - _AROUND * (high - low), high + _AROUND * (high - low)) for low, high in grid.bounds), grid.shape
    )
    values = np.array(integrand(around.x), dtype=np.float64)
    points = around.x.reshape(*around.shape, grid.dim)
    low, high = (np.array([ends[side] for ends in grid.bounds]) for side in (0, 1))
    values[np.all((points >= low) & (points <= high), axis=-1)] = 0.0
    beyond = float(values.sum() * around.volume)
    return END_SHARE - beyond / total if total > 0.0 else END_SHARE - beyond


def exp_or_inf(exponent: Array) -> Array:
    """``exp``, held at e^300 where it would overflow: an integral that meets it fails its check at the ends."""
    return np.asarray(np.exp(np.minimum(exponent, _HUGE)))


def end_share(values: Array) -> float:
    """1e-6 less the share of the integral of |values| that the cells at the ends of the box hold.

    Negative where the integrand has not decayed: the integral over the whole space is then larger, perhaps infinite.
    """
    size = np.abs(values)
    total = float(size.sum())
    inner = size[tuple(slice(1, -1) for _ in range(size.ndim))]
    return END_SHARE - (total - float(inner.sum())) / total if total > 0.0 else END_SHARE
