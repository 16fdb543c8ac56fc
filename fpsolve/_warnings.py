"""Warnings of fpsolve: what it knows about a result and its user does not."""


class ToleranceWarning(UserWarning):
    """A run with `tol` ended before its error estimate was below it."""


class ScoreWarning(UserWarning):
    """A score model is further from the exact score than any plausible model error."""


class UnresolvedWarning(UserWarning):
    """Cells or steps are too coarse for an error estimate of what was computed."""
