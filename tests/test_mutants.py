"""Every error of `mutants.py` can be planted, in code that Python still reads; the program itself is for a night."""

from pathlib import Path

from mutants import MUTANTS, nodes, planted

import fpsolve


def test_every_error_can_be_planted() -> None:
    package = Path(fpsolve.__file__).parent
    assert len(MUTANTS) >= 60
    for file, old, new, tests in MUTANTS:
        path = package / f"{file}.py"
        compile(planted(path.read_text(), old, new), str(path), "exec")
        for node in nodes(tests):
            place, _, name = node.partition("::")
            assert f"def {name}" in (Path(__file__).parents[1] / place).read_text(), node
