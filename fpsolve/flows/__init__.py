"""Flows: orbits of the probability flow and of product-form flows, stationary points, basins, densities at the end.

A sampler without noise that follows a product-form score ``g(sigma) S(x)`` (see `fpsolve.scores.product_form`) is a
time change of the autonomous flow ``x' = S(x)``. For the best S a potential Psi grows along every orbit, so orbits end
in its critical points. Motivated by arXiv 2601.12965, whose results are not reproduced here.
"""

from fpsolve.flows._density import FlowDistance, distance, log_density
from fpsolve.flows._orbits import UNDECIDED, basins, end_points, orbits
from fpsolve.flows._stationary import KINDS, StationaryPoints, outside_hull, stationary_points
from fpsolve.flows._stationary import field_of as field_of

__all__ = [
    "KINDS",
    "UNDECIDED",
    "FlowDistance",
    "StationaryPoints",
    "basins",
    "distance",
    "end_points",
    "log_density",
    "orbits",
    "outside_hull",
    "stationary_points",
]
