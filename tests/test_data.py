"""Data at the border: a CSV is read exactly or refused with the cell that is wrong."""

import hashlib
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

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


def test_the_provenance_names_the_checksum_of_the_file() -> None:
    folder = resources.files("fpsolve.data")
    checksum = hashlib.sha256((folder / "old_faithful.csv").read_bytes()).hexdigest()
    provenance = (folder / "old_faithful.txt").read_text()
    assert checksum in provenance and data.old_faithful().sha256 == checksum
    assert "10.2307/2347385" in provenance


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
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.read_csv(write(tmp_path, text), ["a", "b"])


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
