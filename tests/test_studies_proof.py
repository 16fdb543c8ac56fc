"""The study of proofs: run small, every check passes, and fails when what it checks is wrong."""

import sys

import numpy as np
import pytest
import xarray as xr
from test_studies_decomposition import FILES, run_small

from fpsolve import studies
from fpsolve.studies import proof
from fpsolve.studies.options import read

QUICK = {
    "times = [0.5, 0.1, 0.01]": "times = [0.1]",
    "cells = 400\nsteps = 400": "cells = 200\nsteps = 100",
    "blocks = [1.0, 0.6, 0.4, 0.25, 0.1, 0.0]": "blocks = [0.25, 0.1, 0.0]",
    "kernel_cells = 300": "kernel_cells = 150",
}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return run_small("proof", QUICK, tmp_path_factory.mktemp("proof"))


def failing(found, blocks):
    config = read("proof", proof.Config)
    return [check.name for check in proof.checks(config, found, blocks) if not check.passed]


def test_the_study_passes_and_writes_its_files(small):
    report, out = small
    assert [check.name for check in report.checks if not check.passed] == []
    assert {path.name for path in out.iterdir()} == FILES
    assert max(len(line) for line in report.table.text().splitlines()) <= 100
    rows = {(row[0], row[1]): row for row in report.table.rows}
    assert rows["matched", "0.1"][-1] == "holds" and rows["block 0.1 -> 0", ""][-1] == "no proof"
    assert float(rows["matched", "0.1"][4]) <= report.metrics["matched_0.1_lower"] < 1e-13
    assert np.isnan(report.metrics["block_1_proved"]) and 0.988 < report.metrics["block_0_proved"] < 0.9985
    stored = xr.load_dataset(out / "run.nc", group="blocks", engine="h5netcdf")
    assert [stored[name].attrs["status"] for name in proof.FACTORS] == ["proved", "certified", "estimated"]


def test_what_is_wrong_fails_a_named_check(small):
    found, blocks = (small[0].datasets[name] for name in ("", "blocks"))
    assert failing(found, blocks) == []
    wide = found.assign(upper=found.upper * 1.001)
    assert failing(wide, blocks) == ["relative width of the intervals, largest"]
    assert failing(found.assign(verdict=found.verdict.where(found.t != 0.1, "undecided")), blocks) == [
        "error bars that are not proved to hold"
    ]
    assert failing(found.assign(error=1e3 * found.error), blocks) == [
        "control: error bars a hundredth as long, some refuted"
    ]
    assert failing(found.assign(oracle=found.oracle + 1e-9), blocks) == ["closed form outside of an interval, relative"]
    low, high = blocks.assign(proved=0.2 * blocks.proved), blocks.assign(proved=blocks.proved + 0.1)
    assert failing(found, low) == ["sharp / proved contraction, largest"]
    assert failing(found, high) == ["proved above certified contraction by"]
    assert failing(found, blocks.assign(proved=np.nan * blocks.proved))[-1] == "blocks without a proof"


def test_without_the_extra_the_study_says_so(tmp_path, monkeypatch):
    import fpsolve

    monkeypatch.delattr(fpsolve, "proofs", raising=False)
    monkeypatch.setitem(sys.modules, "fpsolve.proofs", None)
    with pytest.raises(ValueError, match=r"expected python-flint, got none installed; pip install 'fpsolve\[proofs\]'"):
        studies.run("proof", out=tmp_path / "out")
