"""Figures: forgetting curves and bounds beside them, densities over reverse time, flows, where errors come from.

Every function takes ``ax=None`` and returns the Axes; colours are Okabe and Ito's, which colour-blind readers
can tell apart, and every start keeps its colour and line style in every figure.
"""

from fpsolve.plots._bounds import factors, ladder, localization, overview, ratio
from fpsolve.plots._density import density, orbits, phase_portrait
from fpsolve.plots._ensemble import (
    convergence,
    cumulative,
    divergences,
    ensemble,
    metric_against_distance,
    rank_correlations,
)
from fpsolve.plots._ensemble import slope_triangles as slope_triangles
from fpsolve.plots._fields import animation, drift_and_score, phase_line, streamlines
from fpsolve.plots._forgetting import alive, contributions, discounts, forgetting
from fpsolve.plots._style import PALETTE as PALETTE
from fpsolve.plots._style import REVERSE_TIME as REVERSE_TIME
from fpsolve.plots._style import legend_beside as legend_beside
from fpsolve.plots._style import styles
from fpsolve.plots._style import time_axis as time_axis
from fpsolve.plots._style import weight_formula as weight_formula

__all__ = [
    "alive",
    "animation",
    "contributions",
    "convergence",
    "cumulative",
    "density",
    "discounts",
    "divergences",
    "drift_and_score",
    "ensemble",
    "factors",
    "forgetting",
    "ladder",
    "localization",
    "metric_against_distance",
    "orbits",
    "overview",
    "phase_line",
    "phase_portrait",
    "rank_correlations",
    "ratio",
    "streamlines",
    "styles",
]
