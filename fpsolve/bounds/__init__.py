"""Theory beside measurement: what is guaranteed about forgetting and sampling, each bound with its constants.

Every function returns a small frozen record: a value, or None for "no certificate", the statement it comes from, which
hypotheses were checked with what margin, and which were not. `ladder` puts them in order beside what is measured, and
`verify` checks that order.
"""

from fpsolve.bounds._assumptions import Assumptions, assumptions
from fpsolve.bounds._blocks import HarrisBlocks, harris_blocks
from fpsolve.bounds._closed import spectral_gap_constant
from fpsolve.bounds._dobrushin import Dobrushin, Minorization, dobrushin, minorization
from fpsolve.bounds._drift import Drift, drift, harris_closed_form
from fpsolve.bounds._entropy import (
    Discretization,
    LogSobolev,
    Ollivier,
    discretization,
    log_sobolev,
    log_sobolev_constant,
    ollivier,
    wasserstein,
)
from fpsolve.bounds._girsanov import ExplicitKL, Girsanov, explicit_kl, girsanov
from fpsolve.bounds._harris import Localization, harris, localization
from fpsolve.bounds._ladder import ladder, records, verify
from fpsolve.bounds._moments import WeightedPinsker, weighted_pinsker
from fpsolve.bounds._poincare import Bracket, Poincare, log_sobolev_bracket, poincare, poincare_bracket
from fpsolve.bounds._record import Harris, Hypothesis, Record
from fpsolve.bounds._stability import KLStability, langevin_kl, reverse_kl

__all__ = [
    "Assumptions",
    "Bracket",
    "Discretization",
    "Dobrushin",
    "Drift",
    "ExplicitKL",
    "Girsanov",
    "Harris",
    "HarrisBlocks",
    "Hypothesis",
    "KLStability",
    "Localization",
    "LogSobolev",
    "Minorization",
    "Ollivier",
    "Poincare",
    "Record",
    "WeightedPinsker",
    "assumptions",
    "discretization",
    "dobrushin",
    "drift",
    "explicit_kl",
    "girsanov",
    "harris",
    "harris_blocks",
    "harris_closed_form",
    "ladder",
    "langevin_kl",
    "localization",
    "log_sobolev",
    "log_sobolev_bracket",
    "log_sobolev_constant",
    "minorization",
    "ollivier",
    "poincare",
    "poincare_bracket",
    "records",
    "reverse_kl",
    "spectral_gap_constant",
    "verify",
    "wasserstein",
    "weighted_pinsker",
]
