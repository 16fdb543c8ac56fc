"""What a command line changes in the settings of a study; the report as a page."""

import base64
import math
import re
import tomllib
from html.parser import HTMLParser
from importlib import import_module

import numpy as np
import pytest
from matplotlib.figure import Figure

import fpsolve as fp
from fpsolve import studies
from fpsolve.studies.config import read
from fpsolve.studies.options import QUICK, Options, level_time
from fpsolve.studies.page import html
from fpsolve.studies.report import Check, Report, Table


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
    has_process = "process" in re.findall(r"\[?(process)\b", studies.settings(name))
    changes = ["process.kind=edm"] if has_process and name != "harris-ladder" else []
    found = config(name, quick=True, data=mine, columns=["a", "b"], changes=changes)
    if changes:
        assert found.process == fp.EDM()
    assert "mine.csv" in found.title and "old_faithful" not in repr(found.model_dump())
    if hasattr(found, "target"):
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
    assert found.line.starts["far"].mean == pytest.approx(4.0 * 80.0)
    assert config("forgetting", changes=["process.beta_max=10"]).t_min == 0.01


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"changes": ["t_min"]}, "key=value"),
        ({"changes": ["t_minn=3"]}, "t_minn: unknown key"),
        ({"changes": ["t_min.x=3"]}, "path of tables"),
        ({"columns": ["a"]}, "--data FILE"),
        ({"data": "mine.csv", "columns": ["a"]}, "two columns"),
    ],
)
def test_what_does_not_fit_is_one_sentence(options, said) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        config("forgetting", **options)


def test_values_are_toml_or_text() -> None:
    tree = tomllib.loads(studies.settings("forgetting"))
    tree = Options(changes=["process={kind='ve'}", "line.times=[1.0, 0.5]"]).apply("forgetting", tree)
    assert tree["process"] == {"kind": "ve"} and tree["line"]["times"] == [1.0, 0.5]


def test_the_page_is_one_file_with_its_figure_and_closes_what_it_opens() -> None:
    figure = Figure()
    figure.subplots().plot([0, 1])
    report = Report(
        study="a", title="A <b> & c", question="Why?", answer=("One. Two. Three. Four. Five.",),
        checks=(Check("c", 1.0, 1.0, 0.1),), table=Table(("x",), (("1",),)), notes=("n",), figure=figure,
        caption="cap", metrics={}, provenance={"seed": 1},
    )  # fmt: skip
    page, opened, sources = html(report), [], []

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
    first = page[page.index("<p class") : page.index("<figure>")]
    assert "Four." in first and "Five." not in first and "A &lt;b&gt; &amp; c" in page
    assert page.index("<summary>Provenance") > page.index("<summary>Checks")
