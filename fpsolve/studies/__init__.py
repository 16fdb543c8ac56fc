"""Studies: a question, settings in a TOML file, and one function that answers it with checks that can fail.

The study ``a-name`` is two files here: ``a_name.toml`` (its settings, with a ``title`` and a ``question``) and
``a_name.py`` with a class ``Config`` (what the settings may be) and a function ``run(config, stages) -> Report``.
Reading, checking, running, printing and writing are the same for all and live in `config`, `options`, `report` and
`command`. Nothing of a study is imported to list it: this module is light.
"""

from __future__ import annotations

import tomllib
from importlib import resources
from typing import TYPE_CHECKING

from fpsolve import _checks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fpsolve.studies.report import Report

__all__ = ["names", "run", "settings", "title"]


def names() -> list[str]:
    """Return the names of all studies.

    Examples
    --------
    >>> "forgetting" in names()
    True
    """
    files = resources.files("fpsolve.studies").iterdir()
    return sorted(file.name.removesuffix(".toml").replace("_", "-") for file in files if file.name.endswith(".toml"))


def module_name(name: str) -> str:
    """Return the name of the module of a study, without its package.

    Examples
    --------
    >>> module_name("step-size")
    'step_size'
    """
    return name.replace("-", "_")


def settings(name: str) -> str:
    """Return the settings of a study as TOML text.

    Raises
    ------
    ValueError
        If there is no such study; the known ones are named.
    """
    _checks.one_of("study", name, names())
    return (resources.files("fpsolve.studies") / f"{module_name(name)}.toml").read_text(encoding="utf-8")


def title(name: str) -> str:
    """Return what a study is about, in one line."""
    return str(tomllib.loads(settings(name))["title"])


def run(
    name: str,
    *,
    out: str | Path | None = None,
    config: str | Path | None = None,
    progress: bool | None = None,
    quick: bool = False,
    data: str | Path | None = None,
    columns: Sequence[str] = (),
    changes: Sequence[str] = (),
) -> Report:
    """Run a study and, given a folder, write its results there.

    Parameters
    ----------
    name : str
        One of `names`.
    out : path, optional
        Folder for ``run.nc``, ``figure.png``, ``figure.pdf``, ``report.md``, ``report.html`` and ``summary.json``,
        made if need be. Files appear complete or not at all; default: write nothing.
    config : path, optional
        A TOML file of settings in place of the study's own.
    progress : bool, optional
        Show progress; default only on a terminal or in a notebook.
    quick : bool
        Fewer cells, steps and particles: seconds in place of a minute.
    data : path, optional
        A CSV or .npy file in place of the study's data and targets.
    columns : sequence of str
        One or two columns of it; parts on the line take the first.
    changes : sequence of str
        ``key=value`` each, as ``--set`` of the command line: ``process.kind=edm``. With a process of another kind,
        times and starts that are not given become those of the same noise level.

    Returns
    -------
    Report
        Checks, table, figure, numbers; ``report.passed`` is True if every check passed.

    Raises
    ------
    ValueError
        An unknown study, settings that do not fit, data that cannot be used, a folder that cannot be written.
    """
    from fpsolve.studies.options import Options, run_study

    options = Options(quick, data, columns, changes)
    return run_study(name, out=out, config=config, progress=progress, options=options)
