"""The subcommands ``check FILE``, ``schema NAME``, ``show RESULT`` and ``cite``."""

from __future__ import annotations

import argparse
import json
import re
import textwrap
import tomllib
from collections.abc import Iterator
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import fpsolve
from fpsolve import studies
from fpsolve._checks import error

if TYPE_CHECKING:
    from fpsolve.settings import Settings

__all__ = ["add_commands", "check", "cite", "explained", "latex", "schema", "show"]

#: The settings of sweeps, beside the names of the studies.
SWEEP = "sweep"
#: CPU seconds of the studies, measured: with the shipped settings, and with `--quick`.
SECONDS = {
    "error-decomposition": (8, 5), "forgetting": (30, 7), "guidance": (11, 6), "harris-ladder": (27, 7),
    "localization-set": (9, 5), "product-form": (19, 9), "proof": (9, 6), "score-noise": (29, 8),
    "step-design": (15, 6), "step-size": (31, 8), "stochasticity": (11, 6),
}  # fmt: skip
A_POINT = "0.1 to 10 s each"
#: In place of a default.
NEEDED = "needed"


def add_commands(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to the command line."""
    names = [*studies.names(), SWEEP]
    one = subparsers.add_parser("check", help="see whether a file of settings fits, and what it will cost")
    one.add_argument("file", type=Path, metavar="FILE", help="settings of a study or of a sweep (TOML)")
    one.add_argument("name", nargs="?", metavar="NAME", help="what they are for (default: what they look like)")
    one.set_defaults(run=lambda asked: _say(check(asked.file, asked.name)))
    two = subparsers.add_parser("schema", help="print the JSON schema of settings, for editors")
    two.add_argument("name", metavar="NAME", help=", ".join(names))
    two.set_defaults(run=lambda asked: _say(json.dumps(schema(asked.name), indent=1)))
    three = subparsers.add_parser("show", help="print the answer of a result: a study's folder, or a run")
    three.add_argument("path", type=Path, metavar="RESULT", help="folder of a study, or RUN.nc")
    three.add_argument("--latex", action="store_true", help="its table for a paper, with booktabs")
    three.set_defaults(run=lambda asked: _say((latex if asked.latex else show)(asked.path)))
    four = subparsers.add_parser("cite", help="print how to cite fpsolve (BibTeX)")
    four.set_defaults(run=lambda _: _say(cite()))
    for parser in (one, two, three, four):
        parser.add_argument("--traceback", action="store_true", help="show where in the code an error was raised")


def _say(text: str) -> int:
    print(text)
    return 0


def _settings(name: str) -> type[Settings]:
    """The class of the settings of a study or a sweep."""
    names = [*studies.names(), SWEEP]
    if name not in names:
        raise error("NAME", f"one of {', '.join(names)}", repr(name))
    if name == SWEEP:
        from fpsolve.campaign.settings import SweepSettings

        return SweepSettings
    found: type[Settings] = import_module(f"fpsolve.studies.{studies.module_name(name)}").Config
    return found


def check(path: str | Path, name: str | None = None) -> str:
    """Return that a file of settings fits, and what it will cost.

    Parameters
    ----------
    path : path
        A TOML file of a study or a sweep.
    name : str, optional
        The study, or "sweep"; default the one whose keys are most like those of the file.

    Raises
    ------
    ValueError
        The file cannot be read, or does not fit; all misfits are told, with their lines.
    """
    from fpsolve.campaign.settings import read as read_sweep
    from fpsolve.studies.options import read

    try:
        keys = set(tomllib.loads(Path(path).read_text(encoding="utf-8")))
    except OSError as reason:
        raise error("FILE", "a readable TOML file", f"{path}: {reason.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as reason:
        raise error("FILE", "a TOML file", f"{path}: {reason}") from None
    known = {one: set(_settings(one).model_fields) for one in [*studies.names(), SWEEP]}
    best = max(known, key=lambda one: len(known[one] & keys) / len(known[one] | keys)) if name is None else name
    kind: Any = _settings(best)
    if best == SWEEP:
        found = read_sweep(path)
        axes = [found.targets, found.processes, found.score_errors, found.eta, found.tol or found.grids]
        points = len(list(product(*(axis or [None] for axis in axes))))
        return f"{path}: settings of a sweep; they fit. {points} points, {A_POINT}: fpsolve sweep {path}"
    read(best, kind, path)
    whole, quick = SECONDS[best]
    cost = f"About {whole} s of CPU, measured with the shipped settings, {quick} s with --quick"
    return f"{path}: settings of {best!r}; they fit. {cost}: fpsolve study {best} --config {path}"


def explained(name: str) -> str:
    """Return the settings of a study as TOML, every key with its meaning; what may be left out is listed as a comment.

    Examples
    --------
    >>> [line for line in explained("step-size").splitlines() if line.startswith("churn")]
    ['churn = 2.0  # Of the stochastic EDM sampler.']
    """
    known = dict(_keys(_settings(name)))
    lines: list[str] = []
    tables, keys, said, table = {""}, set[str](), set[str](), ""
    for line in studies.settings(name).splitlines():
        header, key = re.match(r"\[\[?([\w.-]+)\]", line), re.match(r"([\w.-]+) = ", line)
        table = header[1] if header else table
        place = f"{table}.{key[1]}".lstrip(".") if key else table if header else ""
        tables, keys = (tables | {place}, keys) if header else (tables, keys | {place})
        # a comment within a text of several lines would be text
        told = place in known and not line.endswith("\\")
        lines.append(f"{line}  # {known[place][0]}" if told else line)
        said |= {place} if told else set()
    inner, left = [], []
    for place, (meaning, default) in known.items():
        above = place.rpartition(".")[0]
        given = any(one == place or one.startswith(f"{place}.") for one in tables | keys)
        if place not in said and (given or (above in keys and default == NEEDED)):
            inner.append(f"# {place}: {meaning}")
        elif place not in said and above in tables | keys:
            left.append(f"# {place} = {default}  # {meaning}")
    parts = {"# besides:": inner, "# may be given too:": left}
    return "\n".join(lines + [line for title, part in parts.items() if part for line in ["", title, *part]])


def _keys(kind: type[Settings], path: str = "") -> Iterator[tuple[str, tuple[str, str]]]:
    """Every key with its path, its meaning and its default."""
    for name, field in kind.model_fields.items():
        default = NEEDED if field.is_required() else json.dumps(field.default, default=repr)
        yield path + name, (field.description or "", default)
        asked = [field.annotation]
        while asked:
            one = asked.pop()
            if isinstance(one, type) and hasattr(one, "model_fields"):
                yield from _keys(one, f"{path}{name}.")
            asked += get_args(one)


def schema(name: str) -> dict[str, Any]:
    """Return the JSON schema of the settings of a study, or of "sweep".

    Examples
    --------
    >>> sorted(schema("step-size")["properties"])[:3]
    ['box', 'cells', 'churn']
    """
    return _settings(name).model_json_schema()


def latex(path: str | Path) -> str:
    r"""Return the table of a study's result in LaTeX (booktabs), values with their errors as ``0.0312(4)``.

    Raises
    ------
    ValueError
        No folder with a report, or a report without a table.

    Examples
    --------
    >>> _cell("0.03121 ± 4e-04"), _cell("6.55891e-06 ± 3e-10"), _cell("p_t, 5%")
    ('0.0312(4)', '$6.5589(3) \\times 10^{-6}$', 'p\\_t, 5\\%')
    """
    table = _report(path).partition("\n## Table\n")[2].partition("\n## ")[0]
    rows = [re.split(r"(?<!\\)\|", line.strip().strip("|")) for line in table.splitlines() if line.startswith("|")]
    if len(rows) < 3:
        raise error("RESULT", "a study's result with a table", str(path))
    head, _, *body = ([_cell(cell.strip()) for cell in row] for row in rows)
    lines = [" & ".join(row) + r" \\" for row in (head, *body)]
    begin = rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}"
    return "\n".join([begin, r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule", r"\end{tabular}"])


def _cell(text: str) -> str:
    """A cell of a table in LaTeX: the error in units of the value's last digit, rounded up, and signs escaped."""
    value, sign, bar = text.partition(" ± ")
    try:
        given, off = Decimal(value), Decimal(bar or 0)
    except InvalidOperation:
        # formulas stay, and Markdown's escapes go
        parts = re.sub(r"\\([|_*`])", r"\1", text).split("$")
        parts[::2] = [re.sub(r"([_%&#])", r"\\\1", one).replace("^", r"\^{}") for one in parts[::2]]
        return "$".join(parts)
    if not (given.is_finite() and off.is_finite()):
        return rf"${value} \pm {bar}$".replace("inf", r"\infty") if sign else value
    power = 0 if not given or Decimal("1e-3") <= abs(given) < Decimal("1e5") else given.adjusted()
    exponent = int(given.as_tuple().exponent) if given else off.adjusted()
    last = max(off.adjusted(), exponent) if off else exponent
    shown = f"{given.quantize(Decimal(1).scaleb(min(last, power))).scaleb(-power):f}"
    if sign:
        unit = Decimal(1).scaleb(min(last, power))
        shown += f"({int((off / unit).to_integral_value(ROUND_CEILING))})"
    return rf"${shown} \times 10^{{{power}}}$" if power else shown


def _report(path: str | Path) -> str:
    """The text of report.md."""
    try:
        return (Path(path) / "report.md").read_text(encoding="utf-8")
    except OSError as reason:
        raise error("RESULT", "a folder with report.md", f"{path}: {reason.strerror}") from None


def show(path: str | Path) -> str:
    """Return the answer of a result: of a study's folder the verdict and what it found, of a file what the run says.

    Raises
    ------
    ValueError
        No such file or folder, or not a result.
    """
    place = Path(path)
    if place.is_dir():
        title, _, rest = _report(place).partition("\n")
        answer = rest.partition("## Answer\n")[2].partition("\n## Table")[0].strip()
        paragraphs = answer.replace("$", "").replace("`", "").split("\n\n")
        # the verdict stands last there and first here
        return "\n\n".join(
            [title.removeprefix("# "), *(textwrap.fill(one, 100) for one in paragraphs[-1:] + paragraphs[:-1])]
        )
    return repr(fpsolve.load(place).fpsolve)


def cite() -> str:
    """Return a BibTeX entry.

    Examples
    --------
    >>> print(cite().splitlines()[0])
    @software{fpsolve,
    """
    return (
        "@software{fpsolve,\n"
        "  author = {{The fpsolve developers}},\n"
        "  title = {fpsolve: grid-exact Fokker-Planck evolution of reverse-time diffusion densities},\n"
        f"  version = {{{fpsolve.__version__}}},\n"
        "  license = {MIT}\n"
        "}"
    )
