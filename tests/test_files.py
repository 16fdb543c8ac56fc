"""Results on a disk that is full, shared, pulled or damaged: whole or absent, and a sentence with the path."""

import errno
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr

import fpsolve
from fpsolve.evolution import load
from fpsolve.settings import checksum, netcdf, read_netcdf, result_file, result_folder, write_all

ROOT = str(Path(fpsolve.__file__).parents[1])


def text(content: str) -> Any:
    return lambda file: file.write(content.encode())


def data(size: int = 40_000) -> xr.Dataset:
    values = np.random.default_rng(0).standard_normal((2, size // 2))
    variables = {"density": (("t", "x"), values), "label": ("t", ["a", "bc"]), "one": ("k", [3])}
    return xr.Dataset(variables, attrs={"n": 3, "list": np.array([1.0, 2.0]), "none": "", "text": "é"})


def run_limited(code: str, limit: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process whose files end at `limit` bytes, as a full disk would have it."""
    head = f"import resource, sys\nresource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{Path(__file__).parent}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-W", "ignore", "-c", head + code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.skipif(sys.platform == "win32", reason="limits of resources")
def test_a_full_disk_is_one_sentence_and_no_file(tmp_path: Path) -> None:
    code = """
from test_files import *
out = Path(sys.argv[1])
said = []
for size in (2, 4_000, 40_000, 400_000):
    try:
        write_all(out, {"a.txt": text("first"), "run.nc": netcdf({"": data(size), "group": data(size)})})
    except OSError as reason:
        said.append(reason)
assert len(said) == 3 and all(isinstance(one, ValueError) and one.errno == errno.EFBIG for one in said), said
print(said[0])
"""
    (tmp_path / "run.nc").write_text("old")
    done = run_limited(code, 60_000, str(tmp_path))
    assert done.returncode == 0, done.stderr
    expected = (
        f"out: expected a folder that can be written, got {tmp_path}: File too large; choose another with --out DIR.\n"
    )
    assert (done.stdout, done.stderr) == (expected, "")
    # the smallest fitted
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "run.nc"]
    assert load_any(tmp_path / "run.nc", "group").identical(data(2))


@pytest.mark.skipif(sys.platform == "win32", reason="limits of resources")
def test_a_full_disk_is_found_before_the_work(tmp_path: Path) -> None:
    code = "from fpsolve.cli import main; sys.exit(main(['study', 'forgetting', '--out', sys.argv[1]]))"
    done = run_limited(code, 100, str(tmp_path / "a" / "b"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("fpsolve: error: out: expected a folder that can be written, got ")
    assert "File too large" in done.stderr and done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def load_any(path: Path, group: str | None = None) -> xr.Dataset:
    found, whole = read_netcdf(path, group=group)
    assert whole and found.identical(xr.load_dataset(path, engine="h5netcdf", group=group))
    return found


@pytest.mark.parametrize("fails", [0, 1, 2, 3, 4])
def test_a_folder_of_results_is_all_new_or_all_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: int) -> None:
    old = {"a": "old a", "b": "old b", "last": "old last"}
    write_all(tmp_path, {name: text(content) for name, content in old.items()})
    plain, calls = os.replace, []

    def replace(source: Any, target: Any) -> None:
        calls.append(target)
        if len(calls) == fails + 1:
            raise OSError(errno.EIO, "Input/output error")
        plain(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        with pytest.raises(OSError, match="Input/output error"):
            write_all(tmp_path, {name: text("new") for name in (*old, "c")})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == old
    write_all(tmp_path, {name: text("new") for name in (*old, "c")})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys((*old, "c"), "new")


def test_a_folder_where_a_file_will_be_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "summary.json").mkdir()
    (tmp_path / "report.md").write_text("mine")
    for call in (
        lambda: result_folder(tmp_path, ["report.md", "summary.json"]),
        lambda: write_all(tmp_path, {"report.md": text("new"), "summary.json": text("new")}),
        lambda: fpsolve.studies.run("forgetting", out=tmp_path),
    ):
        with pytest.raises(ValueError, match=r"^out: expected a folder .*: summary.json is a folder; choose another"):
            call()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.md", "summary.json"]
    assert (tmp_path / "report.md").read_text() == "mine"


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    code = """
import os, sys
from fpsolve.settings import write_all
from pathlib import Path
def wait(file):
    file.write(b"half")
def synchronise(descriptor):
    print("here", flush=True)
    sys.stdin.readline()
os.fsync = synchronise
write_all(Path(sys.argv[1]), {"a": wait})
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": ROOT}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None and child.stdout.readline() == "here\n"
        assert len(list(tmp_path.iterdir())) == 1
        if sys.platform != "win32":
            result_folder(tmp_path)
            assert len(list(tmp_path.iterdir())) == 1  # it lives
        child.kill()
    assert [path.name.startswith(".fpsolve-") for path in tmp_path.iterdir()] == [True]
    if sys.platform != "win32":
        result_folder(tmp_path)
        assert not list(tmp_path.iterdir())


def test_what_is_taken_for_a_leftover_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, made = tempfile.mkdtemp, []

    def taken_away(**given: Any) -> str:
        made.append(plain(**given))
        if len(made) == 1:
            os.rmdir(made[0])
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", taken_away)
    write_all(tmp_path, {"a": text("new")})
    assert len(made) == 2 and [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_another_is_about_to_take_away_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locked by whoever took it for a leftover, and still there."""
    fcntl = pytest.importorskip("fcntl")
    plain, made, held = tempfile.mkdtemp, [], []

    def locked(**given: Any) -> str:
        made.append(plain(**given))
        if len(made) == 1:
            held.append(os.open(made[0], os.O_RDONLY))
            fcntl.flock(held[0], fcntl.LOCK_EX)
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", locked)
    write_all(tmp_path, {"a": text("new")})
    os.close(held[0])
    assert len(made) == 2 and (tmp_path / "a").read_text() == "new"


def test_a_new_common_parent_folder_is_made_and_taken_away_by_many_at_once(tmp_path: Path) -> None:
    """Half of them write, half of them break off; nobody fails because of another."""
    failed: list[BaseException] = []
    gate = threading.Barrier(4)

    def one(k: int) -> None:
        for turn in range(40):
            gate.wait()
            folder = tmp_path / str(turn) / "parent" / str(k % 2) / str(k)
            try:
                result_folder(folder)
                write_all(folder, {"a": text("content")} if k < 2 else {"a": text("content"), "b": breaking})
            except KeyboardInterrupt:
                pass
            except BaseException as reason:
                failed.append(reason)

    def breaking(_: object) -> None:
        raise KeyboardInterrupt

    threads = [threading.Thread(target=one, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()) == sorted(
        f"{turn}/parent/{k}/{k}/a" for turn in range(40) for k in (0, 1)
    )
    assert not list(tmp_path.rglob(".fpsolve-*"))


@pytest.mark.parametrize("out", ["", "a\0b", "\ud800", "~nobody_of_that_name/a"])
def test_what_is_no_path_is_refused(out: str) -> None:
    for call in (lambda: result_folder(out), lambda: fpsolve.sweep(abs_of, x=[1], out=out)):
        with pytest.raises(ValueError, match=r"^out: expected the path of a folder, got "):
            call()
    with pytest.raises(ValueError, match=r"^out: expected the path of a f"):
        result_file(out, "")


def abs_of(x: float) -> float:
    return abs(x)


def test_the_tilde_is_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert result_folder("~/new") == tmp_path / "new" and result_file("~/a.nc", "") == tmp_path / "a.nc"
    fpsolve.sweep(abs_of, x=[1.0], out="~/sweeps")
    assert len(list((tmp_path / "sweeps").glob("*.nc"))) == 1


def test_a_checksum_is_of_every_name_number_and_attribute(tmp_path: Path) -> None:
    whole = data(10)
    write_all(tmp_path, {"run.nc": netcdf({"": whole})})
    assert load_any(tmp_path / "run.nc").identical(whole)
    # files give a list of one back as its number
    write_all(tmp_path, {"run.nc": netcdf({"": whole.assign_attrs(list=[1.0])})})
    assert load_any(tmp_path / "run.nc").attrs["list"] == 1.0
    others = {
        "bit": whole.assign(density=whole.density.copy(data=np.nextafter(whole.density.values, 9.0))),
        "zero": whole.assign(one=whole.one.copy(data=np.array([-3]))),
        "text": whole.assign(label=whole.label.copy(data=["a", "bd"])),
        "gone": whole.drop_vars("one"),
        "name": whole.rename(one="two"),
        "dimension": whole.rename(x="y"),
        "attribute": whole.assign_attrs(n=4),
        "unit": whole.assign(one=whole.one.assign_attrs(units="m")),
        "type": whole.assign(density=whole.density.astype(np.float32)),
    }
    sums = {name: checksum(one) for name, one in others.items()} | {"whole": checksum(whole)}
    assert len(set(sums.values())) == len(sums)


def test_a_flipped_byte_and_a_missing_variable_are_not_read_as_a_run(tmp_path: Path) -> None:
    reverse = fpsolve.Reverse(fpsolve.Gaussian(0.0, std=0.5), fpsolve.OrnsteinUhlenbeck(T=1.0))
    grid = fpsolve.Grid.uniform((-5, 5), cells=60)
    run = fpsolve.evolve(reverse, {"a": fpsolve.Gaussian(0.1, std=1.0)}, grid=grid, steps=10, t_min=0.5)
    path = tmp_path / "run.nc"
    run.fpsolve.save(path)
    assert load(path).identical(run)

    def flip(file: h5py.File) -> None:
        file["density"][0, -1, 10] = np.nextafter(file["density"][0, -1, 10], 1.0)

    def forget(file: h5py.File) -> None:
        del file["tail"]

    def rename(file: h5py.File) -> None:
        file.attrs["boundary"] = "absorbing"

    for damage in (flip, forget, rename):
        run.fpsolve.save(path)
        with h5py.File(path, "r+") as file:
            damage(file)
        with pytest.raises(ValueError, match=r"^path: expected a file as it was written, got .*another checksum"):
            load(path)


def test_a_damaged_point_of_a_sweep_is_not_used(tmp_path: Path) -> None:
    fpsolve.sweep(abs_of, x=[1.0, 2.0], out=tmp_path)
    path = next(iter(tmp_path.glob("*.nc")))
    with h5py.File(path, "r+") as file:
        file["value"][()] = 7.0
    with pytest.raises(ValueError, match=r"^out: expected result files as they were written, got .*delete it to have"):
        fpsolve.sweep(abs_of, x=[1.0, 2.0], out=tmp_path)


def test_numbers_in_another_file_are_not_read(tmp_path: Path) -> None:
    """External raw storage, external links and virtual datasets: a result file would read any file of the machine."""
    (tmp_path / "secret").write_bytes(np.arange(4.0).tobytes())
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["density"] = np.arange(4.0)

    def raw(file: h5py.File) -> None:
        file.create_dataset("density", (4,), "f8", external=[(str(tmp_path / "secret"), 0, 32)])

    def link(file: h5py.File) -> None:
        file["density"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "density")

    def virtual(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((4,), "f8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "density", (4,))
        file.create_group("inner").create_virtual_dataset("density", layout)

    for make in (raw, link, virtual):
        with h5py.File(tmp_path / "run.nc", "w") as file:
            make(file)
        with pytest.raises(
            ValueError, match=r"^path: expected a file with all of its content, got .*'density' is else"
        ):
            load(tmp_path / "run.nc")
