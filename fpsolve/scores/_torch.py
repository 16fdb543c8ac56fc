"""Torch modules by duck typing: batches of tensors in, numpy out, no import of torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fpsolve import _checks
from fpsolve._checks import FloatArray, real_array
from fpsolve.scores._adapter import Order
from fpsolve.scores._base import as_numpy, name_of

__all__ = ["TorchModel", "from_torch"]


@dataclass(frozen=True, eq=False, repr=False)
class TorchModel:
    """A torch module called with numpy arrays; see `from_torch`."""

    module: Callable[..., Any]
    dim: int
    order: Order = "x, t"
    tensor: Callable[[FloatArray], Any] | None = None
    batch: int = 65_536

    def __call__(self, t: float, x: Any) -> FloatArray:
        """Return what the module gives at the points x, of their shape, as float64."""
        points = real_array("x", x)
        if self.dim == 2 and points.shape[-1:] != (2,):
            raise _checks.error("x", "points of shape (..., 2) for dim = 2", f"shape {points.shape}")
        flat = points.reshape(-1, self.dim)
        parts = [self._batch(float(t), flat[i : i + self.batch]) for i in range(0, len(flat), self.batch)]
        return np.concatenate(parts).reshape(points.shape) if parts else np.zeros(points.shape)

    def _batch(self, t: float, rows: FloatArray) -> FloatArray:
        make = self._maker()
        pair = make(rows), make(np.full(len(rows), t))
        value = self.module(*pair) if self.order == "x, t" else self.module(*reversed(pair))
        answered = np.asarray(as_numpy(f"module at t = {t:g}", value), dtype=np.float64)
        if answered.shape != rows.shape and not (self.dim == 1 and answered.shape == rows.shape[:1]):
            remedy = "return one row per point"
            raise _checks.error(f"module at t = {t:g}", f"a tensor of shape {rows.shape}", f"{answered.shape}", remedy)
        return answered.reshape(rows.shape)

    def _maker(self) -> Callable[[FloatArray], Any]:
        """From numpy to a tensor of the type and on the device of the module's parameters."""
        if self.tensor is not None:
            return self.tensor
        parameters: Any = getattr(self.module, "parameters", None)
        like = next(iter(parameters()), None) if callable(parameters) else None
        if like is None:
            remedy = "say tensor=torch.as_tensor"
            raise _checks.error("tensor", "a function from numpy to tensors", "a module without parameters", remedy)
        make: Callable[[FloatArray], Any] = like.new_tensor
        return make

    def __repr__(self) -> str:
        """Return the call that makes it, the same text in every run."""
        return f"from_torch({name_of(self.module)}, dim={self.dim}, order={self.order!r})"


def from_torch(
    module: Callable[..., Any],
    *,
    dim: int,
    order: Order = "x, t",
    tensor: Callable[[FloatArray], Any] | None = None,
    batch: int = 65_536,
) -> TorchModel:
    """Return a torch module as a function of numpy arrays, to be handed to the adapter of what it predicts.

    Points are given as a batch (n, dim), times as a batch (n,) of equal numbers, both of the type and on the device
    of the module's first parameter (by its ``new_tensor``); the answer is taken off its graph and device. Nothing is
    imported: any object with the same methods will do. Functions of JAX take and return what numpy understands and
    need no adapter.

    Parameters
    ----------
    module : callable
        ``module(x, t)``; put it into evaluation mode first (``module.eval()``).
    dim : int
        1 or 2. In 1D answers of shape (n, 1) and (n,) are taken.
    order : "x, t" or "t, x"
        The order of its arguments, default "x, t".
    tensor : callable, optional
        From a float64 array to a tensor, for modules without parameters or another type: ``torch.as_tensor``.
    batch : int, default 65,536
        Points per call.

    Returns
    -------
    TorchModel
        ``model(t, x)`` from numpy to numpy.

    Raises
    ------
    ValueError
        At a call: another number of points, a type numpy does not have (bfloat16).

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
    return TorchModel(module, _checks.dimension("dim", dim), order, tensor, _checks.integer("batch", batch))
