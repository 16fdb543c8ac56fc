"""Sweeps: order, seeds, the same bits everywhere, files that survive, failures that cost only themselves."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import warnings
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import fpsolve as fp
from fpsolve import campaign, cli
from fpsolve.campaign import _identity, command
from fpsolve.campaign import settings as files
from fpsolve.campaign.settings import SweepSettings, read

CALLS: Counter[object] = Counter()


def product(a, b):
    CALLS[a, b] += 1
    return a * b


def noisy(kind, n, seed):
    """Random numbers, a long sum in BLAS whose last bits depend on the number of threads, labels, a failure."""
    if (kind, n) == ("broken", 3):
        raise RuntimeError("as ordered")
    rng = np.random.default_rng(seed)
    long, other = rng.standard_normal((2, 300_000))
    return xr.Dataset(
        {"draws": ("t", rng.standard_normal(n)), "sum": long @ other, "who": f"{kind}{n}", "count": n},
        coords={"t": np.arange(n, 0, -1) / 2.0},
    )


NOISY = {"kind": ["z", "broken", "a"], "n": [3, 2]}


def threads(x):
    from threadpoolctl import threadpool_info

    return max(pool["num_threads"] for pool in threadpool_info())


def named_score(t, x):
    return -x


def other_score(t, x):
    return -2.0 * x


def identical(left, right):
    xr.testing.assert_identical(left, right)
    for name in left.variables:
        assert left[name].values.tobytes() == right[name].values.tobytes()


# ---------------------------------------------------------------- the combined Dataset


def test_one_dimension_per_name_in_the_given_order_with_the_values_in_the_given_order() -> None:
    result = fp.sweep(product, b=[3.0, 1.0, 2.0], a=[20, 10])
    assert result.value.dims == ("b", "a") and list(result.sizes) == ["b", "a"]
    assert result.b.values.tolist() == [3.0, 1.0, 2.0] and result.a.values.tolist() == [20, 10]
    np.testing.assert_array_equal(result.value, np.outer([3.0, 1.0, 2.0], [20, 10]))
    assert result.error.values.tolist() == [["", ""]] * 3 and result.attrs["failed"] == 0
    assert json.loads(result.attrs["swept"]) == ["b", "a"]


def test_labels_are_numbers_strings_names_and_reprs() -> None:
    law = fp.Gaussian(0.0, std=2.0)
    result = fp.sweep(
        lambda mode, law, score, on: 1.0,
        mode=["b", "a"],
        law=[law, fp.Laplace()],
        score=[named_score, None],
        on=[True, False],
    )
    assert result["mode"].values.tolist() == ["b", "a"]
    assert result["law"].values.tolist() == ["Gaussian(0.0, cov=4.0)", repr(fp.Laplace())]
    assert result["score"].values.tolist() == ["named_score", "None"]
    assert result["on"].values.tolist() == [True, False]
    named = fp.sweep(lambda law: law.cov, law={"wide": law, "narrow": fp.Gaussian(0.0, std=0.5)})
    assert float(named.value.sel(law="wide")) == 4.0 and float(named.value.sel(law="narrow")) == 0.25


def test_numbers_dicts_data_arrays_and_datasets_come_back() -> None:
    axis = xr.DataArray([1.0, 2.0], dims="t", coords={"t": [9.0, 5.0]}, name="curve", attrs={"units": "s"})
    cases = {
        "number": (lambda x: np.float32(x), {"value": ("x",)}),
        "dict": (lambda x: {"up": x, "down": xr.DataArray([0.0, x], dims="k")}, {"up": ("x",), "down": ("x", "k")}),
        "array": (lambda x: axis * x, {"curve": ("x", "t")}),
        "nameless": (lambda x: (axis * x).rename(None), {"value": ("x", "t")}),
        "dataset": (lambda x: (axis * x).to_dataset(), {"curve": ("x", "t")}),
    }
    for name, (function, wanted) in cases.items():
        result = fp.sweep(function, x=[2.0, 1.0])
        assert {key: result[key].dims for key in wanted} == wanted, name
        if "t" in result.dims:
            assert result.t.values.tolist() == [9.0, 5.0]
            np.testing.assert_array_equal(result[next(iter(wanted))], [[2.0, 4.0], [1.0, 2.0]])


def test_a_result_of_another_kind_is_an_error_of_its_point() -> None:
    def odd(case):
        return {
            "none": None,
            "text": "1.0",
            "complex": xr.DataArray(1j),
            "swept": xr.DataArray([1.0], dims="case"),
            "attribute": xr.DataArray(1.0, attrs={"flag": None}),
            "slash": {"a/b": 1.0},
            "levels": xr.DataArray(np.eye(2), dims=("a", "b"), coords={"a": [1, 2], "b": [3, 4]}).stack(
                both=["a", "b"]
            ),
            "fine": 2.0,
        }[case]

    result = fp.sweep(odd, case=["none", "text", "complex", "swept", "attribute", "slash", "levels", "fine"])
    told = dict(zip(result.case.values.tolist(), result.error.values.tolist(), strict=True))
    assert told.pop("fine") == "" and float(result.value.sel(case="fine")) == 2.0
    for case, text in told.items():
        assert text.startswith("ValueError: result") and text.count("\n") == 0, (case, text)
    assert "other than the swept ones" in told["swept"] and "'flag': None" in told["attribute"]
    assert "the multi-index 'both'; use reset_index" in told["levels"]
    assert bool(result.value.isnull().sum() == 7)


def test_failures_and_other_labels_become_nan_and_nothing_else_moves() -> None:
    result = fp.sweep(noisy, **NOISY)
    assert result.error.sel(kind="broken", n=3).item() == "RuntimeError: as ordered"
    assert result.attrs["failed"] == 1 and (result.error != "").sum() == 1
    # the union of 3, 2, 1 and 2, 1 halves, decreasing as in every part
    assert result.t.values.tolist() == [1.5, 1.0, 0.5]
    assert result.draws.dims == ("kind", "n", "t")
    missing = np.isnan(result.draws.values)
    assert missing[1, 0].all() and missing[:, 1, 0].all() and missing.sum() == 3 + 2 + 1
    assert result["n"].values.tolist() == [3, 2]
    assert result.who.values.tolist() == [["z3", "z2"], ["", "broken2"], ["a3", "a2"]]
    assert np.isnan(result["sum"].values[1, 0])


def test_integers_stay_integers_where_nothing_failed() -> None:
    def count(a):
        if a == 2:
            raise ValueError("two")
        return a

    assert fp.sweep(count, a=[3, 1]).value.dtype == np.int64
    assert fp.sweep(count, a=[3, 2]).value.dtype == np.float64


def test_a_coordinate_gets_the_swept_dimensions_only_where_it_differs() -> None:
    def curve(s):
        coords = {"k": [0, 1], "time": ("k", [2.0, 1.0]), "x": ("k", [s, 2 * s])}
        return xr.DataArray([s, -s], dims="k", coords=coords, name="f")

    result = fp.sweep(curve, s=[2.0, 1.0])
    assert result.time.dims == ("k",) and result.x.dims == ("s", "k")
    assert set(result.coords) == {"s", "k", "time", "x"}
    np.testing.assert_array_equal(result.x, [[2.0, 4.0], [1.0, 2.0]])


def test_an_own_variable_called_error_is_kept() -> None:
    result = fp.sweep(lambda x: {"distance": x, "error": 0.1 * x}, x=[1.0, 2.0])
    assert result["error"].values.tolist() == [0.1, 0.2] and result["error_text"].values.tolist() == ["", ""]


def test_a_scalar_coordinate_that_repeats_the_point_is_no_conflict() -> None:
    table = xr.DataArray([1.0, 2.0], dims="start", coords={"start": ["far", "prior"]}, name="d")
    result = fp.sweep(lambda start: table.sel(start=start), start=["prior", "far"])
    assert result.d.values.tolist() == [2.0, 1.0]
    wrong = fp.sweep(lambda start: table.isel(start=0), start=["prior", "far"])
    assert wrong.error.values[0] != "" and wrong.error.values[1] == ""


def test_results_that_cannot_be_put_together_are_refused() -> None:
    with pytest.raises(ValueError, match="'f' of one kind at all points"):
        fp.sweep(lambda n: xr.DataArray(np.zeros((2,) * n), dims=("u", "v")[:n], name="f"), n=[1, 2])


# ---------------------------------------------------------------- seeds and identity


def test_the_seed_of_a_point_depends_on_that_point_and_the_sweeps_seed_alone() -> None:
    def own(a, b, seed):
        return seed

    whole = fp.sweep(own, a=[1, 2, 3], b=["u", "v"]).value
    turned = fp.sweep(own, b=["v", "u"], a=[3, 1]).value
    for a in (1, 3):
        for b in ("u", "v"):
            assert int(whole.sel(a=a, b=b)) == int(turned.sel(a=a, b=b))
    assert len(np.unique(whole)) == 6 and whole.values.min() >= 0
    assert not np.intersect1d(whole, fp.sweep(own, seed=1, a=[1, 2, 3], b=["u", "v"]).value).size
    # a numpy number is the Python number; an integer is not a float
    from_numpy = fp.sweep(own, a=np.arange(1, 4), b=("u", "v")).value
    assert np.array_equal(whole, from_numpy) and not np.array_equal(
        whole, fp.sweep(own, a=[1.0, 2.0, 3.0], b="uv"[:0] or ["u", "v"]).value
    )


EVERYTHING = """
import numpy as np, xarray as xr
from pathlib import Path
import fpsolve as fp
from fpsolve.campaign._identity import canonical, digest
value = {
    "law": fp.GaussianMixture([0.5, 0.5], [-2.0, 2.0], stds=[0.3, 0.5]),
    "data": fp.KernelDensity(np.arange(9.0).reshape(-1) ** 2),
    "dynamics": fp.Reverse(fp.Gaussian([0.0, 1.0], cov=[[2.0, 0.5], [0.5, 1.0]]), fp.VP(), eta=0.5),
    "grid": fp.Grid.uniform((-1, 1), cells=4),
    "weight": fp.PolynomialWeight(2, 0.1),
    "set": {"c", "a", "b", "d", "e"},
    "array": xr.DataArray(np.eye(2), dims=("i", "j"), coords={"i": ["p", "q"]}),
    "path": Path("a") / "b", "none": None, "nan": float("nan"), "bytes": b"x", "range": range(3),
}
identity = digest(canonical("value", value))
"""


def test_the_identity_is_the_same_in_every_process() -> None:
    here: dict[str, object] = {}
    exec(EVERYTHING, here)
    environment = os.environ | {"PYTHONHASHSEED": "12345"}
    there = subprocess.run(
        [sys.executable, "-c", EVERYTHING + "print(identity)"],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    ).stdout
    assert re.fullmatch(r"[0-9a-f]{64}\n", there) and there.strip() == here["identity"]


@dataclass(frozen=True)
class _Setting:
    values: object
    name: str = "one"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (0.0, -0.0),
        (1, True),
        ("1", 1),
        (None, "None"),
        ([1, [2]], [[1], 2]),
        ({"a": 1}, [["a", 1]]),
        (np.zeros(2), np.zeros(3)),
        (np.zeros(2), np.zeros((1, 2))),
        (np.zeros(2), np.zeros(2, dtype=np.float32)),
        (np.float32(0.5), 0.5),
        (fp.Gaussian(0.0, std=1.0), fp.Gaussian(0.0, std=np.nextafter(1.0, 2.0))),
        (fp.KernelDensity([0.0, 1.0, 2.0], 0.5), fp.KernelDensity([0.0, 1.0, 2.5], 0.5)),
        (fp.VP(), fp.SubVP()),
        (fp.PolynomialWeight(2, 0.1), fp.PolynomialWeight(2, 0.2)),
        (named_score, other_score),
        (partial(named_score, 0.0), partial(named_score, 1.0)),
        (_Setting(1), _Setting(2)),
        (xr.DataArray([1.0], dims="x"), xr.DataArray([1.0], dims="y")),
    ],
)
def test_different_values_have_different_identities(one, other) -> None:
    assert _identity.digest(_identity.canonical("v", one)) != _identity.digest(_identity.canonical("v", other))


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda s: st.lists(s, max_size=4))
)
def test_equal_values_have_equal_identities(value) -> None:
    copy = json.loads(json.dumps(value))
    assert _identity.digest(_identity.canonical("v", value)) == _identity.digest(_identity.canonical("v", copy))


def test_layout_and_order_are_no_part_of_the_identity() -> None:
    matrix = np.arange(6.0).reshape(2, 3)
    same = [
        (matrix, np.asfortranarray(matrix)),
        (matrix, matrix.astype(">f8")),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({1, 2}, {2, 1}),
        ((1, 2), [1, 2]),
        (np.float64(0.1), 0.1),
        (fp.Gaussian(0.0, std=2.0), fp.Gaussian(0.0, cov=4.0)),
    ]
    for one, other in same:
        assert _identity.digest(_identity.canonical("v", one)) == _identity.digest(_identity.canonical("v", other))


def test_what_has_no_stable_identity_is_refused_with_the_way_out() -> None:
    def local(x):
        return x

    class Opaque:
        pass

    cases = [lambda x: x, local, Opaque(), np.random.default_rng(0), partial(local, 1), [1, lambda: 0]]
    cases += [_Setting(lambda: 0), iter([1]), fp.Reverse(fp.Gaussian(0.0, std=1.0), fp.VP(), score=lambda t, x: -x)]
    for value in cases:
        with pytest.raises(
            ValueError, match=r"^score\[0\].*: expected a value with a stable identity.*names \(strings\)"
        ):
            fp.sweep(lambda score: 1.0, score=[value])


# ---------------------------------------------------------------- the same bits everywhere


@pytest.fixture(scope="module")
def scheduler():
    import distributed  # of the extra [test], as everything here

    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=40
    ) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def serial():
    return fp.sweep(noisy, seed=3, **NOISY)


def test_processes_give_the_same_bits_as_serial(serial) -> None:
    identical(serial, fp.sweep(noisy, n_jobs=2, seed=3, **NOISY))


def test_a_dask_cluster_gives_the_same_bits_as_serial(serial, scheduler, tmp_path: Path) -> None:
    import joblib
    from distributed import Client

    with Client(scheduler), joblib.parallel_config(backend="dask"):
        identical(serial, fp.sweep(noisy, seed=3, **NOISY))
        identical(serial, fp.sweep(noisy, seed=3, out=tmp_path, **NOISY))
    assert len(list(tmp_path.iterdir())) == 5


def test_files_give_the_same_bits_as_memory(serial, tmp_path: Path) -> None:
    identical(serial, fp.sweep(noisy, seed=3, out=tmp_path, **NOISY))
    identical(serial, fp.sweep(noisy, seed=3, out=tmp_path, **NOISY))


def test_another_seed_gives_other_bits(serial) -> None:
    assert not np.array_equal(serial["sum"], fp.sweep(noisy, seed=4, **NOISY)["sum"], equal_nan=True)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_every_point_has_one_thread(n_jobs: int) -> None:
    assert fp.sweep(threads, n_jobs=n_jobs, x=[0, 1]).value.values.tolist() == [1, 1]


def overflow(x):
    return np.exp(np.float64(x))


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_floating_point_errors_are_treated_as_the_caller_does(n_jobs: int) -> None:
    with np.errstate(over="raise"):
        strict = fp.sweep(overflow, n_jobs=n_jobs, x=[1.0, 1e4])
    assert strict.error.values[1].startswith("FloatingPointError") and strict.error.values[0] == ""
    with np.errstate(over="ignore"):
        assert fp.sweep(overflow, n_jobs=n_jobs, x=[1.0, 1e4]).value.values[1] == np.inf


# ---------------------------------------------------------------- files and restarts


def test_a_restart_computes_only_what_is_not_finished(tmp_path: Path) -> None:
    CALLS.clear()
    first = fp.sweep(product, out=tmp_path, a=[1, 2], b=[3, 4])
    assert CALLS.total() == 4 and len(list(tmp_path.glob("*.nc"))) == 4
    identical(first, fp.sweep(product, out=tmp_path, a=[1, 2], b=[3, 4]))
    assert CALLS.total() == 4
    larger = fp.sweep(product, out=tmp_path, b=[4, 5], a=[2, 3])
    assert CALLS.total() == 7 and larger.value.values.tolist() == [[8, 12], [10, 15]]
    assert all(re.fullmatch(rf"[0-9a-f]{{20}}-{re.escape(fp.__version__)}\.nc", p.name) for p in tmp_path.iterdir())


def test_a_failed_point_is_tried_again_and_the_others_are_not(tmp_path: Path) -> None:
    broken, calls = [True], []

    def fragile(a):
        calls.append(a)
        if a == 2 and broken[0]:
            raise OSError("out of luck")
        return float(a)

    first = fp.sweep(fragile, out=tmp_path / "new" / "folder", a=[1, 2, 3])
    assert first.error.values.tolist() == ["", "OSError: out of luck", ""] and np.isnan(first.value.values[1])
    broken[0] = False
    # what was finished is kept, and it is said that it was computed with another `broken`
    with pytest.warns(UserWarning, match="fragile: broken was changed"):
        second = fp.sweep(fragile, out=tmp_path / "new" / "folder", a=[1, 2, 3])
    assert calls == [1, 2, 3, 2] and second.value.values.tolist() == [1.0, 2.0, 3.0]
    assert second.attrs["failed"] == 0


def test_an_interrupt_keeps_what_is_finished(tmp_path: Path) -> None:
    calls = []

    def patient(a):
        calls.append(a)
        if a == 3 and len(calls) == 3:
            raise KeyboardInterrupt
        return a

    with pytest.raises(KeyboardInterrupt):
        fp.sweep(patient, out=tmp_path, a=[1, 2, 3, 4])
    assert len(list(tmp_path.iterdir())) == 2
    assert fp.sweep(patient, out=tmp_path, a=[1, 2, 3, 4]).value.values.tolist() == [1, 2, 3, 4]
    assert calls == [1, 2, 3, 3, 4]


def test_a_write_that_breaks_off_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fp.sweep(product, out=tmp_path, a=[1], b=[1])
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ValueError, match=r"^out: expected a folder that can be written, got .*No space left.*is kept"):
        fp.sweep(product, out=tmp_path, a=[1, 2], b=[1])
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_files_of_another_version_are_told_of_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fp, "__version__", "0.0.9")
    fp.sweep(product, out=tmp_path, a=[1, 2], b=[1])
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.undo()
    CALLS.clear()
    with pytest.warns(UserWarning, match=rf"results of fpsolve {fp.__version__}, got 2 of version 0\.0\.9 in .* kept"):
        result = fp.sweep(product, out=tmp_path, a=[1, 2, 3], b=[1])
    assert CALLS.total() == 3 and result.value.values.ravel().tolist() == [1, 2, 3]
    assert all(path.read_bytes() == content for path, content in before.items())
    assert len(list(tmp_path.iterdir())) == 5


def test_a_file_that_is_not_what_its_name_says_is_refused_and_kept(tmp_path: Path) -> None:
    fp.sweep(product, out=tmp_path, a=[1], b=[1])
    (path,) = tmp_path.iterdir()
    good = path.read_bytes()
    with xr.open_dataset(path, engine="h5netcdf") as file:
        stored = file.load()
    cases = {
        "another version": (stored.assign_attrs(fpsolve_version="0.0.1"), "got .* of version 0.0.1"),
        "another point": (stored.assign_attrs(fpsolve_configuration="{}"), "the result file of this point"),
    }
    for dataset, told in cases.values():
        path.unlink()
        dataset.to_netcdf(path, engine="h5netcdf")
        with pytest.raises(ValueError, match=told):
            fp.sweep(product, out=tmp_path, a=[1], b=[1])
    path.write_bytes(good[: len(good) // 2])
    with pytest.raises(ValueError, match=r"^out: expected result files that can be read, got .*move or delete"):
        fp.sweep(product, out=tmp_path, a=[1], b=[1])
    assert path.read_bytes() == good[: len(good) // 2]


def test_other_functions_defaults_and_seeds_have_files_of_their_own(tmp_path: Path) -> None:
    def scaled(a, factor=2.0):
        return factor * a

    def seeded(a, seed):
        return seed

    results = [
        fp.sweep(scaled, out=tmp_path, a=[1.0]),
        fp.sweep(partial(scaled, factor=3.0), out=tmp_path, a=[1.0]),
        fp.sweep(lambda a: 10.0 * a, out=tmp_path, a=[1.0]),
        fp.sweep(lambda a: 20.0 * a, out=tmp_path, a=[1.0]),
        fp.sweep(seeded, out=tmp_path, a=[1.0]),
        fp.sweep(seeded, seed=1, out=tmp_path, a=[1.0]),
    ]
    assert [float(result.value[0]) for result in results[:4]] == [2.0, 3.0, 10.0, 20.0]
    assert len(list(tmp_path.iterdir())) == 6
    # without a parameter `seed` the sweep's seed changes nothing
    fp.sweep(scaled, seed=1, out=tmp_path, a=[1.0])
    assert len(list(tmp_path.iterdir())) == 6


def test_changed_code_is_told_of_and_its_results_kept(tmp_path: Path) -> None:
    def make(source: str):
        space: dict[str, object] = {}
        exec(source, space)
        return space["work"]

    first = fp.sweep(make("def work(a):\n    return 2 * a"), out=tmp_path, a=[1, 2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = fp.sweep(make("def work(a):\n    # twice\n    return 2 * a"), out=tmp_path, a=[1, 2])
    identical(first, again)
    with pytest.warns(UserWarning, match="got 2 finished points in .* from before its code was changed"):
        changed = fp.sweep(make("def work(a):\n    return 3 * a"), out=tmp_path, a=[1, 2, 4])
    assert changed.value.values.tolist() == [2, 4, 12]


def test_strings_bools_times_and_empty_parts_survive_a_file(tmp_path: Path) -> None:
    def every(a):
        return xr.Dataset(
            {
                "flag": a > 1,
                "label": ("k", ["ü", ""]),
                "single": np.float32(0.1),
                "integer": ("k", np.array([1, 2**62])),
                "seconds": ((), 3.0, {"units": "seconds"}),
                "days": ("k", np.array([1, 2]), {"units": "days since 2000-01-01"}),
                "empty": ("none", np.zeros(0)),
                "nan": np.nan,
            },
            coords={"k": ["b", "a"], "label_of_k": ("k", [1.5, -0.0])},
            attrs={"note": "x", "number": 2, "list": np.array([1.0, 2.0])},
        )

    memory = fp.sweep(every, a=[1, 2])
    identical(memory, fp.sweep(every, out=tmp_path, a=[1, 2]))
    identical(memory, fp.sweep(every, out=tmp_path, a=[1, 2]))
    assert memory.flag.values.tolist() == [False, True] and memory.flag.dtype == bool
    assert memory.attrs["note"] == "x" and memory.k.values.tolist() == ["b", "a"]
    assert memory.days.dtype.kind == "i" and memory.single.dtype == np.float32


def suicide(x):
    if x == 1:
        os._exit(1)
    return x


def test_a_worker_that_dies_is_told_of_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"^n_jobs: expected workers that .* live to the end, got Term.*finished is in"
    ):
        fp.sweep(suicide, n_jobs=2, out=tmp_path, x=[0, 1])
    assert all(path.suffix == ".nc" for path in tmp_path.iterdir())


def test_a_function_that_cannot_be_sent_is_told_of() -> None:
    import threading

    lock = threading.Lock()
    with pytest.raises(ValueError, match=r"^n_jobs: expected workers that can be sent the function"):
        fp.sweep(lambda x: lock.locked(), n_jobs=2, x=[0, 1])


def test_the_bar_counts_points_those_already_finished_included(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fp.sweep(product, out=tmp_path, progress=False, a=[1], b=[1, 2])
    assert capsys.readouterr().err == ""
    fp.sweep(product, out=tmp_path, progress=True, a=[1], b=[1, 2, 3])
    assert re.search(r"sweep.*0/3", capsys.readouterr().err)
    advanced: list[float] = []

    class Bar(contextlib.AbstractContextManager["Bar"]):
        def __exit__(self, *_: object) -> None:
            pass

        def update(self, n: float) -> None:
            advanced.append(n)

    monkeypatch.setattr(command, "progress_bar", lambda total, *_, **__: advanced.append(-total) or Bar())
    fp.sweep(product, out=tmp_path, a=[1], b=[1, 2, 3, 4])
    assert advanced[0] == -4 and sum(advanced) == 0


# ---------------------------------------------------------------- bad input


BAD = [
    ({"eta": [1.0]}, r"^eta: expected a parameter of the function \(it has 'a', 'b'\), got the unknown name 'eta'"),
    ({"a": [], "b": [1]}, r"^a: expected at least one value, got an empty list"),
    ({"a": 1.0, "b": [1]}, r"^a: expected a list of values, got 1.0; write a=\[...\]"),
    ({"a": "xy", "b": [1]}, r"^a: expected a list of values, got 'xy'"),
    ({"a": {1, 2}, "b": [1]}, r"^a: expected a list of values, got \{1, 2\}"),
    ({"a": np.float64(1.0), "b": [1]}, r"^a: expected a list of values"),
    ({"a": [1, 2, 1], "b": [1]}, r"^a: expected different values, got 1 twice"),
    ({"a": [1, 1.0], "b": [1]}, r"^a: expected values that look different"),
    ({"a": [1]}, r"^function: expected a value, by keyword, for every parameter .* got none for 'b'; add b=\[...\]"),
    ({}, r"^function: expected a value|^grid: expected at least one name"),
    ({"a": [1], "b": [1], "n_jobs": 0}, r"^n_jobs: expected an integer >= 1"),
    ({"a": [1], "b": [1], "n_jobs": 1.5}, r"^n_jobs: expected an integer >= 1"),
    ({"a": [1], "b": [1], "seed": -1}, r"^seed: expected an integer >= 0"),
    ({"a": [1], "b": [1], "seed": [1, 2]}, r"^seed: expected an integer >= 0.*repeat=\[0, 1\]"),
]


@pytest.mark.parametrize(("arguments", "told"), BAD)
def test_bad_input_gets_one_clear_sentence_before_any_work(arguments, told: str) -> None:
    CALLS.clear()
    with pytest.raises(ValueError, match=told) as caught:
        fp.sweep(product, **arguments)
    assert "\n" not in str(caught.value) and not CALLS


def test_no_names_and_no_function_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^grid: expected at least one name"):
        fp.sweep(lambda a=1: a)
    with pytest.raises(ValueError, match=r"^function: expected a callable"):
        fp.sweep(3.0, a=[1])
    with pytest.raises(ValueError, match=r"^x: expected a parameter of the function \(it has none\)"):
        fp.sweep(abs, x=[1])


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(tmp_path: Path) -> None:
    CALLS.clear()
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ValueError, match=r"^out: expected a folder that can be written, got .*file"):
            fp.sweep(product, out=out, a=[1], b=[1])
    assert not CALLS and (tmp_path / "file").read_text() == ""


# ---------------------------------------------------------------- fpsolve sweep FILE.toml

TOML = """
t_min = 0.05
eta = [1.0, 1e160]
tol = [1e-2]
save_at = [0.5, 0.05]
[[targets]]
kind = "gaussian-mixture"
name = "two modes"
weights = [0.3, 0.7]
means = [-1.5, 0.8]
stds = [0.3, 0.4]
[[processes]]
kind = "vp"
beta_max = 12.0
[[starts]]
kind = "prior"
[[starts]]
kind = "gaussian"
name = "far"
mean = 2.0
std = 0.5
"""


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "two_modes.toml"
    path.write_text(TOML)
    return path


def test_the_command_measures_what_evolve_and_forgetting_curve_do(
    toml: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    # an eta of 1e160 widens every start at once: one failed point, exit status 1
    assert cli.main(["sweep", str(toml), "--out", str(out)]) == 1
    told = capsys.readouterr().out
    assert "eta 1.0, tol 0.01, start far: " in told and "eta 1e+160, tol 0.01: failed, ValueError: starts" in told
    with xr.open_dataset(out / "sweep.nc", engine="h5netcdf") as file:
        result = file.load()
    assert list(result.weighted_tv.dims) == ["target", "process", "eta", "tol", "start"]
    assert result.process.values.tolist() == ["vp(beta_max=12.0)"] and result.start.values.tolist() == ["prior", "far"]
    reverse = fp.Reverse(fp.GaussianMixture([0.3, 0.7], [-1.5, 0.8], stds=[0.3, 0.4]), fp.VP(beta_max=12.0), eta=1.0)
    starts = {"exact": reverse.marginal(1.0), "prior": fp.Gaussian(0.0, std=1.0), "far": fp.Gaussian(2.0, std=0.5)}
    run = fp.evolve(reverse, starts, t_min=0.05, tol=1e-2, save_at=[0.5, 0.05])
    curve = fp.forgetting_curve(run, reference="exact").sel(start=["prior", "far"])
    here = result.isel(target=0, process=0, eta=0, tol=0)
    np.testing.assert_array_equal(here.t, [1.0, 0.5, 0.05])
    np.testing.assert_array_equal(here.distance, curve.distance)
    np.testing.assert_array_equal(here.weighted_tv, curve.distance.isel(t=-1))
    np.testing.assert_array_equal(here.weighted_tv_error, curve.error.isel(t=-1))
    assert here.tol_met.item() == "yes" and np.isnan(result.weighted_tv.sel(eta=1e160)).all()


def test_the_command_on_a_cluster_gives_the_same_bits(toml: Path, tmp_path: Path, scheduler) -> None:
    assert cli.main(["sweep", str(toml), "--out", str(tmp_path / "serial")]) == 1
    address = scheduler.scheduler_address
    assert cli.main(["sweep", str(toml), "--out", str(tmp_path / "cluster"), "--cluster", address]) == 1
    files = [xr.load_dataset(tmp_path / name / "sweep.nc", engine="h5netcdf") for name in ("serial", "cluster")]
    identical(*files)


def test_a_grid_in_place_of_a_tolerance_and_another_weight(toml: Path, tmp_path: Path) -> None:
    text = TOML.replace("tol = [1e-2]", 'weight = {kind = "unit"}').replace("eta = [1.0, 1e160]\n", "")
    toml.write_text(text + "[[grids]]\nbounds = [-6.0, 6.0]\ncells = 64\nsteps = 40\n")
    result = files.run(read(toml))
    assert result.weighted_tv.dims == ("target", "process", "eta", "grid", "start")
    assert result.grid.values.tolist() == ["64 cells, 40 steps"] and result.attrs["failed"] == 0
    assert result.tol_met.values.ravel().tolist() == ["not asked"]
    # twice the total variation of two densities is at most 2
    assert 0.0 < result.distance.max() <= 2.0


SCORE_ERRORS = """
[[score_errors]]
kind = "none"
[[score_errors]]
kind = "bias"
vector = 0.1
[[score_errors]]
kind = "bias"
name = "bias of the noise"
vector = 0.1
units = "noise"
"""


def test_score_errors_are_swept_and_cost_what_they_do_in_python(
    toml: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toml.write_text(TOML.replace("eta = [1.0, 1e160]\n", "") + SCORE_ERRORS)
    assert cli.main(["sweep", str(toml), "--out", str(tmp_path / "out")]) == 0
    assert "score_error bias(vector=0.1), eta 1.0, tol 0.01, model error: " in capsys.readouterr().out
    result = xr.load_dataset(tmp_path / "out" / "sweep.nc", engine="h5netcdf")
    assert result.model_error.dims == ("target", "process", "score_error", "eta", "tol")
    exact, biased, noisy = result.model_error.values.ravel()
    error = result.model_error_error.values.ravel()
    assert exact <= error[0] and exact + 10 * error[0] < biased < noisy
    target, process = fp.GaussianMixture([0.3, 0.7], [-1.5, 0.8], stds=[0.3, 0.4]), fp.VP(beta_max=12.0)
    model = fp.scores.perturbed(fp.scores.exact(target, process), fp.scores.errors.Bias(0.1))
    reverse = fp.Reverse(target, process, score=model)
    run = fp.evolve(reverse, {"exact": reverse.marginal(1.0)}, t_min=0.05, tol=1e-3, save_at=[0.05])
    cost = fp.distances.to_marginals(run, reverse).isel(start=0, t=-1)
    assert abs(float(cost.distance) - biased) <= float(cost.error) + error[1]


def test_the_file_shown_in_the_documentation_is_one() -> None:
    documented = campaign.__doc__.split("::\n", 1)[1].split("\n\nParameters", 1)[0]
    import textwrap
    import tomllib

    settings = SweepSettings.model_validate(tomllib.loads(textwrap.dedent(documented)))
    assert settings.tol == (1e-4, 1e-5) and settings.targets[0].label == "two modes"


def test_every_kind_of_law_and_process_can_be_written() -> None:
    laws = [
        {"kind": "gaussian", "mean": [0.0, 1.0], "cov": [[2.0, 0.5], [0.5, 1.0]]},
        {"kind": "laplace", "scale": 0.5},
        {"kind": "student-t", "df": 5.0},
        {"kind": "uniform", "low": -1.0, "high": 1.0},
        {"kind": "kernel-density", "columns": ["eruption_min", "waiting_min"]},
        {"kind": "gaussian-mixture", "weights": [1.0], "means": [[0.0, 0.0]], "stds": 1.0},
    ]
    kinds = ["ornstein-uhlenbeck", "vp", "cosine-vp", "sub-vp", "ve", "edm"]
    processes = [{"kind": kind} | ({"T": 2.0} if kind == "ornstein-uhlenbeck" else {}) for kind in kinds]
    file = {"t_min": 0.1, "tol": [1e-3], "targets": laws, "processes": processes}
    settings = SweepSettings.model_validate(file)
    built = [type(one.value).__name__ for one in settings.targets]
    assert built == ["Gaussian", "Laplace", "StudentT", "Uniform", "KernelDensity", "GaussianMixture"]
    made = [one.value for one in settings.processes]
    assert [type(one).__name__ for one in made] == ["OrnsteinUhlenbeck", "VP", "CosineVP", "SubVP", "VE", "EDM"]
    assert made[0].T == 2.0 and made[4] == fp.VE()


def test_every_kind_of_score_error_can_be_written() -> None:
    errors = [
        {"kind": "none"},
        {"kind": "scaling", "share": 0.1},
        {"kind": "bias", "vector": [0.1, 0.0], "units": "noise"},
        {"kind": "sine", "amplitude": 0.1, "wave": 3.0},
        {"kind": "bump", "amplitude": 0.1, "at": 1.0, "width": 0.3},
        {"kind": "random-field", "amplitude": 0.1, "length": 0.5, "dim": 2, "seed": 1},
    ]
    base = {"t_min": 0.1, "tol": [1e-3], "targets": [{"kind": "laplace"}], "processes": [{"kind": "vp"}]}
    settings = SweepSettings.model_validate(base | {"score_errors": errors})
    built = [type(one.value.error).__name__ for one in settings.score_errors]
    assert built == ["NoneType", "Scaling", "Bias", "Sine", "Bump", "RandomField"]
    with pytest.raises(ValueError, match="score_errors: expected different ones, got 'none' twice"):
        SweepSettings.model_validate(base | {"score_errors": [{"kind": "none"}] * 2})


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("t_min", "t_mni", ["t_min: missing", "line 2, t_mni: unknown key, perhaps 't_min' is meant"]),
        ('kind = "vp"', 'kind = "vvp"', ["processes.0.kind", "'ornstein-uhlenbeck'", "'vp'", "got 'vvp'"]),
        (
            "beta_max = 12.0",
            "beta_max = -1.0\ncurvature = 99.0",
            ["processes.0.beta_max: expected a finite number > 0", "processes.0.curvature: expected a number in"],
        ),
        (
            "[0.3, 0.7]",
            "[0.3, 0.6]",
            ["targets.0.weights: expected weights that sum"],
        ),
        ("tol = [1e-2]", "tol = []", ["tol"]),
        ("tol = [1e-2]", "", ["tol / grids: expected exactly one of these, got neither"]),
        ("eta = [1.0, 1e160]", "eta = [-1.0]", ["eta.0: expected a number >= 0, got -1.0"]),
        ('name = "far"', 'name = "prior"', ["starts: expected different ones, got 'prior' twice"]),
        ("[[starts]]", "[[starts", ["expected a TOML file"]),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_all_its_misfits(
    toml: Path, old: str, new: str, told: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    toml.write_text(TOML.replace(old, new, 1))
    assert cli.main(["sweep", str(toml), "--out", str(toml.parent / "out")]) == 2
    message = capsys.readouterr().err
    assert all(part in message for part in told), message
    assert not (toml.parent / "out").exists() and message.count("\n") == 1


def test_a_file_that_is_not_there_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sweep", str(tmp_path / "nothing.toml")]) == 2
    assert "FILE: expected a readable TOML file" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "127.0.0.1:1", "not an address", "xyz://host:1"])
def test_an_unreachable_cluster_is_told_of_within_seconds(
    toml: Path, address: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, patience = socket.create_connection, []

    def connecting(*arguments, timeout):
        patience.append(timeout)
        return connect(*arguments, timeout=timeout)

    monkeypatch.setattr(command.socket, "create_connection", connecting)
    out = str(toml.parent / "out")
    assert cli.main(["sweep", str(toml), "--out", out, "--cluster", address]) == 2
    message = capsys.readouterr().err
    assert (
        f"--cluster: expected the address of a dask scheduler that answers, such as tcp://host:8786, got {address}"
        in message
    )
    # one connection, with a limit
    assert message.count("\n") == 1 and patience in ([], [command.PATIENCE])


def test_a_cluster_that_accepts_and_stays_silent_is_given_up(
    toml: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "PATIENCE", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        arguments = ["sweep", str(toml), "--out", str(toml.parent / "out"), "--cluster", address]
        assert cli.main(arguments) == 2
    told = capsys.readouterr().err
    assert f"expected the address of a dask scheduler that answers, such as tcp://host:8786, got {address}" in told


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make certificates with")
def test_a_cluster_behind_tls_takes_the_certificates_of_dasks_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dask
    import distributed

    # what is tried here are certificates, not how quickly a busy machine answers
    monkeypatch.setattr(command, "PATIENCE", 60.0)

    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=fpsolve", "-keyout", str(key)]
    subprocess.run(["openssl", "req", *made, "-out", str(certificate)], check=True, capture_output=True)
    tls = {"ca-file": certificate}
    for role in ("client", "scheduler", "worker"):
        tls |= {f"{role}.key": key, f"{role}.cert": certificate}
    settings = {f"distributed.comm.tls.{name}": str(path) for name, path in tls.items()}
    with dask.config.set(settings | {"distributed.comm.require-encryption": True}):
        local = distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, protocol="tls", dashboard_address=":0",
            security=distributed.Security(),
        )  # fmt: skip
        with local, command.cluster(local.scheduler_address):
            assert local.scheduler_address.startswith("tls://")
            result = fp.sweep(product, out=tmp_path / "out", progress=False, a=[2], b=[3])
            assert float(result.to_array().values.ravel()[0]) == 6.0
    monkeypatch.undo()
    with pytest.raises(ValueError, match="--cluster: expected the address of a dask scheduler"):
        command.cluster("tls://127.0.0.1:1").__enter__()


def test_the_command_says_where_an_interrupted_sweep_is(
    toml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "run", interrupted)
    assert cli.main(["sweep", str(toml), "--out", str(tmp_path / "out")]) == 130
    assert f"finished points are kept in {tmp_path / 'out'}" in capsys.readouterr().err


def test_warnings_of_the_command_are_plain_lines(
    toml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    toml.write_text(TOML.replace("eta = [1.0, 1e160]", "eta = [1.0]"))
    arguments = ["sweep", str(toml), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(fp, "__version__", "0.0.9")
    assert cli.main(arguments + ["--traceback"]) == 0
    monkeypatch.undo()
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert cli.main(arguments + ["--traceback"]) == 0
    assert "fpsolve: warning: out: expected results of fpsolve" in capsys.readouterr().err
