"""Measured data: checked CSV tables, their standardisation, and the Old Faithful eruptions that come along."""

from fpsolve.data._standardise import Standardised, standardise
from fpsolve.data._table import Table, old_faithful, read_csv

__all__ = ["Standardised", "Table", "old_faithful", "read_csv", "standardise"]
