"""Score models: callables ``score(t, x)`` with the shape of x, t a forward time.

`exact` is the score of the forward marginals, `product_form` the best one that is a product ``g(sigma) S(x)``.
`from_noise_prediction`, `from_denoiser`, `from_velocity`, `from_flow_velocity`, `from_edm_denoiser` and `from_energy`
turn what a network predicts into a score, `from_torch` calls a torch module. `tabulate` evaluates a slow model once,
`tabulated` stands in for it. `perturbed` adds an error (ready ones in `fpsolve.scores.errors`); `clipped` and
`smoothed` are modifications one has to ask for by name, `guided` is
classifier-free guidance. `probe` looks at a model once, `error_curve` measures it
against the exact score. `checked` stands at the border and refuses what a user's model must not return.
"""

from fpsolve.scores import errors
from fpsolve.scores._adapters import (
    from_denoiser,
    from_edm_denoiser,
    from_flow_velocity,
    from_noise_prediction,
    from_velocity,
)
from fpsolve.scores._base import CheckedScore as CheckedScore
from fpsolve.scores._base import ExactScore as ExactScore
from fpsolve.scores._base import Score, checked, exact, from_torch
from fpsolve.scores._base import name_of as name_of
from fpsolve.scores._energy import error_curve, from_energy
from fpsolve.scores._modified import clip_sample, clipped, guided, perturbed, smoothed
from fpsolve.scores._probe import Probe, ProbeWarning, probe
from fpsolve.scores._probe import admitted as admitted
from fpsolve.scores._product_form import Field as Field
from fpsolve.scores._product_form import ProductField, ProductScore, product_form
from fpsolve.scores._product_form import as_points as as_points
from fpsolve.scores._product_form import evaluate as evaluate
from fpsolve.scores._product_form import jacobian as jacobian
from fpsolve.scores._tabulated import tabulate, tabulated

__all__ = ["Score", "exact", "checked"]
__all__ += ["ProductField", "ProductScore", "product_form"]
__all__ += ["from_denoiser", "from_edm_denoiser", "from_energy", "from_flow_velocity", "from_noise_prediction"]
__all__ += ["guided"]
__all__ += ["from_torch", "from_velocity"]
__all__ += ["clip_sample"]
__all__ += ["clipped", "errors", "perturbed", "smoothed"]
__all__ += ["tabulate", "tabulated"]
__all__ += ["Probe", "ProbeWarning", "error_curve", "probe"]
