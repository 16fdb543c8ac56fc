"""The rooms of the house: who may import whom, what `import fpsolve` may load, and how long things may be.

The imports are read from the source, those inside of functions included, so a forbidden one is found
whether or not it runs.
"""

import ast
import operator
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from importlib import import_module
from pathlib import Path

import pytest

import fpsolve

PACKAGE = Path(fpsolve.__file__).parent

# One entry per row of the table of rooms, top to bottom: a row imports only from rows above it.
ROWS: tuple[tuple[str, ...], ...] = (
    ("_checks", "_messages"),
    ("_callables", "_compile", "_memory", "_times"),
    ("_kinks",),
    ("laws", "processes", "grid", "weights", "data", "_cells"),
    ("marginals", "_runs"),
    ("scores",),
    ("dynamics",),
    ("closed_form", "proofs", "settings"),
    ("samplers",),
    ("solver",),
    ("evolution",),
    ("_accessor",),
    ("kernels",),
    ("distances",),
    ("bounds", "decomposition", "design", "particles", "stochastic", "flows"),
    ("plots",),
    ("campaign",),
    ("studies",),
    ("verification", "explorer"),
    ("cli",),
    ("__main__",),
)
ROW_OF = {room: number for number, row in enumerate(ROWS) for room in row}

# The only import within a row: the prior of a process is a Gaussian.
NEIGHBOURS = {("processes", "laws")}

# Imports from above that are forbidden all the same.
_PHYSICS = {"laws", "processes", "weights", "marginals", "scores", "dynamics", "closed_form"}
CUTS: dict[str, set[str]] = {
    # the oracle shares no code with the solver beyond laws and processes
    "closed_form": {"marginals", "scores", "dynamics"},
    # a proof shares nothing with what it proves
    "proofs": {"marginals", "scores"},
    # fluxes know arrays, not scores
    "solver._fluxes": _PHYSICS,
    "solver._lines": _PHYSICS,
    "solver._planes": _PHYSICS,
    # steps know operators, not grids
    "solver._steps": _PHYSICS | {"grid"},
    "solver": {"closed_form"},
    "evolution": {"closed_form"},
    "kernels": {"closed_form", "evolution"},
    # distances and bounds know densities, not solvers
    "distances": {"closed_form", "solver", "evolution"},
    "bounds": {"solver", "evolution"},
}


#: Every file is looked at by many rules.
parsed = lru_cache(maxsize=None)(ast.parse)


def room_of(module: str) -> str:
    """Return the room of ``fpsolve.room.more``, or "" for the package itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imported_modules(source: str, module: str) -> Iterator[tuple[int, str]]:
    """Yield (line, absolute module) of every import; ``from fpsolve import x`` counts as fpsolve.x."""
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")[: -node.level]
                base = ".".join([*parents, base] if base else parents)
            if base == "fpsolve":
                for alias in node.names:
                    yield node.lineno, fpsolve._NAMES.get(alias.name, f"fpsolve.{alias.name}")
            else:
                yield node.lineno, base


def violations(source: str, module: str) -> list[str]:
    """Return what a module may not import, as sentences."""
    room, found = room_of(module), []
    if room not in ROW_OF:
        return [f"{module}: room {room!r} is not in the table"]
    cuts = CUTS.get(room, set()) | CUTS.get(module.removeprefix("fpsolve."), set())
    for line, target in imported_modules(source, module):
        other = room_of(target)
        if not target.startswith("fpsolve.") or other in {room, "__version__"}:
            continue
        if any(part.startswith("_") for part in target.split(".")[2:]):
            found.append(f"{module}:{line} imports {target} behind the door of {other}")
        above = other in ROW_OF and ROW_OF[other] < ROW_OF[room]
        if not (above or (room, other) in NEIGHBOURS) or other in cuts:
            found.append(f"{module}:{line} imports {target}")
    return found


def modules() -> list[tuple[str, Path]]:
    """Return (dotted name, path) of every module of the package but its __init__."""
    listed = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = list(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        name = ".".join(parts)
        if name != "fpsolve.__init__":
            listed.append((name, path))
    return listed


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of a function without its docstring."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return (node.end_lineno or 0) - body[0].lineno + 2 if body else 1


def test_every_module_imports_from_above_only() -> None:
    found = [line for name, path in modules() for line in violations(path.read_text(), name)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("module", "source", "bad"),
    [
        ("fpsolve.weights", "from fpsolve import _checks", False),
        ("fpsolve.weights", "from fpsolve.grid import Grid", True),
        ("fpsolve.weights", "import fpsolve.evolution._march", True),
        ("fpsolve.grid", "def f():\n    from fpsolve.laws import Law", True),
        ("fpsolve.processes._base", "from fpsolve.laws import Gaussian", False),
        ("fpsolve.laws._base", "from fpsolve.processes import VP", True),
        ("fpsolve.laws._gaussian", "from ._base import Law", False),
        ("fpsolve.laws._gaussian", "from ..evolve import march", True),
        ("fpsolve.laws._gaussian", "from .. import scores", True),
        ("fpsolve.distances", "from fpsolve import evolve", True),
        ("fpsolve.distances", "from fpsolve import Grid, weights", False),
        ("fpsolve.evolution._march", "from fpsolve import closed_form", True),
        ("fpsolve.evolution._result", "from fpsolve import __version__", False),
        ("fpsolve.solver._fluxes", "from fpsolve.scores import exact", True),
        ("fpsolve.solver._steps", "from fpsolve.grid import Grid", True),
        ("fpsolve.solver._discretise", "from fpsolve.grid import Grid", False),
        ("fpsolve.solver._flow", "from fpsolve import evolution", True),
        ("fpsolve.dynamics._reverse", "from fpsolve.laws import log_sum_exp", False),
        ("fpsolve.dynamics._reverse", "from fpsolve.laws._gaussian import log_sum_exp", True),
        ("fpsolve.dynamics._reverse", "def f():\n    import fpsolve.laws._gaussian", True),
        ("fpsolve.cli", "from fpsolve.studies.report import Check", False),
        ("fpsolve.attic", "import numpy", True),
        ("fpsolve.weights", "import fpsolve", False),
    ],
)
def test_the_reader_of_imports_finds_what_it_must(module: str, source: str, bad: bool) -> None:
    assert bool(violations(source, module)) is bad


def test_no_star_imports_and_no_silenced_checks() -> None:
    found = []
    for name, path in modules():
        text = path.read_text()
        stars = [n for n in ast.walk(parsed(text)) if isinstance(n, ast.ImportFrom) and n.names[0].name == "*"]
        silenced = [mark for mark in ("type: " + "ignore", "except " + "Exception", "no" + "qa") if mark in text]
        found += [f"{name}: star import"] * len(stars) + [f"{name}: {mark}" for mark in silenced]
    assert not found, "\n".join(found)


def garbled(tree: ast.Module) -> list[str]:
    """Return the docstrings that hold a control character: one backslash of a formula was read as an escape."""
    nodes = [n for n in ast.walk(tree) if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef)]
    texts = [ast.get_docstring(node, clean=False) or "" for node in nodes]
    return [text for text in texts if any(c < " " and c != "\n" for c in text)]


def test_formulas_in_docstrings_are_whole() -> None:
    found = [f"{name}: {text[:60]!r}" for name, path in modules() for text in garbled(parsed(path.read_text()))]
    assert not found, "\n".join(found)
    assert garbled(ast.parse('def f():\n    "(\\alpha y)"')) and not garbled(ast.parse('def f():\n    r"(\\alpha y)"'))


def test_files_and_functions_fit() -> None:
    found = []
    for name, path in modules():
        text = path.read_text()
        if len(text.splitlines()) > 450:
            found.append(f"{name}: {len(text.splitlines())} lines, 450 at most")
        for node in functions(parsed(text)):
            if code_lines(node) > 60:
                found.append(f"{name}.{node.name}: {code_lines(node)} lines, 60 at most")
    assert not found, "\n".join(found)


def paragraphs(source: str) -> list[str]:
    """Return the private functions of at most three lines that one statement calls: they are paragraphs of it.

    What is applied to every item of a comprehension, stands in a table or is a method is a function.
    """
    tree = parsed(source)
    parent = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    uses: dict[str, list[ast.AST]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            uses.setdefault(node.id if isinstance(node, ast.Name) else node.attr, []).append(node)
    listed = [
        node for node in functions(tree) if not node.decorator_list and not isinstance(parent[node], ast.ClassDef)
    ]
    found, names = [], [node.name for node in functions(tree)]
    for node in listed:
        private = node.name.startswith("_") and not node.name.startswith("__") and names.count(node.name) == 1
        if not private or code_lines(node) > 4 or len(uses.get(node.name, [])) != 1:
            continue
        at: ast.AST = parent[uses[node.name][0]]
        if not isinstance(at, ast.Call) or at.func is not uses[node.name][0]:
            continue
        repeated = ast.comprehension | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp | ast.Lambda
        while not isinstance(at, ast.stmt | repeated):
            at = parent[at]
        if isinstance(at, ast.stmt):
            found.append(f"{node.name} (line {node.lineno})")
    return found


def test_a_private_function_of_three_lines_called_once_is_a_paragraph() -> None:
    found = [f"{name}: {one}" for name, path in modules() for one in paragraphs(path.read_text())]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("source", "bad"),
    [
        ("def _half(x):\n    return x / 2\n\ny = _half(3)", True),
        ("def _half(x):\n    return x / 2\n\ny = _half(3) + _half(4)", False),
        ("def _half(x):\n    return x / 2\n\ny = [_half(k) for k in range(3)]", False),
        ("def _half(x):\n    return x / 2\n\nTABLE = {'half': _half}", False),
        ("def half(x):\n    return x / 2\n\ny = half(3)", False),
        ("def _half(x):\n    a = 1\n    b = 2\n    c = a * b\n    return x / c\n\ny = _half(3)", False),
    ],
)  # fmt: skip
def test_the_reader_of_paragraphs_finds_what_it_must(source: str, bad: bool) -> None:
    assert bool(paragraphs(source)) is bad


# The oracles have formulas of their own for every law, and share nothing with what the laws say.
_FORMULAS = {"laws", "processes", "closed_form", "verification"}


def questions_of_kind(source: str, module: str) -> list[str]:
    """Return where a room that is no home of laws and processes asks which of them it has before it."""
    concrete = {
        name
        for room in (fpsolve.laws, fpsolve.processes)
        for name, kind in vars(room).items()
        if isinstance(kind, type) and kind.__module__.startswith(room.__name__) and name not in {"Law", "Process"}
    }
    asked = [
        node
        for node in ast.walk(parsed(source))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance" and len(node.args) == 2
    ]
    kinds = [(node.lineno, {one for one in ast.walk(node.args[1]) if isinstance(one, ast.Name)}) for node in asked]
    told = room_of(module) in _FORMULAS
    return [] if told else [f"{module}:{line}" for line, used in kinds if {one.id for one in used} & concrete]


def test_laws_and_processes_are_asked_not_told_apart() -> None:
    found = [line for name, path in modules() for line in questions_of_kind(path.read_text(), name)]
    assert len(found) <= 5, "\n".join(found)
    source = "from fpsolve.laws import Laplace, Uniform\ny = isinstance(x, Laplace | Uniform)"
    assert questions_of_kind(source, "fpsolve.bounds._a") and not questions_of_kind(source, "fpsolve.laws._a")
    assert not questions_of_kind("y = isinstance(x, Law)", "fpsolve.bounds._a")


def test_a_run_enters_few_modules() -> None:
    code = """
import sys, fpsolve as fp
reverse = fp.Reverse(fp.GaussianMixture([0.3, 0.7], means=[-1.5, 0.8], stds=[0.3, 0.4]), fp.VP())
given = dict(t_min=0.05, tol=1e-2)
fp.evolve(reverse, fp.VP().prior(), **given)
seen = set()
def enter(frame, event, _):
    file = frame.f_code.co_filename
    if event == "call" and "fpsolve" in file:
        seen.add(file.rpartition("fpsolve")[2])
sys.setprofile(enter)
fp.evolve(reverse, fp.VP().prior(), **given)
sys.setprofile(None)
print(*sorted(seen))
"""
    entered = run_fresh(code).split()
    assert 10 < len(entered) <= 30, entered


def private_imports(source: str) -> list[int]:
    """Return the lines on which a test imports from behind a door: what a change of structure breaks."""
    found = []
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fpsolve."):
            behind = any(part.startswith("_") for part in (node.module or "").split(".")[1:])
            if behind or any(alias.name.startswith("_") for alias in node.names):
                found.append(node.lineno)
    return found


def test_tests_go_through_doors() -> None:
    here = Path(__file__).parent
    found = [f"{path.name}:{line}" for path in sorted(here.rglob("*.py")) for line in private_imports(path.read_text())]
    assert len(found) <= 30, "\n".join(found)
    assert private_imports("from fpsolve.laws._base import Tail\nfrom fpsolve.kernels import _remap") == [1, 2]
    assert not private_imports("from fpsolve.laws import Tail\nfrom fpsolve import laws")


#: What a room makes for other rooms: behind its door, but no name for users.
MACHINERY: dict[str, set[str]] = {
    "scores": {"CheckedScore", "ExactScore", "NoisePrediction", "Denoiser", "Velocity", "Clipped", "admitted"},
    "marginals": {"FastLaw", "QuadratureLaw"},
    "laws": {"NormalMixture", "Tail", "Panels"},
    "dynamics": {"BaseDynamics", "Frame", "InFrame", "RunClock", "identity", "short"},
    "kernels": {"Operator", "FiniteVolumeOperator", "SamplerOperator", "LARGEST"},
    "evolution": {"Problem", "Solution", "Level", "StepPlan"},
    "plots": {"PALETTE", "REVERSE_TIME"},
    "processes": {"checked_process", "VariancePreserving"},
}  # fmt: skip


@pytest.mark.parametrize("room", MACHINERY)
def test_doors_list_what_users_type(room: str) -> None:
    door = import_module(f"fpsolve.{room}")
    assert not MACHINERY[room] & set(door.__all__)
    assert all(hasattr(door, name) for name in door.__all__)


def run_fresh(code: str) -> str:
    """Return what `code` prints in a new interpreter; its failure is the test's."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


HEAVY = (
    "sympy",
    "matplotlib",
    "scipy.stats",
    "xarray",
    "numba",
    "pandas",
    "findiff",
    "pydantic",
    "joblib",
    "tqdm",
)


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = run_fresh(f"import sys, fpsolve; print(*[name for name in {HEAVY} if name in sys.modules])")
    assert loaded == ""


@pytest.mark.parametrize("name", ["VP", "Grid", "PolynomialWeight", "GaussianMixture"])
def test_laws_processes_grids_and_weights_stay_light_too(name: str) -> None:
    heavy = ("sympy", "matplotlib", "scipy.stats", "xarray", "numba")
    code = f"import sys, fpsolve; fpsolve.{name}; print(*[name for name in {heavy} if name in sys.modules])"
    assert run_fresh(code) == ""


def test_every_public_name_is_in_the_lazy_table_and_loads() -> None:
    table = {*fpsolve._NAMES, *fpsolve._MODULES}
    assert set(fpsolve.__all__) - {"__version__"} == table
    assert len(fpsolve.__all__) == len(set(fpsolve.__all__))
    assert table <= set(dir(fpsolve))
    missing = run_fresh("import fpsolve; print(*[n for n in fpsolve.__all__ if getattr(fpsolve, n, None) is None])")
    assert missing == ""


def test_every_public_name_has_a_type() -> None:
    tree = parsed((PACKAGE / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    typed = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert typed == fpsolve._NAMES | dict.fromkeys(fpsolve._MODULES, "fpsolve")


def test_no_function_shares_its_name_with_a_module() -> None:
    # loading fpsolve/evolve.py would bind the module over the function fp.evolve
    present = {path.stem if path.is_file() else path.name for path in PACKAGE.iterdir()}
    assert not present & set(fpsolve._NAMES)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'fpsolve' has no attribute 'evolv'"):
        operator.attrgetter("evolv")(fpsolve)
