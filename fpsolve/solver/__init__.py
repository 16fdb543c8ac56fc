"""The solver: fluxes through faces, time steps that are line solves, and transport along paths where there is no noise.

Three cuts carry it: *fluxes know arrays, not scores* (`_fluxes`, `_lines`, `_planes`), *steps know operators, not
grids* (`_steps`), and only `_discretise` and `_flow` have met a dynamics.
"""

from fpsolve.solver._discretise import exponents_of, face_points, plane_rates_at, rates_at
from fpsolve.solver._flow import Accuracy, CellSource, LawSource, Source, Traced, Transported, trace_back
from fpsolve.solver._flow import follow_back as follow_back
from fpsolve.solver._flow import masses_between as masses_between
from fpsolve.solver._flow import together as together
from fpsolve.solver._flow import transport as transport
from fpsolve.solver._fluxes import exponents_from_drift, generator_matrix, jump_rates, rates_from_log_gibbs
from fpsolve.solver._lines import advance_open, advance_ring, retreat_open
from fpsolve.solver._planes import sweep_rings, sweep_x, sweep_y
from fpsolve.solver._steps import (
    SCHEMES,
    Potentials,
    Rates,
    Scheme,
    StepTable,
    advance,
    advance_planes,
    advance_through,
    retreat,
    scheme_named,
    step_table,
)

__all__ = ["exponents_from_drift", "generator_matrix", "jump_rates", "rates_from_log_gibbs"]
__all__ += ["exponents_of", "face_points", "plane_rates_at", "rates_at"]
__all__ += ["advance_open", "advance_ring", "retreat_open", "sweep_rings", "sweep_x", "sweep_y"]
__all__ += ["SCHEMES", "Potentials", "Rates", "Scheme", "StepTable", "advance", "advance_planes"]
__all__ += ["advance_through", "retreat", "scheme_named", "step_table"]
__all__ += ["Accuracy", "CellSource", "LawSource", "Source", "Traced", "Transported", "masses_between"]
__all__ += ["trace_back", "transport"]
