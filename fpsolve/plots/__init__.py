"""Figures: forgetting curves with everything they are held against, densities over reverse time, flows.

Every function takes ``ax=None`` and returns the Axes; colours are Okabe and Ito's, which colour-blind readers
can tell apart, and every start keeps its colour and line style in every figure.
"""

from fpsolve.plots._density import density
from fpsolve.plots._flows import orbits, phase_portrait
from fpsolve.plots._forgetting import forgetting
from fpsolve.plots._ladder import factors, ladder, ratio
from fpsolve.plots._localization import localization
from fpsolve.plots._style import PALETTE, styles

__all__ = [
    "PALETTE",
    "density",
    "factors",
    "forgetting",
    "ladder",
    "localization",
    "orbits",
    "phase_portrait",
    "ratio",
    "styles",
]
