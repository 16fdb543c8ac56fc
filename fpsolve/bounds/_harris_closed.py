"""Harris' theorem with constants in closed form, from the numbers of a Gaussian mixture alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fpsolve._checks import flag, instances
from fpsolve.bounds import _closed
from fpsolve.bounds._drift import closed_constants
from fpsolve.bounds._harris_record import NO_TRIALS, Harris, Trials, best_beta, record
from fpsolve.bounds._lyapunov import looked_at, quadratic
from fpsolve.bounds._record import Hypothesis, block
from fpsolve.dynamics import Reverse
from fpsolve.weights import WeightLike

Array = NDArray[np.float64]

#: Shares of the dissipativity constant that are tried in closed form.
_SHARES = np.linspace(0.05, 0.95, 19)


def harris_closed_form(
    reverse: Reverse, t0: float, t1: float, *, weight: WeightLike = None, optimise: bool | None = None
) -> Harris:
    r"""Return the contraction that Harris' theorem gives a block with constants in closed form, without any grid.

    For the exact score of a Gaussian mixture, eta = 1 and ``weight = 1 + c0 + c1 |x|^2``: gamma and K from the
    dissipativity of the target, carried through the block; a'' from the fact that the rows of Bayes' kernel are
    exponential tilts of one another, ``KL(P(x, .)|P(y, .)) <= |x - y|^2 (L + 1/sigma2(t1, t0))/2`` with L the largest
    slope of the score at t0, and ``|x - y|^2 <= 2 (|x|^2 + |y|^2)``.

    Parameters
    ----------
    reverse : Reverse
    t0, t1 : float
        Forward times, ``t0 > t1``.
    weight : Weight or callable, optional
        Default ``1 + |x|^2``.
    optimise : bool, optional
        Search the factor beta on V = weight - 1 as well. Default: only where there is no certificate without.

    Returns
    -------
    Harris
        `value` is None where there is no closed form or abar is not below 1.

    Raises
    ------
    ValueError
        Times out of order or range, a weight below 1.

    References
    ----------
    Hairer and Mattingly 2011, doi:10.1007/978-3-0348-0021-1_7; Bretagnolle and Huber 1979, doi:10.1007/BF00535268.

    Examples
    --------
    >>> import fpsolve as fp
    >>> reverse = fp.Reverse(fp.GaussianMixture([0.5, 0.5], [-1.0, 1.0], stds=[0.5, 0.5]), fp.VP())
    >>> 0.0 < harris_closed_form(reverse, 1.0, 0.3, optimise=True).value < 1.0
    True
    """
    instances(reverse=(reverse, Reverse))
    flag("optimise", optimise, optional=True)
    return searched(Closed.of(reverse, *block(reverse, t0, t1), weight), optimise)


class Analysed(Protocol):
    """A block whose constants are known."""

    def best_beta(self) -> float:
        """The factor on V with the smallest abar."""

    def record(self, beta: float) -> Harris:
        """The best contraction in the weight ``1 + beta V``."""


def searched(found: Analysed, optimise: bool | None) -> Harris:
    """The record in the weight as given, in the best one of its family, or in that where the given one has none."""
    given = None if optimise else found.record(1.0)
    if given is not None and given.certified:
        return given
    best = found.record(found.best_beta())
    if given is None or (optimise is None and best.certified):
        return best
    if best.certified:
        helps = f"in the weight 1 + {best.beta:.3g} V there is one, abar = {best.abar:.4g}: optimise=True"
        return replace(given, reason=f"{given.reason}; {helps}")
    return given


@dataclass(frozen=True, eq=False)
class Closed:
    """A block analysed in closed form.

    Attributes
    ----------
    t0, t1 : float
    trials : Trials
    known : bool
        Whether there are closed forms at all.
    unchecked : tuple of str
        What is taken for granted of the weight.
    """

    t0: float
    t1: float
    trials: Trials
    known: bool
    unchecked: tuple[str, ...]

    @classmethod
    def of(cls, reverse: Reverse, t0: float, t1: float, weight: WeightLike) -> Closed:
        """One pair (gamma, K) per share of the dissipativity constant, and levels from the least admissible one up."""
        shape = quadratic(weight, reverse.dim)
        bayes = reverse.exact and reverse.eta == 1.0
        trials = closed_trials(reverse, t0, t1, shape) if bayes and shape is not None else None
        certain = NO_TRIALS if trials is None else trials
        return cls(float(t0), float(t1), certain, trials is not None, looked_at(weight))

    def best(self, beta: float, step: int = 1) -> float:
        """Smallest abar in the weight ``1 + beta V``; infinite where there is none below 1. There are few trials."""
        abar = self.trials.best(beta)[0]
        return abar if abar < 1.0 else np.inf

    def best_beta(self) -> float:
        """The factor on V with the smallest abar."""
        ks = self.trials.ks
        return best_beta(self.trials, float(np.min(ks))) if ks.size else 1.0

    def record(self, beta: float) -> Harris:
        """The best contraction in the weight ``1 + beta V``."""
        if not self.known:
            needs = "closed-form constants need a Gaussian mixture, its exact score, eta = 1 and V = c0 + c1 |x|^2"
            return record(np.inf, beta, None, (Hypothesis(needs, -1.0),), (), (self.t0, self.t1))
        abar, n, m = self.trials.best(beta)
        constants = self.trials.constants(n, m) if np.isfinite(abar) else None
        return record(abar, beta, constants, (), self.unchecked, (self.t0, self.t1))


def closed_trials(reverse: Reverse, t0: float, t1: float, shape: tuple[float, float]) -> Trials | None:
    """Constants of a block in closed form: one pair (gamma, K) per share of the dissipativity constant."""
    pairs = [closed_constants(reverse, t0, t1, shape, float(share)) for share in _SHARES]
    found = np.array([p for p in pairs if p is not None])
    if len(found) == 0:
        return None
    gammas, ks = found[found[:, 0] < 1.0].T
    least = np.maximum(2.0 * ks / (1.0 - gammas), 2.0 * shape[0])
    levels = least[:, None] * (1.0 + np.geomspace(1e-3, 1e3, 200))
    # lower bound of a'' at levels of ``V = c0 + c1 |x|^2``: ``|x - y|^2 <= 2 (|x|^2 + |y|^2) <= 2 (R - 2 c0)/c1``
    square = 2.0 * np.maximum(levels - 2.0 * shape[0], 0.0) / shape[1]
    overlaps = _closed.overlap(reverse.marginal(t0), float(reverse.process.variance(t1, t0)), square)
    return None if overlaps is None else Trials(gammas, ks, levels, overlaps)
