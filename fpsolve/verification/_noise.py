"""Score error as noise: a Gaussian along its Brownian paths."""

from fpsolve.studies._report import Check
from fpsolve.studies._score_noise_oracle import oracle

__all__ = ["score_noise"]


def score_noise() -> tuple[Check, ...]:
    """Constant noise k = 0.3 on an Ornstein-Uhlenbeck process, 400 cells, 500 steps: mean, variance, variation."""
    found = oracle(strength=0.3**2, cells=400, steps=500, paths=8, seed=0)
    names = {"mean": "mean", "variance": "variance", "variation": "quadratic variation"}
    return (
        *(Check.at_most(f"score noise: {text} along every path", found[name], 1e-3) for name, text in names.items()),
        Check.at_most("score noise: mass along every path", found["mass"], 1e-12),
    )
