"""Boxes of studies for other data and other targets than those that they come with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fpsolve._checks import error
from fpsolve.laws import Law
from fpsolve.settings import build

#: Keys of boxes, and of numbers of cells, which grow with them.
BOXES, CELLS = ("box", "boxes", "half", "kernel_half"), ("cells", "kernel_cells")
#: Boxes leave this mass of another target outside, and grow at most so many times.
OUTSIDE, WIDEST = 1e-7, 5.0
#: Cells that a box which grows within that has at most; whether they are enough the checks of a study say.
MOST_CELLS = 2000


def reach(table: dict[str, Any]) -> float:
    """Return how far a law on the line reaches from 0, but for `OUTSIDE` of its mass; 0 for what is no law."""
    try:
        law = build({"kind": "gaussian-mixture"} | table, Law)
    except ValueError:
        return 0.0  # told with all that does not fit
    radii = np.geomspace(1e-3, 1e6, 4001)
    faces = np.concatenate([-radii[::-1], radii])
    mass = law.cell_probabilities(faces) if law.dim == 1 else None
    if mass is None:
        density = law.density(faces) if law.dim == 1 else np.zeros_like(faces)
        mass = 0.5 * (density[1:] + density[:-1]) * np.diff(faces)
    rings = (mass[: len(radii) - 1][::-1] + mass[len(radii) :])[::-1]
    beyond = np.append(np.cumsum(rings)[::-1], 0.0)
    return float(radii[np.argmax(beyond <= OUTSIDE)])


def widen(table: dict[str, Any], radius: float, before: float = 0.0, kept: Sequence[str] = ()) -> None:
    """Make boxes that hold what reaches `before` hold what reaches so far, but for those that are to be kept.

    In own units x_t = alpha x_0 + s eps is in ``sqrt(reach^2 + half^2)`` if eps is in half.
    """
    more = np.sqrt(max(0.0, radius**2 - before**2))
    for key in BOXES:
        if key in table and key not in kept:
            half = np.abs(table[key]).max()
            ratio = float(np.hypot(half, more) / half)
            if kept and ratio > WIDEST:
                expected = f"a law with all but {OUTSIDE:g} of its mass within {half * WIDEST:.3g} of 0"
                raise error("target", expected, f"one that has it within {radius:.3g}", f"set {key} and its cells too")
            table[key] = (np.array(table[key]) * ratio).round(2).tolist()
            for count in CELLS:
                if count in table and count.startswith("kernel") == key.startswith("kernel"):
                    most = max(MOST_CELLS, table[count]) if ratio <= WIDEST else np.inf
                    table[count] = int(min(np.ceil(ratio * table[count] / 8) * 8, most))  # to be halved thrice
