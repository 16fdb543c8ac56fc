"""Which studies there are: one TOML file each. Light: nothing of a study is imported to list it.

A study is called ``harris-ladder``; its two files are ``harris_ladder.toml`` and ``harris_ladder.py``.
"""

import tomllib
from importlib import resources

from fpsolve import _checks


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
