"""Plant errors, one at a time, in a copy of the package, and see whether the tests named beside them fail.

``python tests/mutants.py`` plants all of `mutants.toml` and prints caught or survived; ``... samplers memory`` those
whose file or tests have one of the words in them, ``--jobs 2`` two at a time. The exit status is 1 if one survived. The
package that is installed is not touched. `test_mutants.py` looks that every error can still be planted.

A table of the file is a module of the package; a line is ``'what stands there once' = ['what is put in its place',
'the tests that should fail']``: files without test_ and .py, or ``file::test`` for some of them.
"""

import argparse
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]


class Mutant(NamedTuple):
    """File in the package, what stands there once, what is put in its place, the tests that should fail."""

    file: str
    old: str
    new: str
    tests: str


MUTANTS = [
    Mutant(file, old, new, tests)
    for file, lines in tomllib.loads((ROOT / "tests" / "mutants.toml").read_text()).items()
    for old, (new, tests) in lines.items()
]


def planted(source: str, old: str, new: str) -> str:
    """Return a source with the error; ValueError unless there is one place for it."""
    if source.count(old) != 1:
        raise ValueError(f"{old!r} stands {source.count(old)} times in it")
    return source.replace(old, new)


def nodes(tests: str) -> list[str]:
    """Return what pytest calls the tests."""
    found = []
    for word in tests.split():
        file, _, name = word.partition("::")
        found.append(f"tests/test_{file}.py" + (f"::{name}" if name else ""))
    return found


def run(folder: Path, tests: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run tests in the copy, which the processes they start import too: of whole files the fast ones."""
    fast = [] if "::" in tests else ["-m", "not slow"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, *fast, *nodes(tests)]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)
    if done.returncode not in (0, 1, 2):
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    return done


def caught(folder: Path, mutant: Mutant) -> bool:
    """Plant one error in the copy in `folder`, run its tests, take it out again."""
    path = folder / "fpsolve" / f"{mutant.file}.py"
    source, stamp = path.read_text(), path.stat()
    path.write_text(planted(source, mutant.old, mutant.new))
    try:
        return run(folder, mutant.tests, "-x").returncode != 0
    finally:
        path.write_text(source)
        # with its time, or else what was compiled of it would be compiled again
        os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


def copied(folder: Path) -> Path:
    """Fill a folder with the package, the compiled code in it, and what the tests read."""
    shutil.copytree(ROOT / "fpsolve", folder / "fpsolve")
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    for other in ("pyproject.toml", "README.md", "CONTRIBUTING.md", "notebooks"):
        (folder / other).symlink_to(ROOT / other)
    return folder


def main(arguments: list[str]) -> int:
    """Plant, run, print; 1 if an error survived."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("words", nargs="*")
    asked = parser.parse_args(arguments)
    chosen = [one for one in MUTANTS if not asked.words or any(w in f"{one.file} {one.tests}" for w in asked.words)]
    with tempfile.TemporaryDirectory() as name:
        copies: queue.Queue[Path] = queue.Queue()
        for k in range(asked.jobs):
            copies.put(copied(Path(name) / str(k)))
        sound = copies.get()
        for one in (
            {one.tests for one in chosen if "::" not in one.tests},
            {o.tests for o in chosen if "::" in o.tests},
        ):
            tests = " ".join(sorted({word for tests in one for word in tests.split()}))
            if tests and (done := run(sound, tests)).returncode:
                raise SystemExit(f"some fail without an error planted:\n{done.stdout[-2000:]}")
        copies.put(sound)

        def plant(mutant: Mutant) -> bool:
            folder, began = copies.get(), time.perf_counter()
            found = caught(folder, mutant)
            copies.put(folder)
            told = f"{'caught' if found else 'SURVIVED':9s}{time.perf_counter() - began:5.0f} s"
            print(f"{told}  {mutant.file}: {mutant.old!r} -> {mutant.new!r}  ({mutant.tests})", flush=True)
            return found

        with ThreadPoolExecutor(asked.jobs) as pool:
            found = list(pool.map(plant, chosen))
    print(f"{sum(found)} of {len(found)} caught")
    return 0 if all(found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
