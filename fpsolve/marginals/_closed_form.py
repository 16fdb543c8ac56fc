"""Marginals of laws that know their own Gaussian blur in closed form: Laplace, uniform, point mass."""

from dataclasses import dataclass

from fpsolve.laws import Law
from fpsolve.marginals._base import Marginals
from fpsolve.processes import Process


@dataclass(frozen=True, eq=False)
class ClosedFormMarginals(Marginals):
    """Marginals by `Law.diffused`, evaluated by the methods of the law that returns."""

    target: Law
    process: Process

    def law(self, t: float) -> Law:
        """Return ``target.diffused(alpha(0, t), sigma2(0, t))``."""
        scale, variance = self.transition(t)
        law = self.target.diffused(float(scale), float(variance))
        if law is None:
            raise ValueError(f"target: expected a law with a closed form of diffused(), got {self.target!r}.")
        return law
