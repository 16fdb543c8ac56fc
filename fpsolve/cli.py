"""The command line: ``fpsolve studies``, ``fpsolve study NAME``, ``fpsolve sweep FILE.toml`` and ``fpsolve verify``.

Exit status: 0 if every check passed, 1 if one failed, 2 on bad input, 130 when interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import fpsolve
from fpsolve.campaign.command import add_sweep_command

__all__ = ["main"]

#: Folder of results unless told otherwise; the study's name is put behind it.
RESULTS = Path("results")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; default those of the process.

    Returns
    -------
    int
        0, 1 if a check failed, 2 on bad input, 130 when interrupted.

    Examples
    --------
    >>> main(["studies"])
    error-decomposition ...
    0
    """
    for stream in (sys.stdout, sys.stderr):
        # a terminal that cannot show a sign gets a question mark, not a traceback
        getattr(stream, "reconfigure", lambda **_: None)(errors="replace")
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except ValueError as reason:
        if arguments.traceback:
            raise
        print(f"fpsolve: error: {reason}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("fpsolve: interrupted, no file was changed.", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fpsolve", description="Reverse-time diffusion densities on a grid, and what they forget."
    )
    parser.add_argument("--version", action="version", version=f"fpsolve {fpsolve.__version__}")
    parser.set_defaults(run=_help(parser), traceback=False)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    listing = commands.add_parser("studies", help="list the studies, or print the settings of one")
    listing.add_argument("name", nargs="?", metavar="NAME", help="print the settings of this study (TOML)")
    listing.set_defaults(run=_studies)
    study = commands.add_parser("study", help="run a study")
    study.add_argument("name", metavar="NAME", help="one of those listed by 'fpsolve studies'")
    study.add_argument("--out", type=Path, metavar="DIR", help="folder of the results (default: results/NAME)")
    study.add_argument("--config", type=Path, metavar="FILE", help="settings (TOML) in place of the study's own")
    study.add_argument("--traceback", action="store_true", help="show where in the code an error was raised")
    study.set_defaults(run=_study)
    add_sweep_command(commands)
    verify = commands.add_parser("verify", help="compute the reference values again and hold them against the truth")
    verify.add_argument("groups", nargs="*", metavar="GROUP", help="only these groups of checks (default: all)")
    verify.add_argument("--traceback", action="store_true", help="show where in the code an error was raised")
    verify.set_defaults(run=_verify)
    return parser


def _help(parser: argparse.ArgumentParser) -> object:
    def run(_: argparse.Namespace) -> int:
        parser.print_help(sys.stderr)
        return 2

    return run


def _studies(arguments: argparse.Namespace) -> int:
    from fpsolve import studies

    if arguments.name is not None:
        print(studies.settings(arguments.name), end="")
        return 0
    names = studies.names()
    width = max(len(name) for name in names)
    for name in names:
        print(f"{name.ljust(width)}  {studies.title(name)}")
    return 0


def _study(arguments: argparse.Namespace) -> int:
    from fpsolve import studies

    out = RESULTS / arguments.name if arguments.out is None else arguments.out
    report = studies.run(arguments.name, out=out, config=arguments.config)
    from fpsolve.studies._text import terminal

    print(terminal(report))
    print(f"\nThe report (report.md, summary.json), the figure and the data (run.nc) are in {out}")
    return 0 if report.passed else 1


def _verify(arguments: argparse.Namespace) -> int:
    from fpsolve import verification
    from fpsolve.studies._text import check_table

    found = verification.run(arguments.groups or None)
    checks = tuple(check for group in found.values() for check in group)
    print(check_table(checks).text())
    failed = sum(not check.passed for check in checks)
    print(f"\n{failed} of {len(checks)} checks FAIL." if failed else f"\nAll {len(checks)} checks pass.")
    return 1 if failed else 0
