"""Denoisers in the convention of EDM: unscaled points and a noise level."""

from typing import Any

from fpsolve._checks import FloatArray
from fpsolve.processes import Process
from fpsolve.scores._adapter import Adapter, Model, Order, Time
from fpsolve.scores._conversions import from_data, transition
from fpsolve.scores._probe import admit

__all__ = ["EDMDenoiser", "from_edm_denoiser"]


class EDMDenoiser(Adapter):
    """The score of a denoiser of y = x/a at noise level sigma = s/a; see `from_edm_denoiser`."""

    kind = "denoiser"
    maker = "from_edm_denoiser"

    def predict(self, t: float, x: FloatArray) -> Any:
        """Return ``D(x/a, s/a)``."""
        a, s = transition(self.process, t)
        sigma = s / a
        return self._ask(self.time(sigma) if callable(self.time) else self.time * sigma, x / a)

    def convert(self, t: float, x: FloatArray, prediction: FloatArray) -> FloatArray:
        """Return ``(D - x/a)/(a sigma^2)``, that is ``(a D - x)/s^2``."""
        return from_data(self.process, t, x, prediction)


def from_edm_denoiser(
    model: Model, process: Process, *, time: Time = 1.0, order: Order = "x, t", dim: int | None = None
) -> EDMDenoiser:
    r"""Return the score of a denoiser ``D(y, sigma)`` of data with noise of level sigma, as EDM and k-diffusion have.

    .. math:: s(t, x) = \frac{D(x/a_t, \sigma_t) - x/a_t}{a_t \sigma_t^2}, \qquad
              \sigma_t = s_t/a_t,\quad D(y, \sigma) = E[x_0 | x_0 + \sigma \epsilon = y].

    The factor ``1/a`` is easily forgotten: it is the chain rule for ``y = x/a``. The process need not be EDM.

    Parameters
    ----------
    model : callable
        ``model(y, sigma)``, points y of shape (...) in 1D and (..., 2) in 2D, answer of that shape. The whole
        preconditioned denoiser is meant, not the raw network inside of it.
    process : Process
        The process to be reversed.
    time : float or callable, default 1
        What the model is given for sigma: ``time * sigma``, or ``time(sigma)``.
    order : "x, t" or "t, x"
        The order of the model's arguments, default "x, t": the point, then the level.
    dim : int, optional
        1 or 2: the points of the probe. Default: whichever the model takes.

    Returns
    -------
    EDMDenoiser
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
    Karras et al. 2022, arXiv:2206.00364, equations 3 and 7.

    Examples
    --------
    Data N(0, 1): ``D(y, sigma) = y/(1 + sigma^2)``, whatever the process.

    >>> import fpsolve as fp
    >>> score = from_edm_denoiser(lambda y, sigma: y / (1.0 + sigma**2), fp.VP())
    >>> round(float(score(0.3, 2.0)), 12)
    -2.0
    """
    return admit(EDMDenoiser(model, process, time, order), dim)
