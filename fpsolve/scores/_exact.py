"""The exact score of the forward marginals."""

from dataclasses import dataclass
from typing import Any

from fpsolve._checks import FloatArray, finite
from fpsolve.laws import Law
from fpsolve.marginals import Marginals, family
from fpsolve.processes import Process


@dataclass(frozen=True, eq=False, repr=False)
class ExactScore:
    """``s(t, x) = grad log p_t(x)``; `marginals` is the family p_t."""

    marginals: Marginals

    def __call__(self, t: float, x: Any) -> FloatArray:
        """Return the score at the points x, shape ``(...)`` in 1D, ``(..., 2)`` in 2D, and of that shape."""
        time, process = finite("t", t), self.marginals.process
        # beyond T a churn at the highest noise level asks
        longer = process.reaching(time)
        return (self.marginals if longer is process else family(self.marginals.target, longer)).score(time, x)

    def __repr__(self) -> str:
        """Return the call that makes it."""
        return f"exact({self.marginals.target!r}, {self.marginals.process!r})"


def exact(target: Law, process: Process) -> ExactScore:
    """Return the exact score of `process` started from `target`.

    Parameters
    ----------
    target : Law
        p_0.
    process : Process
        Forward process.

    Examples
    --------
    >>> import fpsolve as fp
    >>> score = fp.scores.exact(fp.Gaussian(0.0, std=1.0), fp.OrnsteinUhlenbeck(T=3.0))
    >>> float(score(0.5, 2.0))
    -2.0
    """
    return ExactScore(family(target, process))
