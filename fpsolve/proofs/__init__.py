"""Proofs: intervals that contain distances and contraction rates, by ball arithmetic (extra ``fpsolve[proofs]``).

For targets and starts that are mixtures of normal laws (kernel densities are), in 1D, with the exact score and eta = 1.
"""

from fpsolve.proofs._enclosure import Enclosure, early_stopping, forgetting_curve, verify, weighted_tv
from fpsolve.proofs._harris import ProvedBlocks, ProvedHarris, harris, harris_blocks

__all__ = [
    "Enclosure",
    "ProvedBlocks",
    "ProvedHarris",
    "early_stopping",
    "forgetting_curve",
    "harris",
    "harris_blocks",
    "verify",
    "weighted_tv",
]
