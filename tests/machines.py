"""Try fpsolve in what this machine has, and print a table: locales, terminals, homes, Pythons, wheel and sdist.

``python tests/machines.py`` runs a few commands in other surroundings with the Python at hand, some seconds each.
``--install`` builds wheel and sdist as well and installs them, from the package index, into environments of their own
in empty folders: the wheel for every Python from 3.11 on that is found, the sdist and the lowest numpy for one of them.
Exit status 1 if something fails.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
RUN = """
import numpy, sys
import fpsolve as fp
reverse = fp.Reverse(fp.GaussianMixture([0.4, 0.6], [-1.0, 1.0], stds=[0.4, 0.5]), fp.VP())
starts = {"exact": reverse.marginal(1.0), "prior": fp.Gaussian(0.0, std=1.0)}
run = fp.evolve(reverse, starts, t_min=0.01, tol=1e-4)
curve = fp.forgetting_curve(run, reference="exact").isel(start=0, t=-1)
truth = fp.closed_form.weighted_tv(reverse, starts["prior"], starts["exact"], 0.01)
if not abs(float(curve.distance) - truth.value) <= float(curve.error) + truth.error:
    raise SystemExit("the error bar does not hold")
run.fpsolve.save("run.nc")
if not fp.load("run.nc").identical(run):
    raise SystemExit("another run came back")
print("Python", sys.version.split()[0] + ", numpy", numpy.__version__)
"""
#: Commands after -m fpsolve; the last two look at the file that `RUN` leaves.
COMMANDS = (["--version"], ["studies"], ["studies", "forgetting"], ["verify", "steady states"], ["verify", "run.nc"])
Row = tuple[str, str, float]


def tried(python: list[str], environment: dict[str, str]) -> str:
    """Run everything in an empty folder; return what it says of itself, or the end of what went wrong."""
    said = ""
    with tempfile.TemporaryDirectory() as folder:
        for command in (["-c", RUN], *(["-m", "fpsolve", *one] for one in COMMANDS)):
            done = subprocess.run(
                [*python, *command], cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                text=True, errors="replace", check=False,
            )  # fmt: skip
            if done.returncode:
                last = (done.stderr.strip() or done.stdout.strip() or "nothing said").splitlines()[-1]
                return f"FAILS ({' '.join(command[-2:])[:30]}): {last[:120]}"
            said = said or done.stdout.strip()
    return said


def surroundings() -> Iterator[tuple[str, Callable[[], str]]]:
    """The Python at hand in other surroundings: nothing has a terminal here."""
    plain = os.environ | {"PYTHONPATH": str(ROOT)}
    homeless = {name: value for name, value in plain.items() if name not in ("HOME", "USER", "LOGNAME")}
    for name, options, environment in (
        ("as it is", [], plain),
        ("LANG=C", [], plain | {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
        ("python -O", ["-O"], plain),
        ("python -OO", ["-OO"], plain),
        ("warnings are errors", ["-W", "error"], plain),
        ("HOME unset", [], homeless),
        ("HOME that is no folder", [], plain | {"HOME": os.devnull}),
        ("width 40", [], plain | {"COLUMNS": "40"}),
        ("TERM=dumb, no colour", [], plain | {"TERM": "dumb", "NO_COLOR": "1"}),
    ):
        yield name, lambda o=options, e=environment: tried([sys.executable, *o], e)


def pythons() -> dict[str, Path]:
    """Interpreters from 3.11 on by version: in the path, and of pyenv."""
    places = [Path(part) for part in os.environ.get("PATH", "").split(os.pathsep)]
    places += sorted((Path.home() / ".pyenv" / "versions").glob("*/bin"))
    found: dict[str, Path] = {}
    for place in places:
        for name in sorted(place.glob("python3.*")) if place.is_dir() else ():
            if re.fullmatch(r"python3\.1[1-9]", name.name):
                done = subprocess.run([name, "--version"], capture_output=True, text=True, check=False)
                if done.returncode == 0:
                    found.setdefault(done.stdout.split()[-1], name)
    return found


def installed(python: Path, what: str, *more: str) -> str:
    """Install into an environment of its own and run everything there."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, "-m", "venv", folder], check=True, capture_output=True)
        own = str(Path(folder) / ("Scripts" if os.name == "nt" else "bin") / "python")
        done = subprocess.run(
            [own, "-m", "pip", "install", "-q", what, *more], capture_output=True, text=True, check=False
        )
        if done.returncode:
            return f"FAILS (pip install): {(done.stderr.strip() or 'nothing said').splitlines()[-1][:120]}"
        return tried([own], {name: value for name, value in os.environ.items() if name != "PYTHONPATH"})


def built(folder: Path) -> dict[str, str]:
    """Build wheel and sdist; return their paths by kind."""
    subprocess.run([sys.executable, "-m", "venv", folder / "build"], check=True, capture_output=True)
    own = folder / "build" / ("Scripts" if os.name == "nt" else "bin") / "python"
    subprocess.run([own, "-m", "pip", "install", "-q", "build"], check=True)
    subprocess.run([own, "-m", "build", "-o", folder, ROOT], check=True, capture_output=True)
    return {"wheel": str(next(folder.glob("*.whl"))), "sdist": str(next(folder.glob("*.tar.gz")))}


def installations(folder: Path) -> Iterator[tuple[str, Callable[[], str]]]:
    made = built(folder)
    for k, (number, python) in enumerate(sorted(pythons().items())):
        yield f"wheel, Python {number}", lambda p=python: installed(p, made["wheel"])
        if k == 0:
            yield f"sdist, Python {number}", lambda p=python: installed(p, made["sdist"])
            yield f"wheel, lowest numpy, Python {number}", lambda p=python: installed(p, made["wheel"], "numpy==2.0.*")


def main(arguments: list[str]) -> int:
    """Try, print, 1 if something failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--install", action="store_true", help="build and install for every Python that is found")
    asked = parser.parse_args(arguments)
    failed = 0
    print("found: " + ", ".join(f"Python {number}" for number in sorted(pythons())), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for some in (surroundings(), installations(Path(folder)) if asked.install else ()):
            for name, trying in some:
                began = time.perf_counter()
                said = trying()
                failed += said.startswith("FAILS")
                print(f"{name:36s} {time.perf_counter() - began:5.0f} s  {said}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
