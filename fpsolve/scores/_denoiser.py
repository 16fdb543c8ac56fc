"""Denoisers: predictions of the data."""

from fpsolve._checks import FloatArray
from fpsolve.processes import Process
from fpsolve.scores._adapter import Adapter, Model, Order, Time
from fpsolve.scores._conversions import from_data
from fpsolve.scores._probe import admit

__all__ = ["Denoiser", "from_denoiser"]


class Denoiser(Adapter):
    """The score ``(a D - x)/s^2`` of a denoiser D; see `from_denoiser`."""

    kind = "denoiser"
    maker = "from_denoiser"

    def convert(self, t: float, x: FloatArray, prediction: FloatArray) -> FloatArray:
        """Return ``(a D - x)/s^2``."""
        return from_data(self.process, t, x, prediction)


def from_denoiser(
    model: Model, process: Process, *, time: Time = 1.0, order: Order = "t, x", dim: int | None = None
) -> Denoiser:
    r"""Return the score of a model that predicts the data from the noisy x (x0-prediction).

    .. math:: s(t, x) = (a_t D(t, x) - x)/s_t^2, \qquad D = E[x_0 | x],\ x = a_t x_0 + s_t \epsilon,\
              a_t = \alpha(0, t),\ s_t^2 = \sigma^2(0, t)

    (Tweedie's formula). The model sees x as it is; one that sees ``x/a`` and a noise level is `from_edm_denoiser`'s.

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
    Denoiser
        A callable ``score(t, x)``.

    Raises
    ------
    ValueError
        At construction, from one probe: a wrong shape, NaN, integers, swapped arguments, a model that raises.

    Warns
    -----
    ProbeWarning
        If the model looks like something else than a denoiser.

    References
    ----------
    Efron 2011, doi:10.1198/jasa.2011.tm11181 (Tweedie's formula).

    Examples
    --------
    Data that are always 3: the denoiser is constant and ``p_t = N(3 a, s^2)``.

    >>> import fpsolve as fp
    >>> score = from_denoiser(lambda t, x: 3.0 + 0.0 * x, fp.EDM())
    >>> float(score(2.0, 5.0))  # (3 - 5)/2^2
    -0.5
    """
    return admit(Denoiser(model, process, time, order), dim)
