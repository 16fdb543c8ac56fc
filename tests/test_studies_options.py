"""What a command line changes in the settings of a study; the report as a page."""

import base64
import math
import re
import tomllib
from html.parser import HTMLParser
from importlib import import_module
from io import BytesIO

import numpy as np
import pytest
from matplotlib.figure import Figure

import fpsolve as fp
from fpsolve import studies
from fpsolve.cli import main
from fpsolve.processes import OwnUnits
from fpsolve.samplers import SAMPLERS, get
from fpsolve.studies.config import by_clock, level_time, own_units, seen
from fpsolve.studies.options import QUICK, Options, first_columns, fitted, read
from fpsolve.studies.report import Check, Report, Table, html, in_short, markdown


def config(name, **options):
    module = import_module(f"fpsolve.studies.{name.replace('-', '_')}")
    return read(name, module.Config, None, Options(**options))


@pytest.fixture
def mine(tmp_path):
    values = np.random.default_rng(3).normal(size=(40, 2)) * [2.0, 3.0] + [10.0, 20.0]
    np.savetxt(tmp_path / "mine.csv", values, delimiter=",", header="a,b", comments="")
    return tmp_path / "mine.csv"


@pytest.mark.parametrize("name", studies.names())
def test_every_study_takes_data_and_a_process_and_less_work(name, mine) -> None:
    found = config(name, quick=True, data=mine, columns=["a", "b"], changes=["process.kind=edm"])
    # in its own units, where product-form does not look at noise levels only
    wanted = fp.EDM() if name == "product-form" else OwnUnits(fp.EDM())
    assert (found.two_modes if name == "harris-ladder" else found).process == wanted
    assert "(mine.csv, EDM)" in found.title and "old_faithful" not in repr(found.model_dump())
    if name == "guidance":  # labels are components
        assert isinstance(found.target, fp.GaussianMixture) and found.target.mean == pytest.approx(0.0, abs=1e-3)
    elif hasattr(found, "target"):
        assert isinstance(found.target, fp.KernelDensity) and len(found.target.samples) == 40
    assert set(QUICK) == set(studies.names())


def test_the_title_names_the_data(mine) -> None:
    assert "Old Faithful" in config("forgetting").title
    title = config("forgetting", data=mine, columns=["a", "b"]).title
    assert "mine.csv" in title and "Old Faithful" not in title


@pytest.mark.parametrize("new", [fp.EDM(), fp.VE(), fp.SubVP()])
def test_times_go_to_those_of_the_same_noise_level(new) -> None:
    old = fp.VP()
    mapped = level_time(old, new)
    assert mapped(1.0) == new.T and mapped(0.0) == 0.0
    # VP, Song et al. 2021: sigma^2/alpha^2 = exp(int beta) - 1
    wanted = math.sqrt(math.expm1(0.1 * 0.1 + 0.5 * 19.9 * 0.1**2))
    t = mapped(0.1)
    assert math.sqrt(new.variance(0.0, t)) / new.scale(0.0, t) == pytest.approx(wanted, rel=2e-3)


def test_starts_keep_their_distance_in_standard_deviations_and_what_is_set_stays() -> None:
    found = config("forgetting", changes=["process.kind=edm", "t_min=0.02", "line.tol=1e-3"])
    assert (found.t_min, found.line.tol) == (0.02, 1e-3)
    # 4 standard deviations of p_T, which are 4 sqrt(1 + 80^2) in x
    assert found.line.starts["far"].mean * found.process.length(80.0) == pytest.approx(4.0 * 6401.0**0.5)
    assert config("forgetting", changes=["process.beta_max=10"]).t_min == 0.01


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"name": "proof", "changes": ["target={kind='student-t', df=5.0}"]},
            "gaussian-mixture, gaussian, kernel-density, got",
        ),
        ({"changes": ["t_min"]}, "key=value"),
        ({"changes": ["t_minn=3"]}, "t_minn: unknown key"),
        ({"changes": ["t_min.x=3"]}, "path of tables"),
        ({"columns": ["a"]}, "--data FILE"),
        ({"data": "nowhere.csv"}, "No such file"),
        ({"data": "nowhere.csv", "columns": ["a", "b", "c"]}, "one or two columns"),
    ],
)
def test_what_does_not_fit_is_one_sentence(options, said) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        config(**({"name": "forgetting"} | options))


def test_less_work_leaves_what_a_file_of_settings_says(tmp_path) -> None:
    text = studies.settings("step-size").replace("cells = 320", "cells = 333")
    (tmp_path / "own.toml").write_text(text)
    module = import_module("fpsolve.studies.step_size")
    found = read("step-size", module.Config, tmp_path / "own.toml", Options(quick=True))
    assert found.cells == 333 and found.counts == tuple(QUICK["step-size"]["counts"])


def test_columns_that_are_not_named_are_the_first_of_numbers(tmp_path) -> None:
    (tmp_path / "text.csv").write_text("name,one,same,two\na,1,3,2\nb,2,3,5\nc,4,3,4\n")
    assert first_columns(tmp_path / "text.csv") == ["one", "two"]
    (tmp_path / "single.csv").write_text("v\n1\n2\n5\n")
    found = config("forgetting", data=tmp_path / "single.csv")
    assert found.plane is None and found.line.columns == ("v",)


@pytest.mark.parametrize("values", [[-1.0, 1.0, 0.5], [25.0, -3.0, 0.0, 1.0]])
def test_boxes_hold_the_data_at_all_times(values, tmp_path) -> None:
    many = np.array(values * 1 + [0.0] * 600)
    np.savetxt(tmp_path / "far.csv", many, header="v", comments="")
    found = config("error-decomposition", data=tmp_path / "far.csv")
    reach = np.abs((many - many.mean()) / many.std()).max()
    alpha = np.linspace(0.0, 1.0, 101)
    # N(alpha z, 1 - alpha^2): seven standard deviations
    assert max(found.box) > (alpha * reach + 7.0 * np.sqrt(1.0 - alpha**2)).max() - 0.02
    assert found.cells / (2.0 * max(found.box)) == pytest.approx(480 / 14.0, rel=0.01)


def test_a_mixture_is_fitted_where_labels_are_needed() -> None:
    from scipy.stats import norm

    truth = np.concatenate(
        [norm(-1.0, 0.3).ppf((np.arange(300) + 0.5) / 300), norm(2.0, 0.5).ppf((np.arange(700) + 0.5) / 700)]
    )
    found = fitted(truth, 2)
    assert found["weights"] == pytest.approx([0.3, 0.7], abs=0.01)
    assert found["means"] == pytest.approx([-1.0, 2.0], abs=0.02)
    assert found["stds"] == pytest.approx([0.3, 0.5], abs=0.02)


@pytest.mark.parametrize(
    "process", [fp.EDM(), fp.VE(), fp.SubVP(), fp.RectifiedFlow(), fp.CosineVP(), fp.VP(sigma=2.0)]
)
def test_in_own_units_every_process_preserves_the_variance_and_has_something_left(process) -> None:
    own = own_units(process)
    t = np.geomspace(1e-3, 1.0, 40) * own.T
    assert np.square(own.scale(0.0, t)) + own.variance(0.0, t) == pytest.approx(1.0, abs=1e-12)
    assert own.scale(0.0, own.T) > 1e-3 and own_units(own) is own
    times = by_clock(own, t[0], np.linspace(0.0, 1.0, 7))
    steps = np.diff(np.log(own.scale(0.0, times)))
    assert steps == pytest.approx(steps.mean(), rel=1e-3) and times[0] == own.T


def test_times_by_the_clock_with_an_offset_are_geometric() -> None:
    """The clock of Ornstein and Uhlenbeck's process is t."""
    times = by_clock(fp.OrnsteinUhlenbeck(T=3.0), 0.5, np.linspace(0.0, 1.0, 7), offset=0.5)
    assert times == pytest.approx(np.geomspace(3.5, 1.0, 7) - 0.5, abs=1e-6)


@pytest.mark.parametrize("name", [name for name, kind in SAMPLERS.items() if not kind.memory])
def test_samplers_take_the_same_steps_in_own_units(name) -> None:
    process, target = fp.EDM(), fp.GaussianMixture(weights=[0.3, 0.7], means=[-1.5, 0.8], stds=[0.3, 0.4])
    own = OwnUnits(process)
    options = {"churn": 0.3} if name == "edm" else {}
    ends = {}
    for units in (process, own):
        reverse = fp.Reverse(target, units)
        sampler = get(name, **options) if units is process else seen(get(name, **options), own)
        rng = np.random.default_rng(0)
        x = 1.5 * np.linspace(-1.0, 1.0, 5) * (80.0 if units is process else 80.0 / own.length(80.0))
        for start, end in ((80.0, 20.0), (20.0, 3.0), (3.0, 0.5)):
            x = sampler.step(units, 1.0 if sampler.eta is None else sampler.eta, start, end).draw(reverse.score, x, rng)
        ends[units is process] = x
    assert ends[False] * own.length(0.5) == pytest.approx(ends[True], rel=1e-9, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind"), [("forgetting", "edm"), ("localization-set", "ve"), ("stochasticity", "rectified-flow")]
)
def test_own_data_and_any_process_run_from_the_command_line(name, kind, tmp_path, capsys) -> None:
    values = np.round(np.random.default_rng(8).gamma(3.0, 1e4, 30), -4)
    np.savetxt(tmp_path / "ties.csv", np.c_[values, values[::-1]], header="k,m", comments="", delimiter=",")
    asked = ["study", name, "--data", str(tmp_path / "ties.csv"), "--set", f"process.kind={kind}", "--quick"]
    asked += ["--columns", "k" if name == "forgetting" else "k,m"]
    assert main([*asked, "--out", str(tmp_path / "out")]) == 0, capsys.readouterr().out
    assert "ties.csv" in capsys.readouterr().out.splitlines()[0]
    text = (tmp_path / "out" / "report.md").read_text()
    assert "standard deviation at t" in text and "On: ties.csv (k) under" in text
    assert ("The column m is not used" in text) == (name != "forgetting")


def test_values_are_toml_or_text() -> None:
    tree = tomllib.loads(studies.settings("forgetting"))
    tree = Options(changes=["process={kind='ve'}", "line.times=[1.0, 0.5]"]).apply("forgetting", tree)
    assert tree["process"] == {"kind": "ve"} and tree["line"]["times"] == [1.0, 0.5]


def test_the_page_is_one_file_with_its_figure_and_closes_what_it_opens() -> None:
    figure = Figure()
    figure.subplots().plot([0, 1])
    report = Report(
        study="a", title="A <b> & c", question="It is so. Why?", answer=("One. Two.",), headline="d = 3 ± 1",
        checks=(Check("c", 1.0, 1.0, 0.1),), table=Table(("x",), (("1",),)), notes=("n",), figure=figure,
        caption="cap", metrics={}, provenance={"seed": 1}, status={"proved": ("x",), "estimated": ("y", "z")},
    )  # fmt: skip
    short = ("Asked: It is so; why?", "On: what the settings say.", "Found: d = 3 ± 1.", "Checks: All 1 checks pass.",
             "Limits: proved: x; estimated: y, z.")  # fmt: skip
    assert in_short(report) == short
    picture = BytesIO()
    figure.savefig(picture, format="png")
    page, opened, sources = html(report, picture.getvalue()), [], []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            sources.extend(value for name, value in attrs if name in ("src", "href"))
            if tag not in ("meta", "link", "img"):
                opened.append(tag)

        def handle_endtag(self, tag):
            assert opened.pop() == tag

    Reader().feed(page)
    assert not opened and all(source.startswith("data:") for source in sources)
    picture = next(source for source in sources if source.startswith("data:image/png"))
    assert base64.b64decode(picture.partition(",")[2]).startswith(b"\x89PNG")
    first = page[page.index("<ul class") : page.index("<figure>")]
    assert all(f"<li>{sentence}</li>" in first for sentence in short) and "A &lt;b&gt; &amp; c" in page
    assert markdown(report).split("\n\n")[1] == " ".join(short)
    assert page.index("<summary>Provenance") > page.index("<summary>Checks")


def test_step_size_is_drawn_over_evaluations_with_the_slopes_beside() -> None:
    """Corners of every triangle have its slope on logarithmic axes; a step of Heun costs two evaluations."""
    found = studies.run(
        "step-size", quick=True, changes=["orders={ddim=1.0,heun=2.0}", "cells=80", "counts=[10, 20]"], progress=False
    )
    ax = found.figure.axes[0]
    drawn = {str(line.get_label()).split(":")[0]: list(line.get_xdata()) for line in ax.lines}
    assert drawn["ddim"] == [10.0, 20.0] and drawn["heun"] == [20.0, 40.0] and "evaluations" in ax.get_xlabel()
    slopes = []
    for patch in ax.patches:
        (x, top), _, (right, foot) = patch.get_xy()[:3]
        slopes.append(math.log(top / foot) / math.log(right / x))
    assert slopes == pytest.approx([1.0, 2.0])


def test_boxes_hold_the_tails_of_another_target_and_of_no_wider_law() -> None:
    from scipy.stats import laplace
    from scipy.stats import t as student

    shipped = config("error-decomposition")
    for target, truth in (
        ('{kind="laplace",scale=0.7}', laplace(scale=0.7)),
        ('{kind="student-t",df=5.0,scale=0.7}', student(5, scale=0.7)),
    ):
        found = config("error-decomposition", changes=[f"target={target}"])
        assert 2.0 * truth.sf(max(found.box)) < 1e-6 < 2.0 * truth.sf(7.0)
        assert found.cells == pytest.approx(min(2000, 480 / 7.0 * max(found.box)), rel=0.02)
        asked = config("error-decomposition", changes=[f"target={target}", "box=[-9.0, 9.0]"])
        assert (asked.box, asked.cells) == ((-9.0, 9.0), shipped.cells)
    # another process or a narrower law leaves them, a wider one moves each part's own
    for change in ("process.kind=edm", "target.means=[-1.0, 1.0]"):
        assert config("error-decomposition", changes=[change]).box == shipped.box
    ladder = config("harris-ladder", quick=True, changes=["two_modes.target={kind='laplace'}"])
    assert max(ladder.two_modes.box) > 12.0 and ladder.ou_mixture is None
    ladder = config("harris-ladder", changes=["two_modes.target={kind='laplace'}"])
    assert max(ladder.two_modes.box) > 12.0 and ladder.ou_mixture.box == (-10.0, 10.0)
    with pytest.raises(ValueError, match="target: expected a law with all but 1e-07 of its mass within 35 of 0"):
        config("error-decomposition", changes=["target={kind='student-t',df=2.1}"])
    with pytest.raises(ValueError, match="studnt"):
        config("error-decomposition", changes=["target={kind='studnt'}"])


def test_a_check_without_anything_to_compare_neither_passes_nor_fails() -> None:
    one, bad, left = Check("a", 1.0, 1.0, 0.0), Check("b", 2.0, 1.0, 0.0), Check("c", 1.0, 1.0, 0.0, "nothing is there")
    assert (left.passed, left.verdict, left.record()["reason"]) == (False, "not checked", "nothing is there")
    assert "reason" not in one.record()
    for checks, passed, said in (
        ((one, left), True, "All 1 checks pass. Not checked, because nothing is there: c."),
        ((left,), False, "Nothing was checked. Not checked, because nothing is there: c."),
        ((one, bad, left), False, "1 of 2 checks FAIL: b. Not checked, because nothing is there: c."),
    ):
        report = Report("a", "t", "q", ("One.",), checks, Table(("x",), ()), (), Figure(), "c", {})
        assert report.passed is passed and in_short(report)[3] == f"Checks: {said}"


def test_harris_ladder_without_certificates_is_not_checked_there_and_does_not_fail() -> None:
    from fpsolve.studies.harris_ladder import order

    reverse = fp.Reverse(fp.GaussianMixture(weights=[0.3, 0.7], means=[-1.5, 0.8], stds=[0.3, 0.4]), fp.VP())
    grid, weight = fp.Grid.uniform((-12, 12), cells=80), fp.PolynomialWeight(power=2.0, beta=0.1)
    start = {"nu": fp.Gaussian(2.0, std=0.5)}
    ladder = fp.bounds.ladder(reverse, grid=grid, blocks=[1.0, 0.4, 0.1], weight=weight, start=start)
    assert {check.verdict for check in order("x", ladder)} == {"pass"}
    rung = ladder["bound"] == "Harris"
    none = ladder.assign(nu=ladder["nu"].where(~rung), factor=ladder["factor"].where(~rung))
    verdicts = {check.name: check.verdict for check in order("x", none)}
    assert {name for name, word in verdicts.items() if word == "not checked"} == {
        "x: measured / Harris, largest", "x: sharp / Harris, largest", "x: Harris / Harris, closed form, largest",
        "x: boundaries with a Harris bound",
    }  # fmt: skip
    assert "fail" not in verdicts.values()
    # numbers that are missing where a certificate is, and a measurement that is none, fail
    lost = {check.name: check.verdict for check in order("x", ladder.assign(nu=none["nu"]))}
    assert lost["x: boundaries with a Harris bound"] == "fail"
    broken = ladder.assign(measured=ladder["measured"] * np.nan)
    assert {check.verdict for check in order("x", broken) if "measured" in check.name} == {"fail"}


def test_localization_sets_without_any_certificate_end_in_one_sentence() -> None:
    changes = ["target={kind='laplace',scale=0.7}", "betas=[3.0]", "boxes=[2.0, 3.0]", "cells_per_unit=6", "levels=20"]
    with pytest.raises(ValueError, match=r"^betas: expected one with a certificate .*, got \(3.0,\); try smaller"):
        studies.run("localization-set", changes=changes, progress=False)


def test_step_size_leaves_room_for_the_churn_of_a_process_that_does_not_go_on() -> None:
    """The cosine schedule has level L at T and nothing beyond: a churn of 2 in 20 steps needs a tenth."""
    asked = config("step-size", quick=True, changes=["process.kind=cosine-vp"])
    level = [
        float(np.sqrt(np.expm1(-2.0 * np.log(p.scale(0.0, p.T))))) for p in (asked.process, asked.with_room().process)
    ]
    assert 0.95 < 1.1 * level[1] / level[0] <= 1.0
    sampler = seen(get("edm", churn=2.0, steps=20), asked.with_room().process)
    times = asked.with_room().times(20)
    assert sampler.step(asked.with_room().process, 0.0, *times[:2]).t_top < 1.0
    with pytest.raises(ValueError, match="churn"):
        seen(get("edm", churn=2.0, steps=20), asked.process).step(asked.process, 0.0, 1.0, 0.99)
    for kind in ("vp", "edm", "rectified-flow"):
        other = config("step-size", quick=True, changes=[f"process.kind={kind}"])
        assert other.with_room() is other


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["process.kind=ornstein-uhlenbeck"], "process.T: missing"),
        (["process.kind=nothing"], "process.kind: expected one of"),
        (["target.kind=student-t"], "target.df: missing"),
        (["weight.kind=exponential"], "weight.rate: missing"),
    ],
)
def test_another_kind_begins_with_no_options_and_what_it_needs_is_told_with_its_path(changes, said, capsys) -> None:
    assert main(["study", "guidance" if "weight" not in changes[0] else "step-size", "--set", *changes]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert "unknown key" not in told


def test_another_kind_of_law_is_set_key_by_key() -> None:
    found = config("step-size", changes=["target.kind=student-t", "target.df=12.0"])
    assert repr(found.target) == repr(fp.StudentT(12.0))
