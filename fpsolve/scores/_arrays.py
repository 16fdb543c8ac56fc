"""What a model answers as a float64 array: numpy, anything numpy can read, tensors that sit on a device."""

from typing import Any

import numpy as np

from fpsolve._checks import FloatArray


def as_numpy(name: str, value: Any) -> Any:
    """Return `value` as a numpy array of the type it has.

    A tensor with ``detach``, ``cpu`` and ``numpy`` (PyTorch) is taken off its graph and its device; everything else,
    JAX arrays included, is what ``numpy.asarray`` makes of it. No framework is imported.

    Raises
    ------
    ValueError
        If numpy cannot read it, or it is not of real numbers.
    """
    message = f"{name}: expected an array of real numbers, got {type(value).__name__}"
    try:
        array = value.detach().cpu().numpy() if _is_tensor(value) else np.asarray(value)
    except (TypeError, ValueError, RuntimeError):  # ragged lists, types numpy does not have
        raise ValueError(f"{message} that numpy cannot convert; return a numpy array of floats.") from None
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{message} of dtype {array.dtype}; return real floats.")
    return array


def answer(name: str, t: float, x: FloatArray, value: Any, dim: int | None = None) -> FloatArray:
    """Return what a model gave for the points x at time t as float64; refuse another shape, NaN and infinities.

    Raises
    ------
    ValueError
        With the time and, for values that are not finite, their number and the first point where they occur.
    """
    array = np.asarray(as_numpy(f"{name} at t = {t:g}", value), dtype=np.float64)
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


def _is_tensor(value: Any) -> bool:
    return all(callable(getattr(value, method, None)) for method in ("detach", "cpu", "numpy"))


def _place(x: FloatArray, bad: Any, dim: int | None) -> str:
    """The point of the first bad entry, as text."""
    first = int(bad.argmax())
    if dim == 2:
        point = x.reshape(-1, 2)[first // 2]
        return f"({point[0]:g}, {point[1]:g})"
    return f"{float(x.ravel()[first]):g}"
