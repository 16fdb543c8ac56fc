"""Kill processes at random moments (kill -9) and look at what they leave: every file whole or absent.

``python tests/kills.py --n 30`` does it 30 times for each kind, the cluster among them; `tests/test_kills.py` does it
3 to 5 times. What was finished has to be the same bit for bit, what is resumed has to come to the same end, workers
have to end with their parent, and of a folder of results no file may be of another run than its neighbours.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray as xr

import fpsolve
from fpsolve.campaign.command import cluster
from fpsolve.settings import netcdf, read_netcdf, result_folder, write_all

POINTS = 24
SIZE = 20_000
CLUSTER = """
import sys
from distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as one:
        print(one.scheduler_address, flush=True)
        sys.stdin.readline()
"""


def point(a: int) -> xr.DataArray:
    """What a sweep computes: enough numbers that writing takes a moment."""
    time.sleep(0.002)
    return xr.DataArray(np.random.default_rng(a).standard_normal(SIZE), dims="x", name="value")


def serial(out: Path) -> None:
    fpsolve.sweep(point, out=out, a=list(range(POINTS)), progress=False)


def jobs(out: Path) -> None:
    fpsolve.sweep(point, n_jobs=2, out=out, a=list(range(POINTS)), progress=False)


def on_cluster(out: Path) -> None:
    with cluster(os.environ["FPSOLVE_KILLS_CLUSTER"]):
        serial(out)


def study(out: Path) -> None:
    """Write the five files of a study again and again, each time with another number in all of them."""
    for turn in range(10_000):
        content = np.full(SIZE, float(turn))
        writers = dict.fromkeys(("figure.png", "figure.pdf", "report.md", "summary.json"), content.tobytes)
        files = {name: (lambda file, made=made: file.write(made())) for name, made in writers.items()}
        write_all(out, {"run.nc": netcdf({"": xr.Dataset({"value": ("x", content)})}), **files})


def look_at_points(out: Path) -> None:
    found = [path for path in out.glob("*") if not path.name.startswith(".fpsolve-")]
    for path in found:
        assert read_netcdf(path)[1], path
    before = {path: path.read_bytes() for path in found}
    result = fpsolve.sweep(point, out=out, a=list(range(POINTS)), progress=False)
    assert {path: path.read_bytes() for path in found} == before
    assert np.array_equal(result.value.values, np.stack([point(a).values for a in range(POINTS)]))


def look_at_study(out: Path) -> None:
    values = set()
    files = [path for path in out.glob("*") if not path.name.startswith(".fpsolve-")]
    for path in files:
        if path.suffix == ".nc":
            dataset, whole = read_netcdf(path)
            assert whole, path
            content = dataset["value"].values
        else:
            content = np.frombuffer(path.read_bytes())
        assert content.shape == (SIZE,)
        values |= set(content.tolist())
    assert len(values) <= 1, "files of two runs beside each other"
    assert len(files) == 5 or not (out / "summary.json").exists()


KINDS: dict[str, tuple[Callable[[Path], None], Callable[[Path], None], float]] = {
    "serial": (serial, look_at_points, 0.4),
    "study": (study, look_at_study, 0.1),
    "jobs": (jobs, look_at_points, 3.0),
    "cluster": (on_cluster, look_at_points, 1.5),
}


def of_session(leader: int) -> list[int]:
    """Processes of a session that live, by /proc."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = entry.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(session) == leader and state != "Z":
            found.append(int(entry.parent.name))
    return found


def kill_once(kind: str, folder: Path, chance: random.Random) -> None:
    """Start, kill at some moment, look."""
    work, look, longest = KINDS[kind]
    out = folder / "out"
    process = os.fork()
    if process == 0:
        os.setsid()
        # the end of a killed worker is no news
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        work(out)
        os._exit(0)
    deadline = time.monotonic() + 60.0
    while not list(out.glob("*")) and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(chance.uniform(0.0, 0.2 * longest if kind == "jobs" else longest))
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    deadline = time.monotonic() + 20.0
    while of_session(process) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not of_session(process), "workers live on"
    look(out)
    result_folder(out)
    assert not list(out.glob(".fpsolve-*")), "leftovers"


def main(arguments: list[str] | None = None) -> int:
    """Kill `n` of each kind and print how many."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("kinds", nargs="*", default=list(KINDS))
    asked = parser.parse_args(arguments)
    chance = random.Random(asked.seed)
    for kind in asked.kinds:
        command = [sys.executable, "-c", CLUSTER] if kind == "cluster" else ["cat"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            if kind == "cluster" and server.stdout is not None:
                os.environ["FPSOLVE_KILLS_CLUSTER"] = server.stdout.readline().strip()
            for _ in range(asked.n):
                with tempfile.TemporaryDirectory() as folder:
                    kill_once(kind, Path(folder), chance)
            if server.stdin is not None:
                server.stdin.close()
        print(f"{kind}: {asked.n} killed, every file whole or absent", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
