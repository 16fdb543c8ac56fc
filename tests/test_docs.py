"""The documentation is built without a warning or network, formulas are drawn, links lead somewhere."""

import re
import runpy
import warnings
from pathlib import Path

import pytest

BUILD = Path(__file__).resolve().parent.parent / "docs" / "build.py"


def script():
    for module in ("pdoc", "latex2mathml"):
        pytest.importorskip(module, reason=f"{module} is not installed: the extra [docs]")
    return runpy.run_path(str(BUILD))


@pytest.mark.slow
def test_one_command_builds_every_page(tmp_path, capsys):
    assert script()["main"](["--out", str(tmp_path), "--quick"]) == 0
    assert str(tmp_path / "index.html") in capsys.readouterr().out
    page = (tmp_path / "api" / "fpsolve" / "decomposition.html").read_text()
    shown = re.sub(r'(?s)<div class="pdoc-code.*?</div>', "", page)
    assert "<math" in shown and ".. math::" not in shown
    assert "errors" in page and "Returns" in page
    for name in ("evolve", "forgetting_curve", "explore", "GaussianMixture"):
        assert name in (tmp_path / "api" / "fpsolve.html").read_text()
    assert "data:image/png" in (tmp_path / "gallery.html").read_text()
    assert len(re.findall("<tr>", (tmp_path / "questions.html").read_text())) > 15
    # nothing is fetched, also not by scripts
    assert not re.search(r'src="https?:', "".join(path.read_text() for path in tmp_path.rglob("*.html")))


def test_links_to_nowhere_and_pictures_from_elsewhere_are_warnings(tmp_path):
    (tmp_path / "a.html").write_text('<a href="b.html">b</a><img src="https://example.org/x.png">')
    with pytest.warns(UserWarning, match=r"a.html: b.html is no page; a.html: https://example.org/x.png is fetched"):
        script()["check_links"](tmp_path)
    (tmp_path / "a.html").write_text('<a href="a.html#top">a</a>')
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        script()["check_links"](tmp_path)


def test_every_function_of_the_table_of_questions_exists():
    import fpsolve as fp

    names = re.findall(r"`fp\.([\w.]+)`", (BUILD.parent / "questions.md").read_text())
    assert len(names) > 20
    for name in names:
        thing = fp
        for part in name.split("."):
            thing = getattr(thing, part)
        assert callable(thing)
