"""Finite volumes: arrays on faces become fluxes. Nothing here knows a score or a law."""

from fpsolve.finite_volume.generator import generator_matrix
from fpsolve.finite_volume.rates import exponents_from_drift, exponents_from_log_gibbs, jump_rates

__all__ = ["exponents_from_drift", "exponents_from_log_gibbs", "generator_matrix", "jump_rates"]
