"""Data at the border: a CSV is read exactly or refused with the cell that is wrong."""

import gzip
import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fpsolve as fp
from fpsolve import data


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_old_faithful_is_the_table_of_azzalini_and_bowman() -> None:
    table = data.old_faithful()
    assert table.columns == ("eruption_min", "waiting_min")
    assert table.values.shape == (272, 2)
    # the means that R prints for its data set `faithful`
    np.testing.assert_allclose(table.values.mean(axis=0), [3.487783, 70.89706], atol=5e-6)
    assert table.values[0].tolist() == [3.6, 79.0]
    assert table.values[-1].tolist() == [4.467, 74.0]


@pytest.mark.parametrize(
    ("name", "rows", "source", "means"),
    [
        ("old_faithful", 272, "10.2307/2347385", {"waiting_min": 70.897059}),
        # what R prints for palmerpenguins without its two empty rows
        ("penguins", 342, "CC0", {"flipper_length_mm": 200.91520, "body_mass_g": 4201.7544}),
        ("seattle_rain", 623, "public domain", {"precipitation_mm": 7.1043339}),
        ("sunspots", 309, "public domain", {"year": 1854.0, "sunspots": 49.752104}),
    ],
)
def test_bundled_tables_name_their_source_and_their_checksum(name, rows, source, means) -> None:
    folder = resources.files("fpsolve.data")
    checksum = hashlib.sha256((folder / f"{name}.csv").read_bytes()).hexdigest()
    provenance = (folder / f"{name}.txt").read_text()
    table = data.read(name)
    assert checksum in provenance and table.sha256 == checksum and source in provenance
    assert len(table.values) == rows and data.read(name, [1]).columns == table.columns[1:2]
    for column, mean in means.items():
        assert table.select([column]).samples.mean() == pytest.approx(mean, rel=5e-7), column


def test_columns_come_in_the_order_asked_for_and_others_may_hold_anything(tmp_path: Path) -> None:
    path = write(tmp_path, "a,note,b\n1,x,2\n3,,4\n\n5,z,7\n")
    table = data.read_csv(path, ["b", "a"])
    assert table.columns == ("b", "a")
    assert table.values.tolist() == [[2.0, 1.0], [4.0, 3.0], [7.0, 5.0]]
    assert table.samples.shape == (3, 2)
    assert table.select(["a"]).samples.tolist() == [1.0, 3.0, 5.0]


def test_spreadsheet_files_with_byte_order_mark_and_carriage_returns_are_read(tmp_path: Path) -> None:
    path = write(tmp_path, b"\xef\xbb\xbfa , b\r\n1,2\r\n3,5\r\n")
    assert data.read_csv(path, ["a", "b"]).values.tolist() == [[1.0, 2.0], [3.0, 5.0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,c\n1,2\n3,4\n", r"table\.csv: expected a column named 'b', got the columns a, c"),
        ("a,b\n1,2\n3,four\n", r"table\.csv, line 3, column 'b': expected a finite number, got 'four'"),
        ("a,b\n1,2\n\n3,\n", r"line 4, column 'b': expected a finite number, got ''"),
        ("a,b\n1,nan\n3,4\n", r"line 2, column 'b': expected a finite number, got 'nan'"),
        ("a,b\n1,inf\n3,4\n", r"line 2, column 'b': expected a finite number, got 'inf'"),
        ("a,b\n1,2\n3\n", r"line 3: expected 2 cells, got 1"),
        ("a,b\n1,2\n", r"expected at least two rows of data, got 1"),
        ("a,b\n", r"expected at least two rows of data, got 0"),
        ("", r"expected a header line .*, got an empty file"),
        ("a,b\n1,7\n2,7\n", r"column 'b': expected values that differ, got 7 in every row; leave"),
        ("a,a\n1,7\n2,7\n", r"a different name for every column"),
        (b"a,b\n\xff\xfe,1\n", r"expected comma separated UTF-8 text"),
        ('a,b\n"1,2\n', r"expected comma separated UTF-8 text"),
        ("1.5,2\n3,4\n5,7\n", r"names of the columns in the first line, got numbers: 1\.5, 2; add a header line"),
        ("a;b\n1;2\n3;4\n", r"expected comma separated columns, got semicolons in 'a;b'; save it with commas"),
        ("a\tb\n1\t2\n3\t4\n", r"expected comma separated columns, got tabs"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.read_csv(write(tmp_path, text), ["a", "b"])


@pytest.mark.parametrize(
    "cell",
    # all of these are numbers to Python's float()
    [
        "3_1",
        "1_000.5",
        "٣",
        "1\N{FULLWIDTH DIGIT TWO}",
        "nan",
        "-inf",
        "Infinity",
        "1e400",
        "\xa03",
        "3\u2003",
        "\x0c3",
    ],
)
def test_what_only_python_reads_as_a_number_is_refused(tmp_path: Path, cell: str) -> None:
    with pytest.raises(ValueError, match=r"table\.csv, line 3, column 'b': expected a finite number, got '"):
        data.read_csv(write(tmp_path, f"a,b\n1,2\n3,{cell}\n4,5\n"))


@pytest.mark.parametrize(
    "cell", ["0x1F", "1e", "1d5", "1.5f", "--1", "1 000", "\N{MINUS SIGN}1", ".", "+", "1.2.3", "1e5.0"]
)
def test_what_is_no_number_anywhere_is_refused(tmp_path: Path, cell: str) -> None:
    with pytest.raises(ValueError, match="line 2, column 'a': expected a finite number"):
        data.read_csv(write(tmp_path, f"a,b\n{cell},2\n3,4\n"))


def test_numbers_as_programs_write_them_are_read(tmp_path: Path) -> None:
    cells = {"+1.5": 1.5, "1e5": 1e5, "-1.E-3": -1e-3, ".5": 0.5, "2.": 2.0, " 7\t": 7.0, '"8.25"': 8.25, "007": 7.0}
    table = data.read_csv(write(tmp_path, "a\n" + "\n".join(cells)))
    assert table.values.ravel().tolist() == list(cells.values())


@pytest.mark.parametrize("encode", ["utf-8-sig", "utf-16", "utf-8"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_that_say_what_they_are_and_every_line_end_are_read(tmp_path: Path, encode: str, end: str) -> None:
    path = write(tmp_path, end.join(["größe,note", '1.5,"two', 'lines; 3,5"', "2.5,x", ""]).encode(encode))
    assert data.read_csv(path, ["größe"]).values.tolist() == [[1.5], [2.5]]


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        # no header: the first row would be taken for one
        ("ann,3.5\nbob,2.5\ncid,1.0\n", [1], r"names of the columns .*, got numbers: 3\.5; add a header"),
        ("1.5,NA\n2.5,3\n4,5\n", [1], r"got numbers: 1\.5, NA"),
        ("x,nan\n1,2\n3,4\n", None, r"got numbers: nan"),
        ("1_0,x\n1,2\n3,4\n", [0], r"got numbers: 1_0"),
        # semicolons or tabs whatever the header is, decimal commas
        ("a,b,c\n1,5;2,5\n3,5;4,5\n", ["a"], r"line 2: expected comma separated columns, got semicolons in '1,5;2,5'"),
        ("a;b,c\n1;2,5\n3;4,5\n", ["c"], r"line 1: expected comma separated columns, got semicolons in 'a;b,c'"),
        ("a,b\n1\t5,2\n3\t4,5\n", ["b"], r"line 2: .* got tabs"),
        ("a,b\n1,5,2\n3,4,1\n", ["b"], r"line 2: expected 2 cells, got 3; .*decimal points"),
        ('a,b\n1,"2,5"\n3,"4,5"\n', ["b"], r"line 2, column 'b': .*got '2,5'; write a decimal point"),
        # comments, commas at the end
        ("# made by me\na,b\n1,2\n3,4\n", ["a"], r"got a comment: '# made by me'; remove the lines that start with #"),
        ("# made, by me\na,b\n1,2\n3,4\n", ["b"], r"got a comment: '# made'; remove the lines that start with #"),
        ('"a";"b"\n1,5;2,5\n3,5;4,5\n', ["a"], r"expected comma separated columns, got semicolons; save it"),
        ("a,b\n1,2\n# more\n3,4\n", ["a"], r"line 3: expected 2 cells, got 1"),
        ("a,b\n1,2,\n3,4,\n", ["a"], r"line 2: expected 2 cells, got 3; no comma at the end of a line"),
        # what is no text, or not the text it is read as
        (b"a,b\n1,2\nd\xe9j\xe0,4\n", ["a"], r"got the byte 0xe9 in line 3; save it as UTF-8"),
        ("a,b\n1,2\n3,4\n".encode("utf-16-le"), ["a"], r"got a NUL character in line 1, as in UTF-16 without"),
        (gzip.compress(b"a,b\n1,2\n3,4\n", mtime=0), ["a"], r"got a gzip archive; unpack it first"),
        (b"PK\x03\x04....", ["a"], r"got a zip archive or a spreadsheet; unpack it, or save the sheet as CSV"),
        (b"\x93NUMPY\x01\x00", ["a"], r"got an array of numpy; let its name end in \.npy"),
    ],
)  # fmt: skip
def test_what_the_reader_cannot_know_is_refused(tmp_path: Path, text: str | bytes, columns: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.read_csv(write(tmp_path, text), columns)


def test_what_looks_odd_and_is_clear_is_read(tmp_path: Path) -> None:
    # a year is a name where the columns are given by name; text with semicolons, and a column named by its #
    assert data.read_csv(write(tmp_path, "2019,tags\n1,a;b\n3,c;d\n"), ["2019"]).values.tolist() == [[1.0], [3.0]]
    assert data.read_csv(write(tmp_path, '#,x,tags\n1,5,"3;4"\n2,6,"3;4"\n'), ["x"]).values.tolist() == [[5.0], [6.0]]
    # numpy.savetxt(..., header="a,b"), and a spreadsheet with an empty column at the end
    assert data.read_csv(write(tmp_path, "# a,b\n1,2\n3,4\n"), ["b"]).values.tolist() == [[2.0], [4.0]]
    assert data.read_csv(write(tmp_path, "a,b,,\n1,2,,\n3,4,,\n")).columns == ("a", "b")


#: Equal up to rounding, in the precision they are in: what is computed from their spread is computed from rounding.
CONSTANT = [
    [0.3, 0.1 + 0.2, 0.3],
    [1.0, *np.cumsum(np.full(10, 0.1))[-1:], 1.0],
    [1e9 / 3.0, np.nextafter(1e9 / 3.0, 0.0)],
    1.0 + 1e-14 * np.arange(5.0),
    np.array([0.3, 0.1 + 0.2, 0.1 * 3], dtype=np.float32) * np.float32(7.0) + np.float32([0.0, 2e-7, 0.0]),
    [1e-200, 1e-200 * (1.0 + 1e-15)],
]


@pytest.mark.parametrize("values", CONSTANT)
def test_values_that_are_equal_up_to_rounding_are_constant(tmp_path: Path, values: Any) -> None:
    values = np.asarray(values)
    with pytest.raises(ValueError, match="expected values that differ"):
        data.from_array(values)
    with pytest.raises(ValueError, match="expected data that vary"):
        fp.KernelDensity(values)
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(ValueError, match="expected values that differ"):
        data.read(tmp_path / "a.npy")
    # one column of two is enough
    with pytest.raises(ValueError, match="expected data that vary"):
        fp.KernelDensity(np.stack([values, np.arange(len(values), dtype=values.dtype)], axis=1))
    if values.dtype == np.float64:
        table = data.Table(("a",), values[:, None], "made.csv", "")
        with pytest.raises(ValueError, match="columns that vary"):
            data.standardise(table)


@pytest.mark.parametrize("scale", [1e-250, 1e-3, 1.0, 1e200, 1e307])
@pytest.mark.parametrize("shift", [0.0, 1e6])
def test_small_spreads_are_data_and_extreme_ones_are_standardised(scale: float, shift: float) -> None:
    values = np.array([shift - 1.0, shift, shift + 1.0]) * (scale if shift == 0.0 else min(scale, 1e300))
    standard = data.standardise(data.from_array(values))
    np.testing.assert_allclose(standard.samples, [-1.0, 0.0, 1.0], atol=1e-9)
    np.testing.assert_allclose(standard.original(standard.samples), values, rtol=1e-14)


def test_masked_and_complex_arrays_are_no_tables() -> None:
    for bad in (np.ma.masked_array([1, 2, 1e9], [0, 0, 1]), np.array([1 + 1j, 2.0]), ["1", "2"], [True, False]):
        with pytest.raises(ValueError, match="array: expected an array of real numbers"):
            data.from_array(bad)
        with pytest.raises(ValueError, match="expected an array of real numbers"):
            fp.KernelDensity(bad)


def test_ranks_of_rounding_are_refused() -> None:
    from fpsolve.stochastic import rank_correlation

    first = 0.3 + 5e-17 * np.arange(40.0)
    with pytest.raises(ValueError, match="expected numbers that differ"):
        rank_correlation(first, np.arange(40.0), seed=0)


def test_a_header_that_claims_another_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.arange(12.0))
    content = path.read_bytes()
    for claim in (b"(10000000000000,)", b"(1,)", b"(-1,)"):
        old, new = b"(12,), }", claim + b", }"
        changed = content.replace(old + b" " * max(0, len(new) - len(old)), new.ljust(len(old)))
        assert len(changed) == len(content) and claim in changed
        path.write_bytes(changed)
        with pytest.raises(
            ValueError, match=r"a\.npy: expected a \.npy file of numbers, got 96 bytes where its header"
        ):
            data.read(path)
    path.write_bytes(content[:-8])
    with pytest.raises(ValueError, match="got 88 bytes where its header claims 96"):
        data.read(path)


def test_a_missing_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data: expected a readable CSV file, got .*nowhere\.csv: No such file"):
        data.read_csv(tmp_path / "nowhere.csv")


def test_standardisation_is_recorded_and_undone_exactly(rng: np.random.Generator) -> None:
    table = data.old_faithful()
    standard = data.standardise(table)
    np.testing.assert_allclose(standard.samples.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(standard.samples.std(axis=0, ddof=1), 1.0, rtol=1e-12)
    for k in (0, 1):
        back = standard.original(standard.samples[:, k], column=k)
        np.testing.assert_allclose(back, table.values[:, k], rtol=1e-14)
    record = standard.record()
    assert record["mean"] == table.values.mean(axis=0).tolist()
    assert record["rows"] == 272 and record["sha256"] == table.sha256


def test_standardising_a_constant_column_is_refused() -> None:
    table = data.Table(("a",), np.ones((3, 1)), "made.csv", "")
    with pytest.raises(ValueError, match="columns that vary"):
        data.standardise(table)


def test_two_lines_lead_from_a_file_to_a_law(tmp_path: Path, rng: np.random.Generator) -> None:
    values = rng.standard_normal((50, 3)) * [1.0, 4.0, 2.0] + [0.0, 10.0, -1.0]
    np.save(tmp_path / "mine.npy", values)
    lines = ["speed,note,load", *(f"{a!r},x,{b!r}" for a, b in values[:, 1:].tolist())]
    path = write(tmp_path, "\n".join(lines))
    for file, columns in ((tmp_path / "mine.npy", [1, 2]), (path, ["speed", "load"]), (str(path), [0, 2])):
        mine = fp.data.standardise(fp.data.read(file, columns))
        law = fp.KernelDensity(mine.samples)
        assert law.dim == 2 and len(law.samples) == 50
        np.testing.assert_allclose(mine.original(law.samples[:, 1], column=1), values[:, 2], rtol=1e-12)
        assert mine.record()["mean"] == pytest.approx(values[:, 1:].mean(axis=0))
    assert fp.KernelDensity(fp.data.read(path, ["load"]).samples).dim == 1
    bundled = data.read("old_faithful", [1])
    assert bundled.columns == ("waiting_min",) and bundled.sha256 == data.old_faithful().sha256


def test_npy_files_of_every_good_kind_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    good = {
        "a line": (np.array([3, 1, 2]), ("column 0",), (3,)),
        "a column": (np.array([[3.0], [1.0], [2.0]], dtype=np.float32), ("column 0",), (3,)),
        "a plane": (np.array([[3.0, 0.5], [1.0, 0.25]]), ("column 0", "column 1"), (2, 2)),
        "fields": (np.array([(1, 2.5), (3, 4.5)], dtype=[("u", "i4"), ("v", "f8")]), ("u", "v"), (2, 2)),
        "big-endian": (np.array([3.0, 1.0], dtype=">f8"), ("column 0",), (2,)),
    }
    for name, (array, columns, shape) in good.items():
        np.save(path, array)
        table = data.read(path)
        assert table.columns == columns and table.samples.shape == shape, name
        assert table.values.dtype == np.float64 and table.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    np.save(path, good["fields"][0])
    assert data.read(path, ["v"]).values.ravel().tolist() == [2.5, 4.5]


OBJECTS = np.array([{"a": 1}, [2]], dtype=object)


@pytest.mark.parametrize(
    ("array", "columns", "message"),
    [
        (np.zeros((2, 2, 2)), None, r"a\.npy: expected shape \(rows,\) or \(rows, columns\), got shape \(2, 2, 2\)"),
        (np.array(1.0), None, r"expected shape \(rows,\) or \(rows, columns\), got shape \(\)"),
        (np.zeros((3, 0)), None, r"expected shape \(rows,\) or \(rows, columns\), got shape \(3, 0\)"),
        (np.array(["1", "2"]), None, r"expected integers or floats, got values of dtype <U1"),
        (np.array([1j, 2]), None, r"expected integers or floats, got values of dtype complex128"),
        (np.array([True, False]), None, r"expected integers or floats, got values of dtype bool"),
        (OBJECTS, None, r"a\.npy: expected a .npy file of numbers, got .*allow_pickle.*; save numbers"),
        (np.array([1.0]), None, r"expected at least two rows of data, got 1"),
        (np.array([[1.0, 2.0], [3.0, np.nan]]), None, r"row 1 \(from 0\), column 'column 1': .*finite number, got nan"),
        (np.array([[1.0, 2.0], [3.0, 2.0]]), None, r"'column 1': expected values that differ, got 2 in every row"),
        (np.array([[1.0, 2.0], [3.0, 4.0]]), [2], r"expected a column at place 2, got the columns column 0, column 1"),
        (np.array([[1.0, 2.0], [3.0, 4.0]]), ["b"], r"expected a column named 'b', got the columns"),
        (np.array([[1.0, 2.0], [3.0, 4.0]]), [-1], r"expected a column at place -1"),
        (np.array([[1.0, 2.0], [3.0, 4.0]]), [1, 1], r"columns: expected different columns, got 1, 1; name each once"),
        (np.array([[1.0, 2.0], [3.0, 4.0]]), [], r"expected a column to read"),
        (np.array([[1.0, 2.0], [3.0, 4.0]]), "column 0", r"columns: expected a list .* say columns=\['column 0'\]"),
        (np.array([(1, "x")], dtype=[("u", "i4"), ("v", "U1")]), None, r"rows of fields with one number each"),
    ],
)
def test_what_is_wrong_with_an_npy_file_is_said(tmp_path: Path, array: Any, columns: Any, message: str) -> None:
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(ValueError, match=message):
        data.read(tmp_path / "a.npy", columns)


def test_what_is_no_npy_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    for content in (b"", b"a,b\n1,2\n", b"\x93NUMPY\x01\x00"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.npy: expected a \.npy file of numbers, got"):
            data.read(path)
    with path.open("wb") as file:
        np.savez(file, a=np.zeros(3), b=np.ones(2))
    with pytest.raises(ValueError, match=r"expected a \.npy file of one array, got an archive of several"):
        data.read(path)
    with pytest.raises(ValueError, match=r"file: expected a CSV or \.npy file, got .*mine\.npz; export"):
        data.read(tmp_path / "mine.npz")
    with pytest.raises(ValueError, match=r"data: expected a readable \.npy file, got .*nowhere\.npy: No such file"):
        data.read(tmp_path / "nowhere.npy")


def test_arrays_are_tables_too() -> None:
    table = data.from_array([[1, 2], [3, 5]], ["a", "b"], source="made here")
    assert table.samples.tolist() == [[1.0, 2.0], [3.0, 5.0]] and table.source == "made here"
    with pytest.raises(ValueError, match="array: expected 2 names of columns, got 1"):
        data.from_array([[1, 2], [3, 5]], ["a"])


def test_three_columns_are_no_samples_of_a_law(rng: np.random.Generator) -> None:
    table = data.from_array(rng.standard_normal((5, 3)))
    with pytest.raises(ValueError, match="array: expected one or two columns as samples of a law, got 3: column 0, "):
        fp.KernelDensity(table.samples)


def test_studies_and_sweeps_take_the_users_own_data(tmp_path: Path, rng: np.random.Generator) -> None:

    from fpsolve.campaign.settings import SweepSettings, run
    from fpsolve.settings import build
    from fpsolve.studies.config import DataSettings

    values = rng.standard_normal((40, 3))
    np.save(tmp_path / "mine.npy", values)
    file = str(tmp_path / "mine.npy")
    ours = data.standardise(DataSettings(file=file, columns=(2, 0)).table())
    assert ours.record()["columns"] == ["column 2", "column 0"]
    np.testing.assert_allclose(ours.mean, values[:, [2, 0]].mean(axis=0))
    law = build({"kind": "kernel-density", "file": file, "columns": [1], "bandwidth": 0.3})
    standard = (values[:, 1] - values[:, 1].mean()) / values[:, 1].std(ddof=1)
    np.testing.assert_allclose(law.samples, standard)
    with_record = {"kind": "kernel-density", "name": "mine", "file": file, "columns": [1]}
    settings = SweepSettings.model_validate(
        {
            "targets": [with_record],
            "processes": [{"kind": "vp"}],
            "starts": [{"kind": "prior"}],
            "grids": [{"bounds": [-5.0, 5.0], "cells": 40, "steps": 20}],
            "t_min": 0.2,
        }
    )
    recorded = json.loads(run(settings).attrs["data"])["mine"]
    assert recorded["file"] == "mine.npy" and recorded["std"] == pytest.approx([values[:, 1].std(ddof=1)])
    with pytest.raises(ValueError, match="at place 3"):
        DataSettings(file=file, columns=(3,)).table()
    with pytest.raises(ValueError, match="columns"):
        DataSettings(file=file, columns=(0, 1, 2))


def test_the_forgetting_study_runs_on_the_users_own_data(tmp_path: Path, rng: np.random.Generator) -> None:
    from fpsolve.studies._forgetting_case import CaseSettings, solve
    from fpsolve.studies.config import Stages

    np.save(tmp_path / "mine.npy", np.concatenate([rng.normal(3.0, 0.5, 40), rng.normal(7.0, 1.0, 60)]))
    settings = CaseSettings.model_validate(
        {
            "file": str(tmp_path / "mine.npy"),
            "columns": [0],
            "tol": 1e-3,
            "times": [0.5, 0.1],
            "starts": {"far": {"mean": 2.0, "std": 0.5}},
            "particles": {"n": 5000, "steps": 100, "method": "exponential-integrator", "starts": ["far"]},
        }
    )
    stages = Stages("forgetting", enabled=False)
    with stages.total(3):
        case = solve(settings, fp.VP(), fp.PolynomialWeight(), 0.05, 0, stages)
    gap = np.abs(case.curve["distance"].sel(start="far")[-1] - case.truth["distance"].sel(start="far")[-1])
    assert float(gap) <= float(case.curve["error"].sel(start="far")[-1]) < 1e-3
    assert case.run["x"].attrs["long_name"] == "column 0"
    assert case.run["x"].attrs["standardised_mean"] == pytest.approx(5.4, abs=0.4)
