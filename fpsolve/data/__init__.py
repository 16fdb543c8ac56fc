"""Measured data: checked tables from CSV and .npy files, their standardisation, and four bundled ones.

`read` takes either kind of file; `standardise` records what it takes out; ``samples`` of the result go into
``fpsolve.KernelDensity``.
"""

from fpsolve.data._read import old_faithful, read, read_csv, read_npy
from fpsolve.data._table import Column, Standardised, Table, from_array, standardise

__all__ = ["Column", "Standardised", "Table", "from_array", "old_faithful", "read", "read_csv", "read_npy"]
__all__ += ["standardise"]
