"""The user's own data, CSV or .npy: columns of numbers, checked cell by cell, with the line and column of what is
wrong.
"""

import codecs
import csv
import hashlib
import math
import re
from collections.abc import Sequence
from importlib import resources
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np

from fpsolve import _checks
from fpsolve.data._table import Column, Table, checked_table, positions

#: A number as every program writes it, with blanks around.
_NUMBER = re.compile(r"[ \t]*[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?[ \t]*")
#: First bytes of what is no text: what it is, what to do.
_OTHERS = {
    b"\x1f\x8b": ("a gzip archive", "unpack it first"),
    b"BZh": ("a bzip2 archive", "unpack it first"),
    b"\xfd7zXZ": ("an xz archive", "unpack it first"),
    b"PK\x03\x04": ("a zip archive or a spreadsheet", "unpack it, or save the sheet as CSV"),
    b"\xd0\xcf\x11\xe0": ("a spreadsheet", "save the sheet as CSV"),
    b"\x93NUMPY": ("an array of numpy", "let its name end in .npy"),
    b"\x89HDF": ("an HDF5 file", "export the columns as CSV or .npy"),
    b"PAR1": ("a parquet file", "export the columns as CSV or .npy"),
    codecs.BOM_UTF32_LE: ("UTF-32", "save it as UTF-8"),
    codecs.BOM_UTF32_BE: ("UTF-32", "save it as UTF-8"),
}


def read_csv(path: str | Path, columns: Sequence[Column] | None = None) -> Table:
    """Read columns of numbers from a CSV file with a header line.

    Parameters
    ----------
    path : path
        UTF-8 text (or UTF-16 with a byte order mark), comma separated, names of the columns in the first line. Empty
        lines are skipped, and so is a last column without name and cells. Numbers are decimal, ``-1.5``, ``+.5`` or
        ``1e-3``, with blanks or tabs around; nothing else that Python would read (``3_1``, ``nan``, digits of other
        scripts, no-break spaces) is one.
    columns : sequence of str or int, optional
        Columns to read, by name or by place from 0, in this order; default all. Others may hold anything.

    Returns
    -------
    Table

    Raises
    ------
    ValueError
        The file cannot be read, is no text (packed, a spreadsheet), is separated by semicolons or tabs, begins with a
        comment, has no header (one with numbers is taken for data, unless the columns are given by name), lacks a
        column, names one twice, has a cell that is not a finite number or a row of the wrong length (with its line),
        fewer than two rows, or a column of values that are equal up to rounding.

    Examples
    --------
    >>> import fpsolve.data as data
    >>> table = data.old_faithful()
    >>> table.columns, table.values.shape
    (('eruption_min', 'waiting_min'), (272, 2))
    """
    content, source = _content(path, "a readable CSV file")
    return _parse(content, source, columns)


def old_faithful() -> Table:
    """Return the 272 eruptions of the Old Faithful geyser: duration and waiting time to the next, minutes.

    References
    ----------
    Azzalini and Bowman (1990). Applied Statistics 39, 357-365, doi:10.2307/2347385.
    """
    return _bundled("old_faithful")


def _bundled(name: str) -> Table:
    return _parse((resources.files("fpsolve.data") / f"{name}.csv").read_bytes(), f"{name}.csv", None)


def _content(path: str | Path, expected: str) -> tuple[bytes, str]:
    """Return what a file holds, and its name."""
    path = Path(_checks.instance("path", path, str | Path, "a path"))
    try:
        return path.read_bytes(), path.name
    except OSError as reason:
        raise _checks.error("data", expected, f"{path}: {reason.strerror}") from None


def _parse(content: bytes, source: str, columns: Sequence[Column] | None) -> Table:
    text = _text(content, source)
    _check_separators(text, source)
    rows = _rows(text, source)
    if not rows:
        raise _checks.error(source, "a header line with the names of the columns", "an empty file")
    header = tuple(name.strip() for name in rows[0][1])
    names_follow = len(rows) > 1 and not any(_like_a_value(cell.strip()) for cell in rows[1][1])
    if header[0].startswith("#") and len(rows) > 1 and (names_follow or len(rows[1][1]) != len(header)):
        remedy = "remove the lines that start with #"
        raise _checks.error(source, "names of the columns in the first line", f"a comment: {header[0]!r}", remedy)
    _check_header(header, source, columns)
    index = list(range(len(header))) if columns is None else positions(columns, header, source)
    if len(rows) < 3:
        raise _checks.error(source, "at least two rows of data", f"{len(rows) - 1}")
    values = np.array([_numbers(row, line, index, header, source) for line, row in rows[1:]])
    return checked_table(values, [header[k] for k in index], source, hashlib.sha256(content).hexdigest())


def _text(content: bytes, source: str) -> str:
    """Decode UTF-8, or UTF-16 that says so by its byte order mark; say what anything else is."""
    for start, kind in _OTHERS.items():
        if content.startswith(start):
            raise _checks.error(source, "comma separated UTF-8 text", kind[0], kind[1])
    # utf-8-sig: spreadsheets write a byte order mark in front of the first name
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and b"\0" in content
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as reason:
        line = content.count(b"\n", 0, reason.start) + 1
        got = f"the byte 0x{content[reason.start]:02x} in line {line}"
        raise _checks.error(source, "comma separated UTF-8 text", got, "save it as UTF-8") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        got = f"a NUL character in line {line}, as in UTF-16 without a byte order mark"
        raise _checks.error(source, "comma separated UTF-8 text", got, "save it as UTF-8")
    return text


def _check_separators(text: str, source: str) -> None:
    """Refuse semicolons and tabs as separators, whatever the header: ``1,5;2,5`` has three cells between its commas."""
    plain = re.sub(r'"(?:[^"]|"")*"', '""', text)
    lines = [(k, line) for k, line in enumerate(re.split("\r\n|\r|\n", plain), start=1) if line.strip()]
    first = lines[0][1] if lines else ""
    for mark, name in {";": "semicolons", "\t": "tabs"}.items():
        near = re.compile(rf"\d *{mark}|{mark} *[-+.,]?\d")
        counts = {line.count(mark) for _, line in lines[1:]}
        among_numbers = len(counts) == 1 and 0 not in counts and all(near.search(line) for _, line in lines[1:])
        if among_numbers or (mark in first and "," not in first):
            k, line = lines[0] if mark in first else lines[1]
            remedy = "save it with commas, and with decimal points; put text that contains them in quotes"
            # what stood in quotes is not in the line any more
            got = name if '"' in line else f"{name} in {line[:60]!r}"
            raise _checks.error(f"{source}, line {k}", "comma separated columns", got, remedy)


def _check_header(header: tuple[str, ...], source: str, columns: Sequence[Column] | None) -> None:
    if len(set(header)) < len(header):
        raise _checks.error(source, "a different name for every column", ", ".join(header))
    numbers = [name for name in header if _like_a_value(name)]
    named = columns is not None and all(isinstance(column, str) for column in columns)
    if len(numbers) == len(header) or (numbers and not named):
        # the first row of data would otherwise be lost in silence
        shown = ", ".join(numbers[:4])
        remedy = "add a header line" + ("" if len(numbers) == len(header) else ", or name the columns if it is one")
        raise _checks.error(source, "names of the columns in the first line", f"numbers: {shown}", remedy)


def _like_a_value(name: str) -> bool:
    """Whether a cell of the first line may be data: anything Python reads as a number, a gap; liberal, for once."""
    if name.lower() in {"na", "n/a", "null"}:
        return True
    try:
        float(name.replace(",", "."))
    except ValueError:
        return False
    return True


def _rows(text: str, source: str) -> list[tuple[int, list[str]]]:
    """Return (line number, cells) of every line that is not empty, without a last column that is empty throughout."""
    reader = csv.reader(StringIO(text, newline=""), strict=True)
    try:
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as reason:
        got = f"{reason} (line {reader.line_num})"
        raise _checks.error(source, "comma separated UTF-8 text", got, 'write " within quotes as ""') from None
    while rows and len({len(row) for _, row in rows}) == 1 and not any(row[-1].strip() for _, row in rows):
        rows = [(line, row[:-1]) for line, row in rows]
    return rows


def _numbers(row: list[str], line: int, index: list[int], header: tuple[str, ...], source: str) -> list[float]:
    if len(row) != len(header):
        remedy = "no comma at the end of a line, decimal points, quotes around text with commas"
        raise _checks.error(f"{source}, line {line}", f"{len(header)} cells", f"{len(row)}", remedy)
    return [_number(row[k], f"{source}, line {line}, column {header[k]!r}") for k in index]


def _number(cell: str, where: str) -> float:
    """A decimal number. Python's `float` takes more: 3_1, digits of other scripts, nan, infinity, odd blanks."""
    value = float(cell) if _NUMBER.fullmatch(cell) else math.nan
    if not math.isfinite(value):
        comma = re.fullmatch(r" *[-+]?\d+,\d+ *", cell)
        remedy = "write a decimal point" if comma else "correct the cell or remove the row"
        raise _checks.error(where, "a finite number", repr(cell[:60]), remedy)
    return value


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
    content, source = _content(path, "a readable .npy file")
    array, names = _columns(_loaded(content, source), source)
    index = list(range(len(names))) if columns is None else positions(columns, names, source)
    return checked_table(array[:, index], [names[k] for k in index], source, hashlib.sha256(content).hexdigest())


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


#: Names that stand for the bundled tables where a file is expected; a text beside each says where it comes from.
BUNDLED = ("old_faithful", "penguins", "seattle_rain", "sunspots")


def read(file: str | Path, columns: Sequence[Column] | None = None) -> Table:
    """Read columns of numbers from a CSV or .npy file.

    Parameters
    ----------
    file : path
        ``.npy``: see `read_npy`; anything else is read as CSV with a header line, see `read_csv`. Four names stand
        for bundled tables: "old_faithful" (eruption_min, waiting_min), "penguins" (bill_length_mm, bill_depth_mm,
        flipper_length_mm, body_mass_g), "seattle_rain" (year, month, day, precipitation_mm of wet days), "sunspots"
        (year, sunspots).
    columns : sequence of str or int, optional
        Columns to read, by name or by place from 0, in this order; default all. A law takes one or two.

    Returns
    -------
    Table
        Hand it to `standardise`, or its ``samples`` to ``fpsolve.KernelDensity``.

    Raises
    ------
    ValueError
        What is wrong with the file, with line or row and column.

    Examples
    --------
    From a file to a law:

    >>> import fpsolve as fp
    >>> mine = fp.data.standardise(fp.data.read("old_faithful", ["waiting_min"]))
    >>> fp.KernelDensity(mine.samples)
    KernelDensity(272 samples, bandwidth=0.3259...)

    References
    ----------
    Azzalini and Bowman 1990, doi:10.2307/2347385; Gorman, Williams and Fraser 2014, doi:10.1371/journal.pone.0090081;
    rain and sunspots: NOAA.
    """
    _checks.instance("file", file, str | Path, "a path")
    if str(file) in BUNDLED:
        table = _bundled(str(file))
        return table if columns is None else table.select(columns)
    suffix = Path(file).suffix.lower()
    if suffix in {".npz", ".pkl", ".pickle", ".xlsx", ".xls", ".parquet", ".h5", ".mat"}:
        raise _checks.error("file", "a CSV or .npy file", str(file), "export the columns to one of these")
    return read_npy(file, columns) if suffix == ".npy" else read_csv(file, columns)
