"""Noise predictions."""

from fpsolve._checks import FloatArray
from fpsolve.processes import Process
from fpsolve.scores._adapter import Adapter, Model, Order, Time
from fpsolve.scores._conversions import from_noise
from fpsolve.scores._probe import admit

__all__ = ["NoisePrediction", "from_noise_prediction"]


class NoisePrediction(Adapter):
    """The score ``-eps/s`` of a noise prediction; see `from_noise_prediction`."""

    kind = "noise prediction"
    maker = "from_noise_prediction"

    def convert(self, t: float, x: FloatArray, prediction: FloatArray) -> FloatArray:
        """Return ``-eps/s``."""
        return from_noise(self.process, t, x, prediction)


def from_noise_prediction(
    model: Model, process: Process, *, time: Time = 1.0, order: Order = "t, x", dim: int | None = None
) -> NoisePrediction:
    r"""Return the score of a model that predicts the noise.

    .. math:: s(t, x) = -\epsilon(t, x)/s_t, \qquad \epsilon = E[\epsilon | x],\ x = a_t x_0 + s_t \epsilon,\
              a_t = \alpha(0, t),\ s_t^2 = \sigma^2(0, t).

    An error of the prediction that is uniform in t is an ``O(1/s_t)`` error of the score near ``t_min``.

    Parameters
    ----------
    model : callable
        ``model(t, x)``, points x of shape (...) in 1D and (..., 2) in 2D, answer of that shape: numpy, JAX or torch.
    process : Process
        The forward process of the training.
    time : float or callable, default 1
        What the model is given for t: ``time * t``, or ``time(t)``.
    order : "t, x" or "x, t"
        The order of the model's arguments, default "t, x".
    dim : int, optional
        1 or 2: the points of the probe. Default: whichever the model takes.

    Returns
    -------
    NoisePrediction
        A callable ``score(t, x)``.

    Raises
    ------
    ValueError
        At construction, from one probe: a wrong shape, NaN, integers, swapped arguments, a model that raises.

    Warns
    -----
    ProbeWarning
        If the model looks like something else than a noise prediction.

    Notes
    -----
    The networks of score_sde for VP and sub-VP take ``x, 999 t`` and return ``-s_t`` times the score: they are noise
    predictions with ``time=999, order="x, t"``. Those for VE take ``x, sigma(t)`` and return the score itself.

    References
    ----------
    Ho et al. 2020, arXiv:2006.11239; Song et al. 2021, arXiv:2011.13456.

    Examples
    --------
    Data N(0, 1) under VP: the score is -x and the noise prediction s x.

    >>> import fpsolve as fp
    >>> process = fp.VP()
    >>> score = from_noise_prediction(lambda t, x: process.variance(0.0, t) ** 0.5 * x, process)
    >>> round(float(score(0.3, 2.0)), 12)
    -2.0
    """
    return admit(NoisePrediction(model, process, time, order), dim)
