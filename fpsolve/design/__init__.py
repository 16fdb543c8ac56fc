"""Step grids designed for a target: the times at which a sampler's exact final error is least.

Nothing is estimated from samples: the law of the sampler after its n steps is computed by `fpsolve.kernels`, and its
distance to the law it should have is minimised over the n - 1 times in between, and if asked over the noise of each.
"""

from fpsolve.design._design import Design, error, named, steps

__all__ = ["Design", "error", "named", "steps"]
