"""Build the documentation: ``python docs/build.py [--out site] [--quick]`` (extra ``fpsolve[docs]``), without network.

The reference is made of the docstrings by pdoc, their mathematics of LaTeX as MathML, which browsers draw themselves;
README, CONTRIBUTING and CHANGELOG are pages, and so are gallery and table of questions. Any warning is an error.
"""

import argparse
import base64
import io
import pkgutil
import re
import sys
import textwrap
import warnings
from functools import cache
from html import escape
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import fpsolve

ROOT = Path(__file__).resolve().parent.parent
STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#222}
nav a{margin-right:1.2rem}table{border-collapse:collapse}
td,th{border:1px solid #ccc;padding:.3rem .6rem;text-align:left}
pre{background:#f5f5f5;padding:.8rem;overflow:auto}code{background:#f5f5f5}img{max-width:100%}
figure{margin:1.5rem 0}figcaption{font-weight:600}"""
PAGES = {"README.md": "index", "CONTRIBUTING.md": "contributing", "CHANGELOG.md": "changelog"}
NAV = {
    "index": "fpsolve", "questions": "which function?", "gallery": "gallery", "notebooks": "notebooks",
    "api/fpsolve": "reference", "contributing": "contributing", "changelog": "changes",
}  # fmt: skip
_MATH = re.compile(r"^([ \t]*)\.\. math::[ \t]*(.*\n(?:[ \t]*\n|\1[ \t]+.*\n?)*)", re.MULTILINE)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "site", help="folder (default: site)")
    parser.add_argument("--quick", action="store_true", help="one picture in the gallery")
    given = parser.parse_args(argv)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # names that type checkers alone import: the annotation is shown as it is written
        warnings.filterwarnings("ignore", "Error parsing type annotation")
        build(given.out, quick=given.quick)
    print(f"The documentation is in {given.out / 'index.html'}")
    return 0


def build(out: Path, *, quick: bool = False) -> None:
    """Write every page."""
    out.mkdir(parents=True, exist_ok=True)
    for source, name in PAGES.items():
        write(out, name, markdown((ROOT / source).read_text()))
    write(out, "questions", markdown((ROOT / "docs" / "questions.md").read_text()))
    lines = ["# Notebooks", ""]
    for path in sorted(ROOT.glob("notebooks/[0-9]*.py")):
        lines.append(f"- `notebooks/{path.stem}.ipynb`: {path.read_text().split('# # ', 1)[-1].splitlines()[0]}")
    write(out, "notebooks", markdown("\n".join(lines)))
    write(out, "gallery", gallery(quick=quick))
    reference(out / "api")
    check_links(out)


def reference(out: Path) -> None:
    """The pages of the docstrings."""
    import pdoc
    import pdoc.docstrings

    for room in pkgutil.iter_modules(fpsolve.__path__, "fpsolve."):
        # pdoc finds what is there: names that are loaded on first use are loaded
        if not room.name.rpartition(".")[2].startswith("_"):
            module = import_module(room.name)
            vars(module).update({name: getattr(module, name) for name in getattr(module, "__all__", ())})
    plain = getattr(pdoc.docstrings, "plain", pdoc.docstrings.convert)

    @cache
    def convert(docstring: str, docformat: str, source_file: Path | None) -> str:
        return str(plain(_MATH.sub(lambda found: mathml(found[2]), docstring + "\n"), docformat, source_file))

    pdoc.docstrings.plain, pdoc.docstrings.convert = plain, convert
    pdoc.render.configure(docformat="numpy", math=False, search=True, footer_text=f"fpsolve {fpsolve.__version__}")
    pdoc.pdoc("fpsolve", output_directory=out)


def mathml(latex: str) -> str:
    """A display formula as an HTML block."""
    from latex2mathml.converter import convert

    return f"\n\n<div>{convert(' '.join(textwrap.dedent(latex).split()), display='block')}</div>\n\n"


def markdown(text: str) -> str:
    """A page of Markdown; links to files of the repository become those of pages, pictures are put in."""
    import markdown2

    body = str(markdown2.markdown(text, extras=["tables", "fenced-code-blocks", "header-ids", "cuddled-lists"]))
    for source, name in PAGES.items():
        body = re.sub(rf'href="{source.removesuffix(".md")}(\.md)?"', f'href="{name}.html"', body)
    body = re.sub(r'href="(notebooks|tests)[^"]*"', 'href="notebooks.html"', body)
    return re.sub(r'<img src="([^":]+)"', lambda found: f'<img src="{picture((ROOT / found[1]).read_bytes())}"', body)


def gallery(*, quick: bool) -> str:
    """Every picture with the lines that make it."""
    sys.path.insert(0, str(ROOT / "docs"))
    import gallery as made
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    parts = ["<h1>Gallery</h1><p>Every plot with its default arguments; <code>LINE</code>, <code>PLANE</code> and "
             "<code>run_of</code> are those of <code>docs/gallery.py</code>.</p>"]  # fmt: skip
    for name, source, make in made.pictures(quick=quick):
        axes, buffer = make(), io.BytesIO()
        kind = "gif" if hasattr(axes, "new_frame_seq") else "png"
        if kind == "gif":
            with TemporaryDirectory() as folder:
                axes.save(Path(folder) / "a.gif", writer="pillow", dpi=60)
                buffer.write((Path(folder) / "a.gif").read_bytes())
        else:
            drawn = getattr(axes, "figure", None) or plt.gcf()
            drawn.savefig(buffer, format="png", dpi=90, bbox_inches="tight")
        plt.close("all")
        parts.append(f'<figure><figcaption>{escape(name)}</figcaption><img src="{picture(buffer.getvalue(), kind)}" '
                     f'alt="{escape(name)}"><pre>{escape(source)}</pre></figure>')  # fmt: skip
    return "\n".join(parts)


def picture(data: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64," + base64.b64encode(data).decode()


def write(out: Path, name: str, body: str) -> None:
    links = "".join(f'<a href="{where}.html">{text}</a>' for where, text in NAV.items())
    head = f"<!doctype html><html lang='en'><meta charset='utf-8'><title>fpsolve: {name}</title><style>{STYLE}</style>"
    (out / f"{name}.html").write_text(f"{head}<nav>{links}</nav>{body}</html>\n")


def check_links(out: Path) -> None:
    """Warn of links to pages that are not there, and of anything that would be fetched from elsewhere."""
    wrong = []
    for page in out.rglob("*.html"):
        text = re.sub(r"(?s)<script>.*?</script>", "", page.read_text())
        targets = re.findall(r'(?<!data-)href="([^"#:]+)(?:#[^"]*)?"', text)
        wrong += [f"{page.name}: {target} is no page" for target in targets if not (page.parent / target).exists()]
        fetched = re.findall(r'<(?:script|img|link)[^>]+(?:src|href)="(https?:[^"]+)"', text)
        wrong += [f"{page.name}: {target} is fetched from elsewhere" for target in fetched]
    if wrong:
        warnings.warn("; ".join(sorted(set(wrong))), stacklevel=2)


if __name__ == "__main__":
    sys.exit(main())
