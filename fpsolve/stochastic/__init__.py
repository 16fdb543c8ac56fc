"""Score error as noise: ensembles of a stochastic Fokker-Planck equation, and the SIEM-like metric on them.

"SIEM-like" because it is our reading of arXiv:2602.08579, whose abstract and summaries we know and whose formulas we
do not: nothing here reproduces that paper.
"""

from fpsolve.stochastic._evolve import evolve
from fpsolve.stochastic._metric import RadialFunction, RankCorrelation, quadratic_variation, rank_correlation, siem_like
from fpsolve.stochastic._noise import BrownianPaths, ScoreNoise, constant, localized, random_fourier

__all__ = [
    "BrownianPaths",
    "RadialFunction",
    "RankCorrelation",
    "ScoreNoise",
    "constant",
    "evolve",
    "localized",
    "quadratic_variation",
    "random_fourier",
    "rank_correlation",
    "siem_like",
]
