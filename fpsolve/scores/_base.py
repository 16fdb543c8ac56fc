"""What a score is: the border it passes, arrays in and out, torch modules, its name, the exact one.

What a model answers is read as a float64 array: of numpy, anything numpy can read, tensors that sit on a device. Torch
modules are known by duck typing: batches of tensors in, numpy out, no import of torch. Central differences have exact
weights, so that a constant has the derivative zero on every machine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from math import factorial
from typing import Any, Literal, TypeAlias

import numpy as np

from fpsolve import _checks
from fpsolve._callables import answer_of
from fpsolve._checks import FloatArray, error, finite, real_array
from fpsolve.laws import Law
from fpsolve.marginals import Marginals, family
from fpsolve.processes import Process


def name_of(value: Any) -> str:
    """Return a short description of a callable that does not change from run to run.

    Functions by module and name, lambdas with their line, partials with their arguments, any other object by its
    ``repr`` unless that shows an address; then by its class.

    Examples
    --------
    >>> import math
    >>> name_of(math.hypot)
    'math.hypot'
    >>> name_of(object())
    'builtins.object'
    """
    if isinstance(value, partial):
        given = [name_of(value.func), *map(repr, value.args), *(f"{k}={v!r}" for k, v in value.keywords.items())]
        return f"partial({', '.join(given)})"
    qualified = getattr(value, "__qualname__", None)
    if qualified is not None:
        name = f"{value.__module__}.{qualified}".replace("<locals>.", "")
        code = getattr(value, "__code__", None)
        return f"{name}, line {code.co_firstlineno}" if code is not None and "<lambda>" in name else name
    shown = repr(value)
    if " at 0x" not in shown and "\n" not in shown:
        return shown
    kind = type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def as_numpy(name: str, value: Any, *, whole: bool = False) -> Any:
    """Return `value` as a numpy array of the type it has; `whole`: also one of integers.

    A tensor with ``detach``, ``cpu`` and ``numpy`` (PyTorch) is taken off its graph and its device; everything else,
    JAX arrays included, is what ``numpy.asarray`` makes of it. No framework is imported.

    Raises
    ------
    ValueError
        If numpy cannot read it, or it is not of real numbers; integers, which have lost their digits; NaN and
        infinities of float16, which ends at 65504.
    """
    message = f"{name}: expected an array of real numbers, got {type(value).__name__}"
    tensor = all(callable(getattr(value, method, None)) for method in ("detach", "cpu", "numpy"))
    try:
        array = value.detach().cpu().numpy() if tensor else np.asarray(value)
    except (TypeError, ValueError, RuntimeError):  # ragged lists, types numpy does not have
        raise ValueError(f"{message} that numpy cannot convert; return a numpy array of floats.") from None
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{message} of dtype {array.dtype}; return real floats.")
    if array.dtype.kind in "iu" and not whole:
        raise error(name, "floats", f"integers ({array.dtype})", "return floats: integers cut the digits off")
    if array.dtype == np.float16 and not np.isfinite(array).all():
        got = f"{int((~np.isfinite(array)).sum())} NaN or infinite of {array.size} in float16, which ends at 65504"
        raise error(name, "finite numbers", got, "compute in float32")
    return array


def answer(
    name: str, t: float, x: FloatArray, value: Any, dim: int | None = None, *, whole: bool = False
) -> FloatArray:
    """Return what a model gave for the points x at time t as float64; refuse another shape, NaN and infinities.

    Raises
    ------
    ValueError
        With the time and, for values that are not finite, their number and the first point where they occur.
    """
    array = np.asarray(as_numpy(f"{name} at t = {t:g}", value, whole=whole), dtype=np.float64)
    if array.shape != x.shape:
        raise ValueError(
            f"{name} at t = {t:g}: expected the shape of x, {x.shape}, got {array.shape}; "
            "return one number (1D) or vector (2D) per point."
        )
    bad = ~np.isfinite(array)
    if bad.any():
        raise ValueError(
            f"{name} at t = {t:g}: expected finite numbers, got {int(bad.sum())} NaN or infinite of {array.size}, "
            f"the first where x = {_place(x, bad, dim)}; evaluate in logarithms, not as a ratio of densities."
        )
    return array


def _place(x: FloatArray, bad: Any, dim: int | None) -> str:
    """The point of the first bad entry, as text."""
    first = int(bad.argmax())
    if dim == 2:
        point = x.reshape(-1, 2)[first // 2]
        return f"({point[0]:g}, {point[1]:g})"
    return f"{float(x.ravel()[first]):g}"


Score: TypeAlias = Callable[[float, FloatArray], FloatArray]


@dataclass(frozen=True, eq=False, repr=False)
class CheckedScore:
    """A user's score, whose every answer is checked: shape of x, real, finite.

    Parameters
    ----------
    score : callable
        ``score(t, x)``, t a float, x of shape ``(...)`` in 1D or ``(..., 2)`` in 2D.
    dim : int, optional
        1 or 2; known, messages name whole points.
    """

    score: Callable[[float, Any], Any]
    dim: int | None = None

    def __call__(self, t: float, x: Any) -> FloatArray:
        """Return ``score(t, x)`` as float64; tensors are taken off their device.

        Raises
        ------
        ValueError
            If it is of another shape than x, complex, an array of integers, not numeric, or not finite; the message
            says at which t.
        """
        t, x = finite("t", t), real_array("x", x)
        value = answer_of(f"score at t = {t:g}", self.score, t, x)
        # whole numbers written as a list are meant, an array of integers has cut off digits
        return answer("score", t, x, value, self.dim, whole=isinstance(value, list | tuple | int))

    def __repr__(self) -> str:
        """Return the description of the score that is checked."""
        return name_of(self.score)


def checked(score: Callable[[float, Any], Any], dim: int | None = None) -> CheckedScore:
    """Return `score` behind the check, itself if it is behind it already.

    Raises
    ------
    ValueError
        If `score` is not callable.

    Examples
    --------
    >>> from fpsolve.scores import checked
    >>> float(checked(lambda t, x: -x)(0.5, 2.0))
    -2.0
    """
    if isinstance(score, CheckedScore):
        return score
    if not callable(score):
        raise ValueError(f"score: expected a callable score(t, x), got {score!r}; leave it out for the exact score.")
    return CheckedScore(score, dim)


def breaks_of(part: Any) -> tuple[float, ...]:
    """Return the times at which a part of a score jumps or bends; AttributeError where it does not say all of them.

    Scores without the attribute `breaks` are looked at in time by every run, which costs more than the run.
    """
    if isinstance(part, Process):
        if part.joints.steep or part.joints.rough:
            raise AttributeError(f"{part!r} changes quickly, or too often to say when")
        return part.joints.times
    found: tuple[float, ...] = part.breaks
    return found


@dataclass(frozen=True, eq=False, repr=False)
class ExactScore:
    """``s(t, x) = grad log p_t(x)``; `marginals` is the family p_t."""

    marginals: Marginals

    def __call__(self, t: float, x: Any) -> FloatArray:
        """Return the score at the points x, shape ``(...)`` in 1D, ``(..., 2)`` in 2D, and of that shape."""
        time, process = finite("t", t), self.marginals.process
        # beyond T a churn at the highest noise level asks
        longer = process.reaching(time)
        return (self.marginals if longer is process else family(self.marginals.target, longer)).score(time, x)

    @property
    def breaks(self) -> tuple[float, ...]:
        """Those of the process, in time nothing else is rough; no such attribute where it changes in other ways."""
        return breaks_of(self.marginals.process)

    def __repr__(self) -> str:
        """Return the call that makes it."""
        return f"exact({self.marginals.target!r}, {self.marginals.process!r})"


def exact(target: Law, process: Process) -> ExactScore:
    """Return the exact score of `process` started from `target`.

    Parameters
    ----------
    target : Law
        p_0.
    process : Process
        Forward process.

    Examples
    --------
    >>> import fpsolve as fp
    >>> score = fp.scores.exact(fp.Gaussian(0.0, std=1.0), fp.OrnsteinUhlenbeck(T=3.0))
    >>> float(score(0.5, 2.0))
    -2.0
    """
    return ExactScore(family(target, process))


def first_derivative(order: int) -> list[float]:
    r"""Return the weights ``w_k`` of ``f'(x) = sum_k w_k (f(x + kh) - f(x - kh))/h``, k = 1 to m, exact to order 2m.

    .. math:: w_k = (-1)^{k+1} \frac{(m!)^2}{k (m - k)! (m + k)!}.

    In closed form: weights from a linear solve carry its rounding errors, which differ between processors, and what
    they sum up to in place of zero is multiplied by ``f/h``.

    References
    ----------
    Fornberg 1988, doi:10.1090/S0025-5718-1988-0935077-0.

    Examples
    --------
    >>> first_derivative(4) == [2 / 3, -1 / 12]
    True
    """
    m = order // 2
    return [-((-1) ** k) * factorial(m) ** 2 / (k * factorial(m - k) * factorial(m + k)) for k in range(1, m + 1)]


#: Which argument of the model comes first.
Order: TypeAlias = Literal["t, x", "x, t"]
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
