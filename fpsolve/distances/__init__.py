"""Distances between densities on a grid: Datasets in, numbers with errors out."""

from fpsolve.distances._divergences import chi2, hellinger, kl
from fpsolve.distances._energy import energy, frechet, mmd
from fpsolve.distances._forgetting import early_stopping, forgetting_curve, to_marginals
from fpsolve.distances._plane_transport import sliced_wasserstein
from fpsolve.distances._transport import wasserstein
from fpsolve.distances._weighted import l1_on, total_variation, weighted_norm, weighted_tv

__all__ = [
    "chi2",
    "early_stopping",
    "energy",
    "forgetting_curve",
    "frechet",
    "hellinger",
    "kl",
    "l1_on",
    "mmd",
    "sliced_wasserstein",
    "to_marginals",
    "total_variation",
    "wasserstein",
    "weighted_norm",
    "weighted_tv",
]
