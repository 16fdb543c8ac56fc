"""What adapters share: one formula per kind of prediction, how a user's model is called, and torch modules.

Throughout ``x = a x_0 + s eps`` with ``a = alpha(0, t)``, ``s = sqrt(sigma2(0, t))`` of the process, and every model is
the conditional expectation of something given x: of the noise eps, of the data x_0, of a velocity. Torch modules are
known by duck typing: batches of tensors in, numpy out, no import of torch.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Self, TypeAlias

import numpy as np

from fpsolve import _checks
from fpsolve._checks import FloatArray, finite, instances, real_array
from fpsolve.processes import Process
from fpsolve.scores._base import answer, as_numpy, name_of

Conversion: TypeAlias = Callable[[Process, float, FloatArray, FloatArray], FloatArray]


def transition(process: Process, t: float) -> tuple[float, float]:
    """Return ``a = alpha(0, t)`` and ``s = sqrt(sigma2(0, t))``; refuse times without noise."""
    process = process.reaching(t)
    variance = float(process.variance(0.0, t))
    if not variance > 0.0:
        raise _checks.error("t", "a time with noise, sigma2(0, t) > 0", t, "stop at some t_min > 0")
    return float(process.scale(0.0, t)), float(np.sqrt(variance))


def from_noise(process: Process, t: float, x: FloatArray, eps: FloatArray) -> FloatArray:
    """Return ``-eps/s``."""
    return -eps / transition(process, t)[1]


def from_data(process: Process, t: float, x: FloatArray, data: FloatArray) -> FloatArray:
    """Return ``(a D - x)/s^2`` for a denoiser D, the expectation of x_0."""
    a, s = transition(process, t)
    return (a * data - x) / s**2


def from_salimans_ho(process: Process, t: float, x: FloatArray, v: FloatArray) -> FloatArray:
    """Return ``-(s x + a v)/(s (a^2 + s^2))`` for ``v = a eps - s x_0``."""
    a, s = transition(process, t)
    return -(s * x + a * v) / (s * (a**2 + s**2))


def from_flow(process: Process, t: float, x: FloatArray, u: FloatArray) -> FloatArray:
    """Return ``(a u - a' x)/(s (a' s - a s'))`` for ``u = a' x_0 + s' eps``, primes the derivatives in t.

    With ``a' = rate a`` and ``(s^2)' = 2 rate s^2 + g^2`` of the process this is ``2 (rate x - u)/g^2``: u is the
    velocity of the probability flow, in forward time.
    """
    a, s = transition(process, t)
    process = process.reaching(t)
    if a == 0.0:
        # nothing is left of the data, p_t is N(0, s^2) whatever the model says, and rate and g are infinite
        return -x / s**2
    return 2.0 * (process.drift_rate(t) * x - u) / process.diffusion(t) ** 2


def unchanged(process: Process, t: float, x: FloatArray, score: FloatArray) -> FloatArray:
    """Return the score itself."""
    return score


#: What a model may be, and how it becomes a score; the EDM denoiser is a denoiser with other arguments.
KINDS: dict[str, Conversion] = {
    "score": unchanged,
    "noise prediction": from_noise,
    "denoiser": from_data,
    "velocity": from_salimans_ho,
    "flow velocity": from_flow,
}

#: The adapter of every kind.
ADAPTERS = {
    "noise prediction": "from_noise_prediction",
    "denoiser": "from_denoiser",
    "velocity": "from_velocity",
    "flow velocity": "from_flow_velocity",
}

Model: TypeAlias = Callable[..., Any]
#: Which argument of the model comes first.
Order: TypeAlias = Literal["t, x", "x, t"]
#: The time a model is given: a factor times t, or any function of t.
Time: TypeAlias = float | Callable[[float], Any]


@dataclass(frozen=True, eq=False, repr=False)
class Adapter(ABC):
    """A model of some kind as a score ``s(t, x)``.

    Attributes
    ----------
    model : callable
        The user's.
    process : Process
        Forward process it was trained for.
    time : float or callable
        What the model is given for t: ``time * t``, or ``time(t)``.
    order : "t, x" or "x, t"
        The order of its arguments.
    """

    model: Model
    process: Process
    time: Time = 1.0
    order: Order = "t, x"

    #: What it is called in messages, among the kinds that a probe tells apart.
    kind: ClassVar[str]
    #: The function that makes it.
    maker: ClassVar[str]

    def __post_init__(self) -> None:
        instances(process=(self.process, Process))
        if not callable(self.model):
            raise _checks.error("model", "a callable model", name_of(self.model)[:60])
        _checks.one_of("order", self.order, ("t, x", "x, t"))
        if not callable(self.time):
            _checks.positive("time", self.time, remedy="give the factor of t, or a function of t")

    def __call__(self, t: float, x: Any) -> FloatArray:
        """Return the score at the points x, of their shape.

        Raises
        ------
        ValueError
            If the model returns another shape, NaN or infinities (with the first place), or t has no noise.
        """
        t, points = finite("t", t), real_array("x", x)
        return self.convert(t, points, answer(self.kind, t, points, self.predict(t, points)))

    def predict(self, t: float, x: FloatArray) -> Any:
        """Return the model's own answer at time t and points x."""
        return self._ask(self.time(t) if callable(self.time) else self.time * t, x)

    def _ask(self, time: Any, x: FloatArray) -> Any:
        return self.model(time, x) if self.order == "t, x" else self.model(x, time)

    def exchanged(self) -> Self:
        """Return the adapter that calls the model with its arguments in the other order."""
        return replace(self, order="x, t" if self.order == "t, x" else "t, x")

    @abstractmethod
    def convert(self, t: float, x: FloatArray, prediction: FloatArray) -> FloatArray:
        """Return the score from the model's answer."""

    def __repr__(self) -> str:
        """Return the call that makes it, the same text in every run."""
        options = "" if self.time == 1.0 else f", time={name_of(self.time)}"
        options += "" if self.order == "t, x" else f", order={self.order!r}"
        return f"{self.maker}({name_of(self.model)}, {self.process!r}{options})"


__all__ = ["TorchModel", "from_torch"]

#: Points beyond this may be none of float16, which ends at 65504.
LARGE = 6e4


@dataclass(frozen=True, eq=False, repr=False)
class TorchModel:
    """A torch module called with numpy arrays; see `from_torch`."""

    module: Callable[..., Any]
    dim: int
    order: Order = "x, t"
    tensor: Callable[[FloatArray], Any] | None = None
    batch: int = 65_536
    timesteps: Any = None
    integer: bool = False
    quiet: bool = True
    _said: list[str] = field(default_factory=list)

    def __call__(self, t: float, x: Any) -> FloatArray:
        """Return what the module gives at the points x, of their shape, as float64."""
        points = real_array("x", x)
        if self.dim == 2 and points.shape[-1:] != (2,):
            raise _checks.error("x", "points of shape (..., 2) for dim = 2", f"shape {points.shape}")
        flat = points.reshape(-1, self.dim)
        total: FloatArray = np.zeros(flat.shape)
        for time, share in self._times(float(t)):
            parts = [self._batch(time, flat[i : i + self.batch]) for i in range(0, len(flat), self.batch)]
            total = total + share * np.concatenate(parts) if parts else total
        return total.reshape(points.shape)

    def _times(self, t: float) -> list[tuple[float | int, float]]:
        """What the module is given for t, with the share of each: of integers the two next to it."""
        step = self.timesteps
        time = t if step is None else getattr(step, "timestep_of", step)(t)
        if not self.integer:
            return [(float(time), 1.0)]
        last = getattr(step, "levels", None)
        time = max(float(time), 0.0) if last is None else min(max(float(time), 0.0), last - 1.0)
        low = int(np.floor(time))
        return [(n, share) for n, share in ((low, 1.0 - (time - low)), (low + 1, time - low)) if share > 0.0]

    def _batch(self, t: float | int, rows: FloatArray) -> FloatArray:
        make, torch = self._maker(), sys.modules.get("torch")
        kind = {"dtype": torch.int64} if torch is not None and self.integer and self.tensor is None else {}
        pair = make(rows), make(np.full(len(rows), t), **kind)
        if not self._said or np.abs(rows).max(initial=0.0) > LARGE:
            as_numpy("x as a tensor of the module's type", pair[0])
        with nullcontext() if torch is None else torch.no_grad():
            value = self.module(*pair) if self.order == "x, t" else self.module(*reversed(pair))
        found, where = _prediction(value)
        answered = np.asarray(as_numpy(f"module at t = {t:g}", found), dtype=np.float64)
        if answered.shape != rows.shape and not (self.dim == 1 and answered.shape == rows.shape[:1]):
            remedy = "return one row per point"
            raise _checks.error(f"module at t = {t:g}", f"a tensor of shape {rows.shape}", f"{answered.shape}", remedy)
        self._say(pair, where, t)
        return answered.reshape(rows.shape)

    def _maker(self) -> Callable[..., Any]:
        """From numpy to a tensor of the type and on the device of the module's parameters."""
        if self.tensor is not None:
            return self.tensor
        parameters: Any = getattr(self.module, "parameters", None)
        like = next(iter(parameters()), None) if callable(parameters) else None
        if like is None:
            remedy = "say tensor=torch.as_tensor"
            raise _checks.error("tensor", "a function from numpy to tensors", "a module without parameters", remedy)
        make: Callable[..., Any] = like.new_tensor
        return make

    def _say(self, pair: tuple[Any, Any], where: str, t: float | int) -> None:
        """One line to standard error, once: what the module was given, and what was taken of its answer."""
        if self._said:
            return
        kinds = [str(getattr(part, "dtype", type(part).__name__)).removeprefix("torch.") for part in pair]
        place = f" on {pair[0].device}" if hasattr(pair[0], "device") else ""
        between = ", linear between two of them" if self.integer else ""
        mode = "; it is in training mode: call module.eval()" if getattr(self.module, "training", False) else ""
        self._said.append(
            f"from_torch: {type(self.module).__name__} gets x (n, {self.dim}) of {kinds[0]}{place} and t (n,) of "
            f"{kinds[1]}{between}, such as {t:.6g}, in batches of {self.batch}; of its answer {where} is taken{mode}."
        )
        if not self.quiet:
            print(self._said[0], file=sys.stderr)

    def __repr__(self) -> str:
        """Return the call that makes it, the same text in every run."""
        return f"from_torch({name_of(self.module)}, dim={self.dim}, order={self.order!r})"


def _prediction(value: Any) -> tuple[Any, str]:
    """What a module predicts, and where in its answer it is: itself, the first of a tuple, `.sample`."""
    if isinstance(value, tuple | list) and value:
        return value[0], "the first entry"
    if isinstance(value, dict) and "sample" in value:
        return value["sample"], '["sample"]'
    sample = getattr(value, "sample", None)
    return (value, "all") if sample is None or callable(sample) else (sample, ".sample")


def from_torch(
    module: Callable[..., Any],
    *,
    dim: int,
    order: Order = "x, t",
    tensor: Callable[[FloatArray], Any] | None = None,
    batch: int = 65_536,
    timesteps: Process | Callable[[float], float] | None = None,
    integer: bool = False,
    device: Any = None,
    dtype: Any = None,
    quiet: bool = False,
) -> TorchModel:
    """Return a torch module as a function of numpy arrays, to be handed to the adapter of what it predicts.

    Points are given as a batch (n, dim), times as a batch (n,) of equal numbers, both of the type and on the device
    of the module's first parameter (by its ``new_tensor``), without a graph; the answer is taken off its device.
    Nothing is imported: any object with the same methods will do. Functions of JAX take and return what numpy
    understands and need no adapter. At its first call the model says in one line what it did.

    Parameters
    ----------
    module : callable
        ``module(x, t)``, which returns a tensor, a tuple whose first entry it is, or an object (or dict) with it in
        ``.sample``; put it into evaluation mode first (``module.eval()``).
    dim : int
        1 or 2. In 1D answers of shape (n, 1) and (n,) are taken.
    order : "x, t" or "t, x"
        The order of its arguments, default "x, t".
    tensor : callable, optional
        From a float64 array to a tensor, for modules without parameters or another type: ``torch.as_tensor``.
    batch : int, default 65,536
        Points per call.
    timesteps : Process or callable, optional
        What the module takes for t: the process of a table, whose ``timestep_of(t)`` it is (`FromAlphasCumprod`), or a
        function. Default: t itself.
    integer : bool, default False
        Whether the module takes integers only (an embedding of every timestep). Between two of them its answers are
        interpolated linearly, two calls in place of one; before the first the first is taken.
    device, dtype : optional
        Moves the module there first, ``module.to(device=..., dtype=...)``. bfloat16 is refused: its two to three digits
        are no score.
    quiet : bool, default False
        Say nothing.

    Returns
    -------
    TorchModel
        ``model(t, x)`` from numpy to numpy.

    Raises
    ------
    ValueError
        A device or type for what has no method ``to``. At a call: another number of points, a type numpy does not have
        (bfloat16); points or answers that are integers, booleans, complex, or beyond float16.

    Examples
    --------
    >>> import fpsolve as fp
    >>> class Tensor:  # what is used of torch.Tensor
    ...     def __init__(self, array): self.array = array
    ...     def new_tensor(self, array): return Tensor(array.astype("float32"))
    ...     def detach(self): return self
    ...     def cpu(self): return self
    ...     def numpy(self): return self.array
    >>> class Module:
    ...     def parameters(self): return [Tensor(None)]
    ...     def __call__(self, x, t): return Tensor(t.array[:, None] ** 0 * x.array)
    >>> model = from_torch(Module(), dim=1)
    >>> model(0.5, [1.0, 2.0])
    array([1., 2.])
    """
    if not callable(module):
        raise _checks.error("module", "a callable module", repr(module)[:60])
    _checks.one_of("order", order, ("x, t", "t, x"))
    if not (timesteps is None or callable(getattr(timesteps, "timestep_of", timesteps))):
        raise _checks.error("timesteps", "a process with timestep_of(t), or a function of t", repr(timesteps)[:60])
    given = {name: value for name, value in (("device", device), ("dtype", dtype)) if value is not None}
    if "bfloat16" in str(dtype):
        raise _checks.error("dtype", "a type of at least float16's digits", "bfloat16", "use torch.float32")
    if given:
        mover: Any = module
        if not callable(getattr(mover, "to", None)):
            remedy = "say what tensors to make: tensor=lambda a: torch.as_tensor(a, ...)"
            raise _checks.error("module", f"one that moves, module.to({', '.join(given)})", "one without", remedy)
        module = mover.to(**given)
    flags = _checks.flag("integer", integer), _checks.flag("quiet", quiet)
    count = _checks.integer("batch", batch)
    return TorchModel(module, _checks.dimension("dim", dim), order, tensor, count, timesteps, *flags)
