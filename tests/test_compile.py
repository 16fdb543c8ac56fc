"""Compiled code without its cache: nowhere to write, full, damaged, stale. It runs, and says once what would help."""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

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
    for name in ("_compile.py", "_failure.py"):
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
