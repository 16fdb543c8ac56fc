"""Velocities: two different things go by that name."""

from fpsolve._checks import FloatArray
from fpsolve.processes import Process
from fpsolve.scores._adapter import Adapter, Model, Order, Time
from fpsolve.scores._conversions import from_flow, from_salimans_ho
from fpsolve.scores._probe import admit

__all__ = ["FlowVelocity", "Velocity", "from_flow_velocity", "from_velocity"]


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
