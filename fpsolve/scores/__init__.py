"""Score models: callables ``score(t, x)`` with the shape of x, t a forward time.

`exact` is the score of the forward marginals, `product_form` the best one that is a product ``g(sigma) S(x)``.
`from_noise_prediction`, `from_denoiser`, `from_velocity`, `from_flow_velocity`, `from_edm_denoiser` and `from_energy`
turn what a network predicts into a score, `from_torch` calls a torch module. `tabulate` evaluates a slow model once,
`tabulated` stands in for it. `perturbed` adds an error (ready ones in `fpsolve.scores.errors`); `clipped` and
`smoothed` are modifications one has to ask for by name. `probe` looks at a model once, `error_curve` measures it
against the exact score. `checked` stands at the border and refuses what a user's model must not return.
"""

from fpsolve.scores import errors
from fpsolve.scores._adapters import (
    Denoiser,
    EDMDenoiser,
    FlowVelocity,
    NoisePrediction,
    Velocity,
    from_denoiser,
    from_edm_denoiser,
    from_flow_velocity,
    from_noise_prediction,
    from_velocity,
)
from fpsolve.scores._base import CheckedScore, ExactScore, Score, checked, exact, name_of
from fpsolve.scores._energy import EnergyScore, from_energy
from fpsolve.scores._error_curve import error_curve
from fpsolve.scores._modified import Clipped, Perturbed, Smoothed, clipped, perturbed, smoothed
from fpsolve.scores._probe import Probe, ProbeWarning, admitted, probe
from fpsolve.scores._product_form import Field as Field
from fpsolve.scores._product_form import ProductField, ProductScore, product_form
from fpsolve.scores._product_form import as_points as as_points
from fpsolve.scores._product_form import evaluate as evaluate
from fpsolve.scores._product_form import jacobian as jacobian
from fpsolve.scores._tabulated import Tabulated, tabulate, tabulated
from fpsolve.scores._torch import TorchModel, from_torch

__all__ = ["Score", "exact", "ExactScore", "checked", "CheckedScore", "admitted"]
__all__ += ["ProductField", "ProductScore", "product_form"]
__all__ += ["Denoiser", "EDMDenoiser", "EnergyScore", "FlowVelocity", "NoisePrediction", "TorchModel", "Velocity"]
__all__ += ["from_denoiser", "from_edm_denoiser", "from_energy", "from_flow_velocity", "from_noise_prediction"]
__all__ += ["from_torch", "from_velocity"]
__all__ += ["Clipped", "Perturbed", "Smoothed", "clipped", "errors", "perturbed", "smoothed"]
__all__ += ["Tabulated", "tabulate", "tabulated"]
__all__ += ["Probe", "ProbeWarning", "error_curve", "name_of", "probe"]
