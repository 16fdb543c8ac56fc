"""Objects in files: every law, process and weight by TOML equals the one made in Python, in studies and in sweeps."""

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

import fpsolve as fp
from fpsolve import laws, processes, settings
from fpsolve.campaign import settings as sweeps
from fpsolve.studies.config import AnyLaw, AnyProcess, AnyWeight, StudySettings

SAMPLES = np.random.default_rng(0).standard_normal(40)
PLANE = np.random.default_rng(1).standard_normal((3100, 2))
COVS = [[[0.3, 0.1], [0.1, 0.2]], [[0.2, -0.05], [-0.05, 0.4]]]

# a table in TOML, and the same object in Python
LAWS: dict[str, tuple[str, fp.Law]] = {
    "gaussian": ('kind = "gaussian", mean = 0.3, std = 0.7', fp.Gaussian(0.3, std=0.7)),
    "gaussian, plane": (
        'kind = "gaussian", mean = [1, 0.1], cov = [[2, 0.5], [0.5, 1]]',
        fp.Gaussian([1.0, 0.1], cov=[[2.0, 0.5], [0.5, 1.0]]),
    ),
    "gaussian-mixture": (
        'kind = "gaussian-mixture", weights = [0.3, 0.7], means = [-1, 1], stds = [0.1, 0.3]',
        fp.GaussianMixture([0.3, 0.7], [-1.0, 1.0], stds=[0.1, 0.3]),
    ),
    "gaussian-mixture, plane": (
        f'kind = "gaussian-mixture", weights = [0.4, 0.6], means = [[-1, 1], [0, 0.1]], covs = {COVS}',
        fp.GaussianMixture([0.4, 0.6], [[-1.0, 1.0], [0.0, 0.1]], covs=COVS),
    ),
    "laplace": ('kind = "laplace"', fp.Laplace()),
    "laplace, plane": ('kind = "laplace", mean = [0, 1], scale = [1, 0.3]', fp.Laplace([0.0, 1.0], [1.0, 0.3])),
    "student-t": ('kind = "student-t", df = 3.3, mean = 0.1, scale = 0.7', fp.StudentT(3.3, 0.1, 0.7)),
    "uniform": ('kind = "uniform", low = [0, -1], high = [0.1, 1]', fp.Uniform([0.0, -1.0], [0.1, 1.0])),
    "point-mass": ('kind = "point-mass", at = 0.1', fp.PointMass(0.1)),
    "kernel-density": (
        f'kind = "kernel-density", samples = {SAMPLES.tolist()}, bandwidth = 0.3',
        fp.KernelDensity(SAMPLES, bandwidth=0.3),
    ),
    "kernel-density, binned": (
        f'kind = "kernel-density", samples = {SAMPLES.tolist()}, bins = 0.5',
        fp.KernelDensity(SAMPLES, bins=0.5),
    ),
    "kernel-density of a file": (
        'kind = "kernel-density", columns = ["waiting_min", 0], standardise = false, bandwidth = 2',
        fp.KernelDensity(fp.data.read("old_faithful", ["waiting_min", "eruption_min"]).samples, bandwidth=2.0),
    ),
    "diffused-laplace": (
        'kind = "diffused-laplace", mean = 0.1, scale = 0.3, std = 0.7',
        laws.DiffusedLaplace(0.1, 0.3, 0.7),
    ),
    "diffused-student-t": (
        'kind = "diffused-student-t", df = 3, mean = 0.1, scale = 0.3, std = 0.7',
        laws.DiffusedStudentT(3.0, 0.1, 0.3, 0.7),
    ),
    "diffused-uniform": (
        'kind = "diffused-uniform", low = 0, high = 0.1, std = 0.7',
        laws.DiffusedUniform(0.0, 0.1, 0.7),
    ),
}
PROCESSES: dict[str, tuple[str, fp.Process]] = {
    "ornstein-uhlenbeck": ('kind = "ornstein-uhlenbeck", T = 3', fp.OrnsteinUhlenbeck(T=3.0)),
    "vp": ('kind = "vp"', fp.VP()),
    "vp, every field": (
        'kind = "vp", beta_min = 0.3, beta_max = 7, T = 2, sigma = 0.9, curvature = 1.5',
        fp.VP(0.3, 7.0, 2.0, 0.9, 1.5),
    ),
    "cosine-vp": ('kind = "cosine-vp", T = 2', fp.CosineVP(T=2.0)),
    "sub-vp": ('kind = "sub-vp", beta_min = 0.3, beta_max = 7, T = 2', fp.SubVP(0.3, 7.0, 2.0)),
    "ve": (
        'kind = "ve", sigma_min = 0.1, sigma_max = 7, T = 2, convention = "score_sde"',
        fp.VE(0.1, 7.0, 2.0, convention="score_sde"),
    ),
    "edm": ('kind = "edm", sigma_min = 0.1, sigma_max = 7', fp.EDM(0.1, 7.0)),
    "rectified-flow": ('kind = "rectified-flow", T = 0.9', fp.RectifiedFlow(T=0.9)),
    "own-units": ('kind = "own-units", process = { kind = "edm" }, T = 60', fp.processes.OwnUnits(fp.EDM(), T=60.0)),
    "from-alphas-cumprod": (
        'kind = "from-alphas-cumprod", alphas_cumprod = [0.99, 0.9, 0.7, 0.4, 0.1], T = 2',
        fp.FromAlphasCumprod((0.99, 0.9, 0.7, 0.4, 0.1), T=2.0),
    ),
}
WEIGHTS: dict[str, tuple[str, fp.weights.Weight]] = {
    "polynomial": ('kind = "polynomial", power = 3, beta = 0.3', fp.PolynomialWeight(3.0, 0.3)),
    "exponential": ('kind = "exponential", rate = 0.3', fp.ExponentialWeight(0.3)),
    "unit": ('kind = "unit"', fp.UnitWeight()),
}
OTHERS = [
    fp.Grid.uniform([(0.1, 1.0), (-0.3, 0.3)], cells=(3, 4)),
    fp.Forward(fp.VE(), dim=2),
    fp.Langevin(fp.Laplace([0.0, 1.0])),
    fp.Reverse(fp.Gaussian(0.1, std=0.3), fp.VP(), eta=0.3),
    fp.Reverse(fp.Laplace(), fp.VP(), eta=fp.dynamics.edm_churn(3.0, S_min=0.1, S_max=2.0)),
    fp.Reverse(fp.Laplace(), fp.EDM(), eta=fp.dynamics.edm_churn(3.0)),
    fp.scores.errors.Bias((0.1, 0.3)),
    fp.scores.errors.During(fp.scores.errors.Sine(0.1, 3.0), 0.1, 0.3),
]


def table(text: str) -> dict[str, Any]:
    return tomllib.loads(f"it = {{{text}}}")["it"]


def assert_same(one: Any, other: Any) -> None:
    """Of one class, with the same numbers to the last bit."""
    assert type(one) is type(other)
    assert repr(one) == repr(other)
    if isinstance(one, fp.Law):
        for name in ("mean", "cov", "smallest_std"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        if not isinstance(one, fp.PointMass):
            x = np.linspace(-3.0, 3.0, 7) if one.dim == 1 else np.random.default_rng(2).standard_normal((7, 2))
            np.testing.assert_array_equal(one.log_density(x), other.log_density(x))
    else:
        # laws are equal to themselves only
        assert settings.dump(one) == settings.dump(other)


class Study(StudySettings):
    law: AnyLaw
    process: AnyProcess
    weight: AnyWeight


def study(law: str = 'kind = "laplace"', process: str = 'kind = "vp"', weight: str = 'kind = "unit"') -> Study:
    text = f'title = "A"\nquestion = "?"\nlaw = {{{law}}}\nprocess = {{{process}}}\nweight = {{{weight}}}\n'
    return settings.read("config", Study, "settings", "a.toml", text)


def sweep(law: str = 'kind = "laplace"', process: str = 'kind = "vp"', weight: str = 'kind = "unit"') -> Any:
    text = f"t_min = 0.1\ntol = [1e-3]\nweight = {{{weight}}}\ntargets = [{{{law}}}]\nprocesses = [{{{process}}}]\n"
    text += f'starts = [{{kind = "prior"}}, {{name = "law", {law}}}]\n'
    return settings.read("FILE", sweeps.SweepSettings, "the settings of a sweep", "a.toml", text)


@pytest.mark.parametrize("name", LAWS)
def test_every_law_of_a_file_is_the_one_made_in_python(name: str) -> None:
    text, law = LAWS[name]
    assert_same(settings.build(table(text)), law)
    assert_same(study(law=text).law, law)
    found = sweep(law=text)
    assert_same(found.targets[0].value, law)
    assert_same(found.starts[1].value, law)
    assert found.starts[0].value is None and found.starts[1].label == "law"


@pytest.mark.parametrize("name", PROCESSES)
def test_every_process_of_a_file_is_the_one_made_in_python(name: str) -> None:
    text, process = PROCESSES[name]
    assert_same(settings.build(table(text)), process)
    assert_same(study(process=text).process, process)
    assert_same(sweep(process=text).processes[0].value, process)


@pytest.mark.parametrize("name", WEIGHTS)
def test_every_weight_of_a_file_is_the_one_made_in_python(name: str) -> None:
    text, weight = WEIGHTS[name]
    assert_same(settings.build(table(text)), weight)
    assert_same(study(weight=text).weight, weight)
    assert_same(sweep(weight=text).weight, weight)


def test_the_tables_name_every_class_of_the_doors_with_every_argument() -> None:
    import inspect

    listed = {type(law) for _, law in LAWS.values()}
    assert listed == {getattr(laws, n) for n in laws.__all__} - {
        laws.Law,
        laws.NormalMixture,
        laws.Tail,
        fp.FromLogDensity,
    }
    named = {type(process) for _, process in PROCESSES.values()}
    # a path of one's own is made of functions, which no file can hold
    classes = {kind for kind in (getattr(processes, n) for n in processes.__all__) if isinstance(kind, type)}
    assert named == classes - {processes.Process, fp.GaussianPath}
    for group in (LAWS, PROCESSES, WEIGHTS):
        for kind in {type(value) for _, value in group.values()}:
            used = {key for text, value in group.values() if type(value) is kind for key in table(text)}
            assert set(inspect.signature(kind).parameters) <= used, kind


ALL = [value for group in (LAWS, PROCESSES, WEIGHTS) for _, value in group.values()] + OTHERS


@pytest.mark.parametrize("value", [*ALL, fp.KernelDensity(PLANE)], ids=lambda value: type(value).__name__)
def test_what_is_written_makes_the_same_object_again(value: Any) -> None:
    text = json.dumps(settings.dump(value), allow_nan=False)
    again = settings.build(json.loads(text))
    assert json.dumps(settings.dump(again)) == text
    if isinstance(value, fp.KernelDensity):
        # sums over columns of a file follow their order in memory; the numbers themselves are the same
        for name in ("samples", "bandwidth", "bins", "component_means", "component_covs", "log_weights"):
            np.testing.assert_array_equal(getattr(again, name), getattr(value, name))
    else:
        assert_same(again, value)


def test_laws_on_the_way_are_written_too() -> None:
    process = fp.VP()
    for law in (
        fp.Laplace(),
        fp.StudentT(4.0),
        fp.Uniform(-1.0, 2.0),
        fp.GaussianMixture([0.1, 0.9], [0, 1], stds=[1, 2]),
    ):
        found = fp.Reverse(law, process).marginal(0.3)
        assert_same(settings.build(settings.dump(found)), found)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (fp.FromLogDensity(lambda x: -0.5 * x**2, 1), "value: expected a law, .*, got a FromLogDensity, which a file"),
        (fp.Langevin(fp.FromLogDensity(lambda x: -0.5 * x**2, 1)), "got a FromLogDensity, which a file cannot hold"),
        (
            fp.Reverse(fp.Gaussian(0, std=1), fp.VP(), score=lambda t, x: -x),
            "score: expected numbers, .* got a function",
        ),
        (fp.Dynamics(drift=lambda t, x: -x, noise=1.0), "got a function, which a file cannot hold"),
        (3.0, "got a float, which a file cannot hold"),
    ],
)
def test_what_no_file_can_hold_is_refused(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings.dump(value)


@dataclass(frozen=True)
class SlowCooling(processes.OrnsteinUhlenbeck):
    """A process of the test's own: one class."""

    rate: float = 1.0

    def __post_init__(self) -> None:
        if not self.rate > 0.0:
            raise ValueError(f"rate: expected a number > 0, got {self.rate}.")


def test_a_new_process_is_one_class_and_a_line_in_its_door(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = 'kind = "slow-cooling", T = 2, rate = 0.3'
    with pytest.raises(ValueError, match="got 'slow-cooling'"):
        study(process=text)
    monkeypatch.setattr(processes, "SlowCooling", SlowCooling, raising=False)
    monkeypatch.setattr(processes, "__all__", [*processes.__all__, "SlowCooling"])
    assert study(process=text).process == sweep(process=text).processes[0].value == SlowCooling(T=2.0, rate=0.3)
    assert settings.dump(SlowCooling(T=2.0)) == {"kind": "slow-cooling", "T": 2.0, "rate": 1.0}
    with pytest.raises(ValueError, match=r"line 4, process\.rate: expected a number > 0, got -1\.0"):
        study(process='kind = "slow-cooling", T = 2, rate = -1')
    from fpsolve import cli

    (tmp_path / "a.toml").write_text(
        f't_min = 0.5\ntol = [1e-2]\nsave_at = [0.5]\ntargets = [{{kind = "gaussian", mean = 0, std = 0.5}}]\n'
        f"processes = [{{{text}}}]\n"
    )
    assert cli.main(["sweep", str(tmp_path / "a.toml"), "--out", str(tmp_path / "out")]) == 0


# what is written in place of a right table, and all that must be said, and no more
WRONG = {
    "kind misspelled": (
        {"law": 'kind = "gausian"'},
        ["law.kind: expected one of 'gaussian', ", "perhaps 'gaussian' is meant"],
    ),
    "kind of another room": ({"law": 'kind = "vp"'}, ["law.kind: expected one of", "got 'vp'"]),
    "kind that is no text": ({"process": "kind = 3"}, ["process.kind: expected one of", "got 3"]),
    "no kind": ({"process": "T = 3"}, ["process.kind: missing, expected one of 'edm', "]),
    "key misspelled": ({"law": 'kind = "laplace", scal = 1'}, ["law.scal: unknown key, perhaps 'scale' is meant"]),
    "unknown key": (
        {"process": 'kind = "edm", q = 1'},
        ["process.q: unknown key, expected 'sigma_min' or 'sigma_max'"],
    ),
    "missing": ({"law": 'kind = "uniform", low = 0'}, ["law.high: missing, expected a number or a list of numbers"]),
    "text": ({"law": 'kind = "laplace", mean = "0"'}, ["law.mean: expected a number or a list of numbers, got '0'"]),
    "true": ({"process": 'kind = "vp", T = true'}, ["process.T: expected a number, got true"]),
    "true in a list": ({"law": 'kind = "laplace", mean = [0, true]'}, ["law.mean.1: expected a number", "got true"]),
    "infinite": ({"process": 'kind = "vp", T = inf'}, ["process.T: expected a finite number, got inf"]),
    "not one of": (
        {"process": 'kind = "ve", convention = "sd"'},
        ["process.convention: expected 'sde' or 'score_sde'"],
    ),
    "refused by the class": ({"law": 'kind = "laplace", scale = -1'}, ["law.scale: expected ", "got -1"]),
    "both": ({"law": 'kind = "gaussian", mean = 0, std = 1, cov = 1'}, ["law: expected exactly one of std and cov"]),
    "function": (
        {"law": 'kind = "from-log-density"'},
        ["law.kind: expected one of", "got 'from-log-density', made of functions, which no file can hold"],
    ),
    "column": ({"law": 'kind = "kernel-density", columns = ["height"]'}, ["law: ", "a column named 'height'"]),
    "two refused by the class": (
        {"process": 'kind = "vp", beta_max = -1, T = -2'},
        [
            "process.beta_max: expected a finite number > 0, got -1.0",
            "process.T: expected a finite number > 0, got -2.0",
        ],
    ),
    "weights and spreads": (
        {"law": 'kind = "gaussian-mixture", weights = [0.3, 0.3], means = [0, 1], stds = [-1, 1]'},
        ["law.weights: expected weights that sum to 1, got a sum of 0.6", "law.stds: expected numbers > 0, got -1"],
    ),
    "key, type and value": (
        {"process": 'kind = "vp", beta_mx = 1, sigma = "x", T = -2'},
        [
            "process.beta_mx: unknown key, perhaps 'beta_max' is meant",
            "process.sigma: expected a number",
            "process.T: expected",
        ],
    ),
    "everywhere": (
        {"law": 'kind = "laplace", scale = 0', "process": 'kind = "edm", sigma_max = 1e-9', "weight": 'power = "2"'},
        ["law.scale: ", "process.sigma_max: expected a number > sigma_min=0.002", "weight.power: expected a number"],
    ),
}
#: Places in the file of a sweep.
PLACES = {"law": "targets.0", "process": "processes.0", "weight": "weight"}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_said_in_words_with_its_path(name: str) -> None:
    written, told = WRONG[name]
    paths = {part.partition(":")[0] for part in told if part.startswith(tuple(PLACES))}
    for read, places in ((study, {}), (sweep, PLACES)):
        with pytest.raises(ValueError) as refused:
            read(**written)
        message = str(refused.value)
        for part in told:
            key = part.partition(".")[0].partition(":")[0]
            assert part.replace(key, places.get(key, key), 1) in message, message
        # the sweep's law is among its starts as well
        twice = 0 if read is study else sum(path.startswith("law") for path in paths)
        assert message.count("line ") == len(paths) + twice, message
        for jargon in ("pydantic", "validat", "Input", "input", "tuple", "dict", "https", "value_error", "_type"):
            assert jargon not in message.replace("/input", ""), message


def test_spurious_misfits_are_not_told() -> None:
    """What is refused only because of what stands in the place of something else is no fault of its own."""
    for text in ('kind = "ve", sigma_min = -1, sigma_max = 0.005', 'kind = "ve", sgma_min = 0.001, sigma_max = 0.005'):
        with pytest.raises(ValueError) as refused:
            settings.build(table(text))
        assert "sigma_max" not in str(refused.value)
    with pytest.raises(ValueError, match=r"^mean: [^;]*$"):
        settings.build({"kind": "gaussian", "mean": [1, 2, 3], "cov": [[1, 0], [0, 1]]})


def test_lines_are_those_of_the_file() -> None:
    text = """# a comment
title = "A"
question = \"\"\"
law = {}
[law]
\"\"\"
law.kind = "laplace"
law.scale = [
  -1,
]

[process]
kind = "vp"

T = -3
[weight]
power = 0
"""
    with pytest.raises(ValueError) as refused:
        settings.read("config", Study, "settings", "a.toml", text)
    message = str(refused.value)
    assert message.index("law.scale") < message.index("process.T") < message.index("weight.power")
    lines = text.splitlines()
    for path, line in (("law.scale", lines.index("]") + 1), ("process.T", lines.index("T = -3") + 1)):
        assert f"line {line}, {path}: " in message
    assert f"line {len(lines)}, weight.power: " in message


def test_every_kind_is_of_one_class() -> None:
    from fpsolve.settings import _objects

    kinds = [kind for family in _objects._FAMILIES for kind in family.classes()]
    assert len(kinds) == len(set(kinds))
    assert {"gaussian", "edm", "unit", "reverse", "grid", "bias", "churn"} <= set(kinds)


def test_score_errors_take_units_unless_they_are_relative() -> None:
    adapter = get_args(sweeps.NamedScoreError)[1]
    during = {"kind": "during", "error": {"kind": "bias", "vector": 0.1}, "start": 0.1, "stop": 0.3, "units": "noise"}
    found = adapter.read(during).value
    assert found.error.error == fp.scores.errors.Bias(0.1) and found.error.stop == 0.3 and found.units == "noise"
    for bad, message in (
        ({"kind": "scaling", "share": 0.1, "units": "noise"}, "units"),
        ({"kind": "none", "units": "noise"}, "units"),
        ({"kind": "bias", "vector": 0.1, "units": "nois"}, "perhaps 'noise' is meant"),
        ({"kind": "bias", "vector": 0.1, "name": ""}, "name"),
    ):
        with pytest.raises(ValueError, match=message):
            adapter.read(bad)


def test_runs_keep_their_laws_exactly(tmp_path: Path) -> None:
    law = fp.GaussianMixture(np.full(60, 1.0 / 60.0), np.linspace(-1.0, 1.0, 60) ** 3, stds=0.3)
    reverse = fp.Reverse(law, fp.VP(beta_max=7.0))
    grid = fp.Grid.uniform((-5.0, 5.0), cells=60)
    starts = {"exact": reverse.marginal(1.0), "prior": fp.Gaussian(0.1, std=1.1), "mine": grid.cell_average(law)}
    run = fp.evolve(reverse, starts, grid=grid, steps=8, t_min=0.5, progress=False)
    assert run.attrs["target"].endswith("...")
    run.to_netcdf(tmp_path / "run.nc", engine="h5netcdf")
    kept = fp.load(tmp_path / "run.nc").attrs
    assert_same(settings.build(json.loads(kept["target_json"])), law)
    assert_same(settings.build(json.loads(kept["process_json"])), reverse.process)
    found = json.loads(kept["starts_json"])
    assert list(found) == ["exact", "prior"]
    assert_same(settings.build(found["exact"]), starts["exact"])
    assert_same(settings.build(found["prior"]), starts["prior"])


def test_runs_leave_out_what_no_file_can_hold_and_what_is_too_long() -> None:
    grid = fp.Grid.uniform((-5.0, 5.0), cells=60)
    own = fp.FromLogDensity(lambda x: -0.5 * np.square(x), 1)
    run = fp.evolve(fp.Langevin(own), own, grid=grid, steps=8, t_max=0.1, progress=False)
    assert not {"law_json", "starts_json"} & set(run.attrs)
    data = fp.KernelDensity(np.random.default_rng(0).standard_normal(5000), bins=0.0, bandwidth=0.4)
    run = fp.evolve(fp.Reverse(data, fp.VP()), fp.Gaussian(0, std=1), grid=grid, steps=8, t_min=0.5, progress=False)
    assert "target_json" not in run.attrs and json.loads(run.attrs["process_json"])["kind"] == "vp"


def test_writing_laws_needs_no_pydantic() -> None:
    import subprocess
    import sys

    code = (
        "import sys, fpsolve as fp; from fpsolve import settings; settings.build(settings.dump(fp.Laplace())); "
        "print([name for name in ('pydantic', 'xarray', 'numba') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
