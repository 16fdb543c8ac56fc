"""Distances between densities on a grid: Datasets in, numbers with errors out."""

from fpsolve.distances.deviation import to_marginals
from fpsolve.distances.divergences import chi2, hellinger, kl
from fpsolve.distances.forgetting import forgetting_curve
from fpsolve.distances.regions import l1_on
from fpsolve.distances.transport import wasserstein
from fpsolve.distances.weighted import total_variation, weighted_norm, weighted_tv

__all__ = [
    "chi2",
    "forgetting_curve",
    "hellinger",
    "kl",
    "l1_on",
    "to_marginals",
    "total_variation",
    "wasserstein",
    "weighted_norm",
    "weighted_tv",
]
