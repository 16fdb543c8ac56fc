"""Where a sampler's error comes from and how much of it is left at the end: initialization, discretization, score."""

from fpsolve.decomposition._errors import errors

__all__ = ["errors"]
