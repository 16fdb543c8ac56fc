"""Distances between densities on a grid: Datasets in, numbers with errors out."""

from fpsolve.distances.forgetting import forgetting_curve
from fpsolve.distances.weighted import total_variation, weighted_norm, weighted_tv

__all__ = ["forgetting_curve", "total_variation", "weighted_norm", "weighted_tv"]
