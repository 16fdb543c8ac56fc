"""Columns of numbers from a .npy file."""

import hashlib
import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from fpsolve import _checks
from fpsolve.data._table import Column, Table, checked_table, positions

__all__ = ["read_npy"]


def read_npy(path: str | Path, columns: Sequence[Column] | None = None) -> Table:
    """Read columns of numbers from a ``.npy`` file.

    Parameters
    ----------
    path : path
        An array of shape (rows,) or (rows, columns), or a structured one of shape (rows,) whose fields are columns.
    columns : sequence of str or int, optional
        Columns to read, by place from 0 or, where they have names, by name; default all. Without names they are
        called "column 0", "column 1" and so on.

    Returns
    -------
    Table

    Raises
    ------
    ValueError
        The file cannot be read, is not a .npy file, holds pickled objects (they are never loaded), text, complex
        numbers, booleans or another shape, has a header that claims another size, lacks a column, has NaN or infinities
        (with the row), fewer than two rows, or a column of values that are equal up to rounding.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "mine.npy"
    ...     np.save(path, np.arange(12.0).reshape(4, 3))
    ...     table = read_npy(path, [2, 0])
    >>> table.columns, table.values[0].tolist()
    (('column 2', 'column 0'), [2.0, 0.0])
    """
    _checks.instance("path", path, str | Path, "a path")
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as reason:
        raise _checks.error("data", "a readable .npy file", f"{path}: {reason.strerror}") from None
    array, names = _columns(_loaded(content, path.name), path.name)
    index = list(range(len(names))) if columns is None else positions(columns, names, path.name)
    chosen = array[:, index]
    return checked_table(chosen, [names[k] for k in index], path.name, hashlib.sha256(content).hexdigest())


def _loaded(content: bytes, source: str) -> Any:
    """The array in the file; pickles are never loaded, since loading one runs code."""
    try:
        _check_size(content)
        array = np.load(BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, OSError) as reason:
        remedy = "save numbers: numpy.save(path, numpy.asarray(values, dtype=float))"
        raise _checks.error(source, "a .npy file of numbers", str(reason).split("\n")[0].rstrip("."), remedy) from None
    if not isinstance(array, np.ndarray):
        raise _checks.error(source, "a .npy file of one array", "an archive of several", "save one with numpy.save")
    return array


def _check_size(content: bytes) -> None:
    """Refuse a header that claims more or less than the file holds, before memory is taken for it."""
    stream = BytesIO(content)
    if not content.startswith(np.lib.format.MAGIC_PREFIX):
        return
    version = np.lib.format.read_magic(stream)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = reader(stream)
    claimed, there = math.prod(shape) * dtype.itemsize, len(content) - stream.tell()
    if claimed != there and not dtype.hasobject:
        raise ValueError(f"{there} bytes where its header claims {claimed}, for shape {shape}")


def _columns(array: Any, source: str) -> tuple[Any, list[str]]:
    """The array as (rows, columns) with the columns' names; fields of a structured array are columns."""
    if array.dtype.names:
        plain = [array.dtype[name].kind in "iuf" and array.dtype[name].shape == () for name in array.dtype.names]
        if array.ndim != 1 or not all(plain):
            got = f"shape {array.shape}, {array.dtype}"
            raise _checks.error(source, "rows of fields with one number each", got, "leave other fields out")
        return np.stack([array[name].astype(float) for name in array.dtype.names], axis=1), list(array.dtype.names)
    if array.ndim not in (1, 2) or 0 in array.shape[1:]:
        raise _checks.error(source, "shape (rows,) or (rows, columns)", f"shape {array.shape}")
    array = array.reshape(len(array), -1)
    return array, [f"column {k}" for k in range(array.shape[1])]
