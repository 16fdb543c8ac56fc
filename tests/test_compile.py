"""Compiled code without its cache: nowhere to write, full, damaged, stale. It runs, and says once what would help."""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import fpsolve

PACKAGE = Path(fpsolve.__file__).parent
# two compiled functions in two files, so that saying it twice would be seen
FUNCTION = """
from fpsolve._compile import compiled

@compiled
def divide(x, y):
    return x / y
"""
RUN = "import one.a, two.b; print(one.a.divide(1.0, 3.0) + two.b.divide(1.0, 0.0))"


def copied(folder: Path) -> Path:
    """Return a folder with what `RUN` needs, without caches."""
    for file, text in {"one/a.py": FUNCTION, "two/b.py": FUNCTION}.items():
        (folder / file).parent.mkdir()
        (folder / file).write_text(text)
    (folder / "fpsolve").mkdir()
    (folder / "fpsolve" / "__init__.py").touch()
    for name in ("_compile.py", "_messages.py"):
        shutil.copy(PACKAGE / name, folder / "fpsolve" / name)
    return folder


def run(folder: Path, code: str = RUN, **environment: str) -> tuple[str, list[str]]:
    """Return what a new interpreter prints, and the warnings it prints."""
    kept = {k: v for k, v in os.environ.items() if k not in ("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR")}
    environment = {"HOME": os.devnull, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"} | environment
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=folder, env=kept | environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), [line for line in done.stderr.splitlines() if "Warning:" in line]


@pytest.mark.parametrize("where", ["in the package", "given by NUMBA_CACHE_DIR"])
def test_without_a_folder_that_can_be_written_it_runs_and_says_so_once(tmp_path: Path, where: str) -> None:
    folder = copied(tmp_path)
    for room in ("one", "two"):
        # permissions do not bind the superuser, a file in place of a folder does
        (folder / room / "__pycache__").touch()
    given = {"NUMBA_CACHE_DIR": os.devnull} if "given" in where else {}
    out, warned = run(folder, **given)
    assert out == "inf"
    assert len(warned) == 1 and "compiled code: expected a folder for its cache that can be written, got" in warned[0]
    assert "set NUMBA_CACHE_DIR to a folder that can be written" in warned[0]
    if where == "in the package":
        # and that helps
        assert run(folder, NUMBA_CACHE_DIR=str(tmp_path / "cache")) == (out, [])
        assert list((tmp_path / "cache").rglob("*.nbc"))


@pytest.mark.skipif(sys.platform == "win32", reason="limits of resources")
def test_a_full_disk_for_the_cache_is_not_fatal(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))\n"
    out, warned = run(folder, limit + RUN)
    assert out == "inf"
    assert len(warned) == 1 and "expected a cache that can be written, got" in warned[0]
    assert not list(folder.rglob("*.tmp.*"))
    assert run(folder) == (out, [])


def test_a_damaged_cache_is_compiled_anew(tmp_path: Path) -> None:
    def middle_bit(content: bytes) -> bytes:
        half = len(content) // 2
        return content[:half] + bytes([content[half] ^ 0x40]) + content[half + 1 :]

    folder = copied(tmp_path)
    counting = RUN + "; from fpsolve import _compile; print(_compile._Cache.compiled_anew)"
    assert run(folder, counting) == ("inf\n2", [])
    # index and data, in turn: cut, empty, and one bit of the machine code, which numba would run
    for one, two in [(lambda c: c[: len(c) // 2], middle_bit), (lambda c: b"", lambda c: c[: len(c) // 2])]:
        (index,) = (folder / "one" / "__pycache__").glob("*.nbi")
        (data,) = (folder / "two" / "__pycache__").glob("*.nbc")
        index.write_bytes(one(index.read_bytes()))
        data.write_bytes(two(data.read_bytes()))
        again, warned = run(folder, counting)
        # both, although it is said once
        assert again == "inf\n2" and len(warned) == 1 and "expected a cache that can be read" in warned[0]
    # mended: the next start has nothing to say
    assert run(folder, counting) == ("inf\n0", [])


def test_code_compiled_from_other_sources_is_not_run(tmp_path: Path) -> None:
    """A change of a function in another file, which is compiled into its caller; numba alone looks at one file."""
    (tmp_path / "inner.py").write_text("FACTOR = 2.0\n")
    body = "from fpsolve._compile import compiled\n\n\n@compiled\ndef inner(x):\n    return {} * x\n"
    (tmp_path / "middle.py").write_text(body.format("2.0"))
    outer = """
        from inner import FACTOR
        from middle import inner
        from fpsolve._compile import compiled

        @compiled
        def outer(x):
            return FACTOR * inner(x)
        print(outer(1.0))
        """
    (tmp_path / "outer.py").write_text(textwrap.dedent(outer))
    folder = copied(tmp_path)
    assert run(folder, "import outer") == ("4.0", [])
    (tmp_path / "middle.py").write_text(body.format("3.0"))
    assert run(folder, "import outer") == ("6.0", [])
    (tmp_path / "inner.py").write_text("FACTOR = 5.0\n")
    assert run(folder, "import outer") == ("15.0", [])
    assert run(folder, "import outer") == ("15.0", [])


SMALL = """
import sys
import numpy as np
import fpsolve as fp

np.seterr(all="raise", under="ignore")
law, prior = fp.GaussianMixture([0.4, 0.6], [-1.0, 1.0], stds=[0.4, 0.5]), fp.VP().prior()
plane = fp.GaussianMixture([0.4, 0.6], [[-1.0, 0.0], [1.0, 0.5]], stds=[0.5, 0.6])
line, square = fp.Grid.uniform((-5.0, 5.0), cells=24), fp.Grid.uniform([(-4.0, 4.0)] * 2, cells=8)
circle = fp.Dynamics(lambda t, x: 0.5 + np.cos(x), 0.9, boundary="periodic", autonomous=True)
reverse = fp.Reverse(law, fp.VP())
noise = fp.stochastic.constant(0.05)
found = {
    "line": fp.evolve(reverse, prior, grid=line, steps=8, t_min=0.1).density,
    "plane": fp.evolve(fp.Reverse(plane, fp.VP()), plane, grid=square, steps=4, t_min=0.1).density,
    "circle": fp.evolve(circle, fp.Gaussian(2.0, std=0.5), grid=fp.Grid.uniform((0.0, 2.0 * np.pi), cells=24),
                        steps=8, t_max=0.5).density,
    "transport": fp.evolve(fp.Reverse(law, fp.VP(), eta=0.0), prior, grid=line, steps=8, t_min=0.5).density,
    "dobrushin": fp.bounds.dobrushin(fp.kernels.exact(reverse, line, 0.6, 0.4)).value,
    "sampler": fp.kernels.sampler("euler-maruyama", reverse, line, 0.6, 0.4).matrix,
    "data": fp.Reverse(fp.KernelDensity(np.linspace(-1.0, 1.0, 9) ** 3), fp.VP()).score(0.3, np.linspace(-2.0, 2.0, 7)),
    "noise": fp.stochastic.evolve(reverse, law, noise, grid=line, steps=4, paths=2, seed=0, t_min=0.5).density,
}
np.savez(sys.argv[1], **{name: np.asarray(numbers) for name, numbers in found.items()})
"""


def test_without_compilation_it_gives_the_same_numbers(tmp_path: Path) -> None:
    """Nor does it divide by zero where only vector units would: floating-point errors raise."""
    files = [tmp_path / "compiled.npz", tmp_path / "plain.npz"]
    for file, plain in zip(files, "01", strict=True):
        environment = os.environ | {"NUMBA_DISABLE_JIT": plain, "PYTHONPATH": str(PACKAGE.parent)}
        command = [sys.executable, "-W", "ignore", "-c", SMALL, str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
    with np.load(files[0]) as compiled, np.load(files[1]) as plain_numbers:
        assert len(compiled.files) == 8
        for name in compiled.files:
            assert np.abs(plain_numbers[name] - compiled[name]).max() <= 1e-13 * np.abs(compiled[name]).max(), name


def test_there_is_one_home_of_compiled_code() -> None:
    """What numba compiles elsewhere would need a folder for its cache, and know nothing of stale sources."""
    named = {path.name for path in PACKAGE.rglob("*.py") if "njit" in path.read_text()}
    assert named == {"_compile.py"}
