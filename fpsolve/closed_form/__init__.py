"""The oracle: closed forms of the reverse dynamics with the exact score, independent of every solver.

`density` and `log_density` give point values, `cell_averages` what a finite-volume run should find,
`weighted_tv` distances between starts however small, `kernel` the transition density of the reverse SDE.
"""

from fpsolve.closed_form._distance import Distance, cell_averages, weighted_tv
from fpsolve.closed_form._solve import density, kernel, log_density

__all__ = ["Distance", "cell_averages", "density", "kernel", "log_density", "weighted_tv"]
