"""Dynamics without noise: densities move along the characteristics of ``d_r q = -div(b q)``.

The points at which a density is wanted are followed back to where they started. On a line the mass of a cell is the
mass the start has between the origins of its faces, so cell averages are exact and mass is kept whatever the cells; in
the plane the density is that of the start at the origin times the change of volume, ``d log q/dr = -div b``. Nothing
is smeared: there is no numerical diffusion at any resolution.
"""

from fpsolve.characteristics._origins import Accuracy, Traced, trace_back
from fpsolve.characteristics._sources import CellSource, LawSource, Source, masses_between
from fpsolve.characteristics._transport import Transported, transport

__all__ = [
    "Accuracy",
    "CellSource",
    "LawSource",
    "Source",
    "Traced",
    "Transported",
    "masses_between",
    "trace_back",
    "transport",
]
