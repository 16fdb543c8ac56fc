"""Sweeps over parameters: `fpsolve.sweep` for any function, ``fpsolve sweep FILE.toml`` for forgetting curves.

A sweep calls a function at every point of a product of lists. Points are computed serially, in processes
(joblib) or on a cluster (dask.distributed), with the same result bit for bit; each may be kept in a file of its
own, so that an interrupted sweep goes on where it stopped; and one that fails costs only itself.

The file of ``fpsolve sweep`` lists targets, processes, score errors, eta and accuracies, and what holds for all::

    t_min = 0.01                    # forward time at which the reverse runs end
    eta = [1.0, 0.5]                # default [1.0]
    tol = [1e-4, 1e-5]              # or [[grids]] with bounds, cells, steps
    # also: seed = 0, save_at = [...], weight = {kind = "polynomial", power = 2, beta = 1}

    [[targets]]                     # any law: gaussian, gaussian-mixture, laplace, student-t, uniform, ...
    kind = "gaussian-mixture"
    name = "two modes"
    weights = [0.3, 0.7]
    means = [-1.5, 0.8]
    stds = [0.3, 0.4]

    [[processes]]                   # any process: ornstein-uhlenbeck, vp, cosine-vp, sub-vp, ve, edm
    kind = "vp"
    beta_max = 20.0

    [[score_errors]]                # none, bias, scaling, sine, bump, random-field, during; default: the exact score
    kind = "bias"
    vector = 0.1
    units = "noise"                 # of a noise prediction; default "score"

    [[starts]]                      # prior (the default), or a law of any of the kinds above
    kind = "prior"

Parameters are those of the classes in Python, and kinds the names of those of `fpsolve.laws`, `fpsolve.processes`,
`fpsolve.weights` and `fpsolve.scores.errors` in lower case with hyphens; a "kernel-density" may also name a `file` and
its `columns`, standardised unless ``standardise = false``. Every start is compared with the law p_T of the forward
process in the weighted norm, and the run from it with the forward law at the end (`model_error`). The combined Dataset
is written to ``sweep.nc`` in the folder of results.
"""

from fpsolve.campaign.command import sweep

__all__ = ["sweep"]
