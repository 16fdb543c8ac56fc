"""Scores from what a network predicts: the noise, the clean data, EDM's preconditioned denoiser, a velocity.

Two different things go by the name of a velocity: ``a eps - s x_0`` of v-prediction, and the drift of a flow.
"""

from typing import Any

from fpsolve._checks import FloatArray
from fpsolve.processes import Process
from fpsolve.scores._adapter import (
    Adapter,
    Model,
    Time,
    from_data,
    from_flow,
    from_noise,
    from_salimans_ho,
    transition,
)
from fpsolve.scores._base import Order
from fpsolve.scores._probe import admit


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


class Velocity(Adapter):
    """The score of a v-prediction; see `from_velocity`."""

    kind = "velocity"
    maker = "from_velocity"

    def convert(self, t: float, x: FloatArray, prediction: FloatArray) -> FloatArray:
        """Return ``-(s x + a v)/(s (a^2 + s^2))``."""
        return from_salimans_ho(self.process, t, x, prediction)


class FlowVelocity(Adapter):
    """The score of a flow velocity; see `from_flow_velocity`."""

    kind = "flow velocity"
    maker = "from_flow_velocity"

    def convert(self, t: float, x: FloatArray, prediction: FloatArray) -> FloatArray:
        """Return ``(a u - a' x)/(s (a' s - a s'))``."""
        return from_flow(self.process, t, x, prediction)


def from_velocity(
    model: Model, process: Process, *, time: Time = 1.0, order: Order = "t, x", dim: int | None = None
) -> Velocity:
    r"""Return the score of a model that predicts ``v = a eps - s x_0`` (v-prediction of Salimans and Ho).

    .. math:: s(t, x) = -\frac{s_t x + a_t v(t, x)}{s_t (a_t^2 + s_t^2)}, \qquad
              v = E[a_t \epsilon - s_t x_0 | x],\ x = a_t x_0 + s_t \epsilon.

    For variance-preserving processes ``a^2 + s^2 = 1``. Flow matching predicts another velocity: `from_flow_velocity`.

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
    Velocity
        A callable ``score(t, x)``.

    Raises
    ------
    ValueError
        At construction, from one probe: a wrong shape, NaN, integers, swapped arguments, a model that raises.

    Warns
    -----
    ProbeWarning
        If the model looks like something else than a v-prediction.

    References
    ----------
    Salimans and Ho 2022, arXiv:2202.00512, appendix D.

    Examples
    --------
    Data N(0, 1) under VP: the score is -x and v vanishes.

    >>> import fpsolve as fp
    >>> float(from_velocity(lambda t, x: 0.0 * x, fp.VP())(0.3, 2.0))
    -2.0
    """
    return admit(Velocity(model, process, time, order), dim)


def from_flow_velocity(
    model: Model, process: Process, *, time: Time = 1.0, order: Order = "t, x", dim: int | None = None
) -> FlowVelocity:
    r"""Return the score of a model of the velocity ``u = a' x_0 + s' eps`` of the probability flow.

    .. math:: s(t, x) = \frac{a_t u(t, x) - a_t' x}{s_t (a_t' s_t - a_t s_t')}
              = \frac{2 (\mathrm{rate}_t x - u)}{g_t^2}, \qquad
              u = E[a_t' x_0 + s_t' \epsilon | x],\ x = a_t x_0 + s_t \epsilon,

    primes the derivatives in *forward* time t and the rate that of the process; a model trained for time running from
    noise to data has the opposite sign, ``lambda t, x: -model(T - t, x)``.

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
    FlowVelocity
        A callable ``score(t, x)``.

    Raises
    ------
    ValueError
        At construction, from one probe: a wrong shape, NaN, integers, swapped arguments, a model that raises.

    Warns
    -----
    ProbeWarning
        If the model looks like something else than a flow velocity.

    References
    ----------
    Lipman et al. 2023, arXiv:2210.02747; Albergo et al. 2023, arXiv:2303.08797.

    Examples
    --------
    EDM has a = 1, s = t: u is the noise, and for data N(0, 1) it is ``t x/(1 + t^2)``.

    >>> import fpsolve as fp
    >>> score = from_flow_velocity(lambda t, x: t * x / (1.0 + t**2), fp.EDM())
    >>> round(float(score(2.0, 5.0)), 12)
    -1.0
    """
    return admit(FlowVelocity(model, process, time, order), dim)
