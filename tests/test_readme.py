"""The README as a new user meets it: its script runs as it stands, its test command is the one that is run."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


def test_the_script_runs_as_it_stands(tmp_path):
    script = tmp_path / "twenty_lines.py"
    script.write_text(blocks("python")[0])
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    assert (tmp_path / "forgetting.png").stat().st_size > 10_000
    assert "particles and grid: agree" in done.stdout
    prior = re.search(r"prior ([-\d.e]+) \+- ([-\d.e]+)", done.stdout)
    assert prior is not None
    assert 0.0 < float(prior[2]) < 1e-3 * float(prior[1]) < 1e-8


def test_first_blocks_are_one_command_each_and_the_second_is_what_ci_runs():
    main_job, tests = blocks("sh")[:2]
    assert main_job.count("\n") == tests.count("\n") == 1
    assert "fpsolve study forgetting" in main_job
    assert tests.strip() in (ROOT / ".ci" / "run").read_text()


def test_links_and_figures_exist():
    targets = [t for t in re.findall(r"\]\(([^)]+)\)", README) if "://" not in t]
    assert targets
    missing = [t for t in targets if not (ROOT / t).exists()]
    assert not missing
