"""Warnings of fpsolve: what it knows about a result and its user does not."""


class ToleranceWarning(UserWarning):
    """A run with `tol` ended before its error estimate was below it."""


class UnresolvedWarning(UserWarning):
    """Cells or steps are too coarse for an error estimate of what was computed."""
