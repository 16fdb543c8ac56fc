"""Plant errors, one at a time, in a copy of the package, and see whether the tests named beside them fail.

``python tests/mutants.py`` plants all of them and prints caught or survived; ``... samplers memory`` those
whose file or tests have one of the words in them. The exit status is 1 if one survived. The package that is
installed is not touched. `test_mutants.py` looks that every error can still be planted.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]

#: File in the package, what stands there once, what is put in its place, the tests that should fail.
MUTANTS: tuple[tuple[str, str, str, str], ...] = (
    ("laws/_gaussian", "return Tail(2.0, float(0.5 /", "return Tail(2.0, float(1.0 /", "laws bounds_moments"),
    (
        "laws/_gaussian",
        "np.linalg.eigvalsh(self.component_covs).min()",
        "np.linalg.eigvalsh(self.component_covs).max()",
        "laws",
    ),
    ("laws/_laplace", "-z - np.log(2.0 * np.asarray(self.scale))", "-z - np.log(np.asarray(self.scale))", "laws"),
    (
        "laws/_laplace",
        "2.0 * np.asarray(self.scale) ** 2 + self.std**2",
        "np.asarray(self.scale) ** 2 + self.std**2",
        "laws diffused_laws",
    ),
    ("laws/_laplace", "np.tanh(0.5 * (self._log_branch", "np.tanh((self._log_branch", "laws diffused_laws"),
    ("laws/_student_t", "- 0.5 * (df + d) * np.log1p", "- 0.5 * (df + 1) * np.log1p", "laws"),
    ("laws/_student_t", "-(self.df + self.dim) * offsets", "-(self.df + 1) * offsets", "laws"),
    (
        "laws/_uniform",
        "np.asarray(self.high) - self.low) ** 2 / 12.0 + self.std**2",
        "np.asarray(self.high) - self.low) ** 2 / 12.0",
        "laws diffused_laws",
    ),
    (
        "laws/_uniform",
        "return Tail(2.0, 0.5 / self.std**2)",
        "return Tail(2.0, 1.0 / self.std**2)",
        "laws bounds_moments diffused_laws",
    ),
    ("processes/_vp", "return -self.beta(t) / (2.0 * self.sigma**2)", "return -self.beta(t) / 2.0", "processes"),
    ("processes/_vp", "np.expm1(-2.0 * self._integral(0.0, t))", "np.expm1(-self._integral(0.0, t))", "processes"),
    ("processes/_ve", "np.sqrt(2.0 * self._growth)", "np.sqrt(self._growth)", "processes"),
    ("processes/_ve", "np.where(blurred, self.sigma_min**2, 0.0)", "np.where(blurred, 0.0, 0.0)", "processes"),
    ("processes/_ve", "return np.sqrt(2.0 * self._time(t))", "return np.sqrt(self._time(t))", "processes"),
    ("grid", "faces = ((n - k) * low + k * high) / n", "faces = ((n - k) * low + k * high) / (n + 1)", "grid"),
    (
        "weights",
        "return np.exp(self.rate * _norm(x, dim))",
        "return np.exp(2.0 * self.rate * _norm(x, dim))",
        "weights",
    ),
    (
        "distances/_weighted",
        "return (0.5 * twice).assign_attrs",
        "return (0.5 * (0.5 * twice)).assign_attrs",
        "distances",
    ),
    ("distances/_energy", "np.sqrt(2.0 * np.hypot(away", "np.sqrt(np.hypot(away", "distances_practice"),
    ("distances/_energy", "np.sqrt(0.25 * np.pi * (each", "np.sqrt(0.5 * np.pi * (each", "distances_practice"),
    ("distances/_moments", "min(crude, change", "min(0.0 * crude, change", "distances_practice"),
    (
        "bounds/_moments",
        "(1.5 + moment) * (root + 0.5 * kl)",
        "(0.5 + moment) * (root + 0.5 * kl)",
        "bounds_moments bounds_entropy",
    ),
    (
        "bounds/_moments",
        "np.sqrt(2.0 * (1.0 + moment)) * root",
        "np.sqrt(1.0 + moment) * root",
        "bounds_moments bounds_entropy",
    ),
    (
        "bounds/_moments",
        "1.0 + 2.0 * beta * second + beta**2 * fourth",
        "1.0 + beta * second + beta**2 * fourth",
        "bounds_moments",
    ),
    ("bounds/_explicit_kl", "discretization = 2.0 * h * beta", "discretization = 0.5 * h * beta", "bounds_explicit_kl"),
    (
        "bounds/_poincare",
        "Bracket(float(0.5 * np.exp(low)), float(4.0 * np.exp(high)))",
        "Bracket(float(np.exp(low)), float(np.exp(high)))",
        "bounds_poincare",
    ),
    ("bounds/_poincare", "np.sqrt(c_last / c_first)", "np.sqrt(c_first / c_last)", "bounds_poincare"),
    (
        "bounds/_girsanov",
        "factor = 0.5 * (0.5 * (1.0 + square)) ** 2 / square",
        "factor = (0.5 * (1.0 + square)) ** 2 / square",
        "bounds_entropy bounds",
    ),
    ("bounds/_dobrushin", "margin - 1.0", "margin + 9.0", "bounds bounds_boxes"),
    (
        "samplers/_gaussian",
        "propagator = np.asarray(process.scale(t_to, nodes)) ** (eta**2)",
        "propagator = np.asarray(process.scale(t_to, nodes)) ** eta",
        "samplers",
    ),
    ("samplers/_gaussian", "pull = 0.5 * (1.0 + eta**2) * half", "pull = (1.0 + eta**2) * half", "samplers"),
    (
        "samplers/_gaussian",
        "drawn = eta**2 * added * after / before",
        "drawn = eta * added * after / before",
        "samplers samplers_named",
    ),
    (
        "samplers/_gaussian",
        "linear=1.0 / alpha, score=added / alpha, std=math.sqrt(kept)",
        "linear=1.0 / alpha, score=added / alpha, std=math.sqrt(added)",
        "samplers samplers_named",
    ),
    ("samplers/_heun", "end * (y + 0.5 * change * (slope + corrected))", "end * (y + change * slope)", "samplers"),
    (
        "kernels/_exact",
        "np.square(grid.spacing) / 12.0 if source",
        "np.square(grid.spacing) / 6.0 if source",
        "kernels",
    ),
    ("kernels/_kernel", "0.0 if self.defects is None else self.defects", "0.0", "kernels kernels_samplers"),
    ("particles/_agreement", "dof = firsts.size - 1", "dof = firsts.size", "particles"),
    (
        "particles/_agreement",
        "allowance = (grid_side.error + grid_side.tail) / std",
        "allowance = 4.0 * (grid_side.error + grid_side.tail) / std",
        "particles",
    ),
    (
        "particles/_agreement",
        "return max(5.0, 0.5 * math.pow(n, 0.6))",
        "return max(50.0, 5.0 * math.pow(n, 0.6))",
        "particles particles_by_hand binning",
    ),
    (
        "particles/_agreement",
        "stretch = (dof + 2.0 * off_centre)",
        "stretch = (dof + off_centre)",
        "particles particles_by_hand binning",
    ),
    (
        "particles/_floor",
        "np.sqrt(2.0 * np.abs(probability) * (1.0 - probability) / (np.pi * n))",
        "np.sqrt(np.abs(probability) * (1.0 - probability) / (np.pi * n))",
        "particles particles_by_hand",
    ),
    (
        "particles/_cells",
        "np.gradient(probability, axis=axis) / 12.0",
        "np.gradient(probability, axis=axis) / 6.0",
        "particles binning",
    ),
    (
        "closed_form/_mixture",
        "covs = scale**2 * self.covs + variance",
        "covs = scale * self.covs + variance",
        "closed_form",
    ),
    (
        "closed_form/_mixture",
        "-0.5 * (squares + np.log(variances) + LOG_2PI)",
        "-0.5 * (squares + LOG_2PI)",
        "closed_form",
    ),
    ("solver/_fluxes", "series = 1.0 - 0.5 * a", "series = 1.0 - 0.4 * a", "finite_volume stepping"),
    ("evolution/_estimate", "PAIR_SAFETY = 4.0", "PAIR_SAFETY = 2.0", "safety"),
    (
        "evolution/_estimate",
        "np.where(accident, high - 1.0,",
        "np.where(accident & False, high - 1.0,",
        "resolution tolerance safety",
    ),
    ("evolution/_estimate", "share = 1.0 / (2.0**order - 1.0)", "share = 1.0 / 2.0**order", "safety"),
    (
        "evolution/_result",
        '(("start", "t"), solution.values.sum(axis=axes) * solution.grid.volume)',
        '(("start", "t"), np.round(solution.values.sum(axis=axes) * solution.grid.volume, 3))',
        "safety evolution",
    ),
    (
        "evolution/_result",
        '"smallest_density": float(solution.values.min())',
        '"smallest_density": max(0.0, float(solution.values.min()))',
        "safety evolution",
    ),
    (
        "evolution/_result",
        "_scale(solution.values, per_x),",
        "_scale(solution.values / (solution.values.sum(axis=axes, keepdims=True) * solution.grid.volume), per_x),",
        "safety",
    ),
    ("data/_standardise", "np.ldexp(mean, power), np.ldexp(std, power)", "mean, std", "data"),
    (
        "stochastic/_march",
        "power = 0.5 * (xx + yy) + np.hypot",
        "power = 0.5 * (xx + yy) - np.hypot",
        "stochastic stochastic_plane",
    ),
    ("stochastic/_march", "factor = held / h**2", "factor = 0.5 * held / h**2", "stochastic stochastic_kernels"),
    (
        "flows/_density",
        "factors = np.array([1.0, 1.0, -2.0])",
        "factors = np.array([1.0, 1.0, -1.0])",
        "flows_density flows",
    ),
    (
        "campaign/_identity",
        "parts = [code.co_code.hex(), *code.co_names]",
        "parts = [code.co_code.hex()]",
        "campaign campaign_reads",
    ),
    ("studies/_runner", '"seed": settings.seed,', '"seed": 0,', "safety studies"),
    ("plots/_density", "(per unit of x)", "(per unit of area)", "plots"),
    (
        "settings/_files",
        "return dataset, written is None or written == checksum(dataset)",
        "return dataset, True",
        "files",
    ),
    ("settings/_files", "_refuse_elsewhere(file, path)\n            written", "written", "files"),
    ("settings/_files", "os.replace(old, folder / old.name)", "old.unlink()", "files"),
    ("settings/_files", "if place.is_dir():  # else", "if True:  # else", "files"),
    ("settings/_files", "        _refuse_folders(folder, names)\n    except", "    except", "files"),
    ("settings/_files", "for name in reversed(names) if len(names) > 1 else ():", "for name in ():", "files"),
    ("_memory", "yield max(0, most - taken + pages)", "yield most", "memory"),
    ("_memory", "yield max(0, most - mapped)", "yield 10**15", "memory"),
    ("_memory", "if free is not None and needed > free:", "if free is not None and needed > 1e3 * free:", "memory"),
    ("_compile", "if checksum != hashlib.sha256(content).hexdigest():", "if False:", "compile"),
    ("_compile", "if origin == _origin(self.function) else None", "", "compile"),
    ("cli", 'for name in ("SIGINT", "SIGTERM", "SIGHUP"):', 'for name in ("SIGINT",):', "cli_ends"),
    ("cli", "return 128 + 13  # as SIGPIPE would have it", "return 0", "cli_ends"),
    ("_checks", "if not 0 < len(value) <= 200 or not value.isprintable():", "if False:", "fuzz border settings"),
)


def planted(source: str, old: str, new: str) -> str:
    """Return a source with the error; ValueError unless there is one place for it."""
    if source.count(old) != 1:
        raise ValueError(f"{old!r} stands {source.count(old)} times in it")
    return source.replace(old, new)


def fails(folder: Path, tests: str) -> bool:
    """Run tests in the copy, the slow ones where all are."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    names = [f"tests/test_{name}.py" for name in tests.split()]
    for marker in (["-m", "not slow"], []):
        done = subprocess.run([*command, *marker, *names], capture_output=True, text=True, check=False, cwd=folder)
        if done.returncode != 5:
            break
    if done.returncode not in (0, 1, 2):
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    return done.returncode != 0


def caught(folder: Path, file: str, old: str, new: str, tests: str) -> bool:
    """Plant one error in the copy in `folder`, run its tests, take it out again."""
    path = folder / "fpsolve" / f"{file}.py"
    source, stamp = path.read_text(), path.stat()
    path.write_text(planted(source, old, new))
    try:
        return fails(folder, tests)
    finally:
        path.write_text(source)
        # with its time, or else what was compiled of it would be compiled again
        os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


def main(words: list[str]) -> int:
    """Plant, run, print; 1 if an error survived."""
    chosen = [one for one in MUTANTS if not words or any(word in one[0] or word in one[3].split() for word in words)]
    survived = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # with the compiled code in it
        shutil.copytree(ROOT / "fpsolve", folder / "fpsolve")
        shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
        for other in ("pyproject.toml", "README.md", "CONTRIBUTING.md", "notebooks"):
            (folder / other).symlink_to(ROOT / other)
        for tests in sorted({one[3] for one in chosen}):
            if fails(folder, tests):
                raise SystemExit(f"these fail without an error planted: {tests}")
        for file, old, new, tests in chosen:
            began = time.perf_counter()
            found = caught(folder, file, old, new, tests)
            survived += not found
            word = "caught" if found else "SURVIVED"
            print(f"{word:9s}{time.perf_counter() - began:5.0f} s  {file}: {old!r} -> {new!r}  ({tests})", flush=True)
    print(f"{len(chosen) - survived} of {len(chosen)} caught")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
