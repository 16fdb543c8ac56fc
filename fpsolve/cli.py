"""The command line: ``fpsolve studies``, ``study NAME``, ``sweep FILE.toml``, ``prove``, ``verify``, ``explore``.

Beside them ``check FILE``, ``schema NAME``, ``show RESULT`` and ``cite``.

Exit status: 0 if every check passed; 1 if one failed, a point of a sweep failed or its tolerance was not met, or an
error bar is proved wrong; 2 on bad input, and where something cannot be proved; 3 if fpsolve itself failed or its
output could not be written; 128 + n when ended by signal n: 130 by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP, 141 when
nobody reads the output any more. What is ignored (SIGHUP under nohup, SIGINT of a background job) stays ignored.
``--traceback``, or FPSOLVE_TRACEBACK in the environment, shows where an error arose.
"""

from __future__ import annotations

# nothing that takes time: until `main` has begun, Ctrl-C prints a traceback
import errno
import os
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fpsolve._messages import Failure

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["main"]

#: Folder of results unless told otherwise; the study's name is put behind it.
RESULTS = "results"
#: Help on `--set`.
SET = "change one key of the settings, such as process.kind=edm or t_min=0.02 (keys: 'fpsolve studies NAME')"
#: Exit status of an error that is no bad input.
FAULT = 3
#: What writing to a stream fails with: nobody reads, full, out of quota, too large, a broken device.
_OUTPUT = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; default those of the process.

    Returns
    -------
    int
        0; 1 if a check failed; 2 on bad input; 3 if fpsolve failed; 128 + n when ended by signal n.

    Examples
    --------
    >>> main(["studies"])
    error-decomposition ...
    0
    """
    with _signals() as caught:
        try:
            with Failure() as failure, _plain_warnings():
                return _run(argv)
        except KeyboardInterrupt as reason:
            return _interrupted(caught, str(reason))
    if caught:  # an import that was interrupted may end in another error
        return _interrupted(caught, "")
    cause, wanted = failure.cause, "--traceback" in (argv or sys.argv) or os.environ.get("FPSOLVE_TRACEBACK")
    if cause is not None and (wanted or isinstance(cause, SystemExit)):
        raise cause
    return _told(cause)


def _run(argv: Sequence[str] | None) -> int:
    for stream in (sys.stdout, sys.stderr):
        # a terminal that cannot show a sign gets a question mark, not a traceback
        getattr(stream, "reconfigure", lambda **_: None)(errors="replace")
    try:
        arguments = _parser().parse_args(argv)
        return int(arguments.run(arguments))
    finally:
        if sys.stdout is not None:
            # here and not at the end of the interpreter, where nobody can be told
            sys.stdout.flush()


def _told(reason: BaseException | None) -> int:
    """Print what went wrong in one sentence and return the exit status."""
    if isinstance(reason, ValueError):
        print(f"fpsolve: error: {reason}", file=sys.stderr)
        return 2
    if isinstance(reason, OSError) and reason.filename is None and reason.errno in _OUTPUT:
        # files have names, and their errors are told of where they are written: this is standard output
        with Failure():
            # for the interpreter's own last flush
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(reason, BrokenPipeError):
            return 128 + 13  # as SIGPIPE would have it
        print(f"fpsolve: error: the output could not be written: {reason.strerror}.", file=sys.stderr)
        return FAULT
    kind = type(reason).__name__
    text = " ".join(str(reason).split())[:500]
    known = "memory ran out" if isinstance(reason, MemoryError) else f"{kind}: {text}"
    print(f"fpsolve: error: it could not go on ({known}); --traceback shows where.", file=sys.stderr)
    return FAULT


def _interrupted(caught: list[int], told: str) -> int:
    print(f"fpsolve: interrupted, {told or 'no file was changed'}.", file=sys.stderr)
    return 128 + (caught[0] if caught else signal.SIGINT)


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Context in which SIGTERM and SIGHUP interrupt as Ctrl-C does; yields the list of those that came."""
    caught: list[int] = []

    def interrupt(number: int, _: object) -> None:
        caught.append(number)
        raise KeyboardInterrupt

    before: dict[int, Any] = {}
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # not what is ignored, nor what somebody who calls `main` handles
        if number is not None and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            try:
                before[number] = signal.signal(number, interrupt)
            except ValueError:  # not in the main thread: nothing comes here
                break
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Context in which a warning is a line without the place in the code."""
    import warnings

    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: print(f"fpsolve: warning: {message}", file=sys.stderr)
        yield


def _parser() -> argparse.ArgumentParser:
    import argparse
    from pathlib import Path

    import fpsolve
    from fpsolve.campaign.command import add_sweep_command
    from fpsolve.studies import names
    from fpsolve.studies.command import add_commands
    from fpsolve.verification.command import add_prove_command

    parser = argparse.ArgumentParser(
        prog="fpsolve", description="Reverse-time diffusion densities on a grid, and what they forget."
    )
    parser.add_argument("--version", action="version", version=f"fpsolve {fpsolve.__version__}")
    parser.set_defaults(run=_help(parser), traceback=False)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    listing = commands.add_parser("studies", help="list the studies, or print the settings of one")
    listing.add_argument(
        "name", nargs="?", metavar="NAME", help="print its settings (TOML), every key with its meaning"
    )
    listing.set_defaults(run=_studies)
    study = commands.add_parser("study", help="run a study, on your data and process")
    study.add_argument("name", metavar="NAME", help=", ".join(names()))
    study.add_argument("--out", metavar="DIR", help="folder of the results (default: results/NAME)")
    study.add_argument("--config", type=Path, metavar="FILE", help="settings (TOML) in place of the study's own")
    study.add_argument("--data", type=Path, metavar="FILE", help="CSV or .npy file in place of the study's data")
    study.add_argument("--columns", default="", metavar="A,B", help="one or two of its columns, by name")
    study.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="changes", help=SET)
    study.add_argument("--quick", action="store_true", help="less work: seconds in place of a minute")
    study.add_argument("--log", choices=("info", "warning"), default="info", help="lines on stderr without a terminal")
    study.add_argument("--traceback", action="store_true", help="show where in the code an error was raised")
    study.set_defaults(run=_study)
    add_sweep_command(commands)
    add_commands(commands)
    add_prove_command(commands)
    explore = commands.add_parser("explore", help="sliders and live figures in a browser, on this machine alone")
    explore.add_argument("--data", type=Path, metavar="FILE", help="CSV or .npy file: one more target")
    explore.add_argument("--column", default="", metavar="NAME", help="its column (default: the first)")
    explore.add_argument("--port", type=int, default=0, help="port (default: a free one)")
    explore.add_argument("--no-browser", action="store_true", help="print the address, open nothing")
    explore.add_argument("--traceback", action="store_true", help="show where in the code an error was raised")
    explore.set_defaults(run=_explore)
    verify = commands.add_parser("verify", help="compute reference values, or what a file says, again and compare")
    told = "files of results; or only these groups of reference values (default: all)"
    verify.add_argument("groups", nargs="*", metavar="RUN.nc|GROUP", help=told)
    verify.add_argument("--traceback", action="store_true", help="show where in the code an error was raised")
    verify.set_defaults(run=_verify)
    return parser


def _help(parser: argparse.ArgumentParser) -> Callable[[object], int]:
    def run(_: object) -> int:
        parser.print_help(sys.stderr)
        return 2

    return run


def _studies(arguments: argparse.Namespace) -> int:
    from fpsolve import studies

    if arguments.name is not None:
        from fpsolve.studies.command import explained

        print(explained(arguments.name))
        return 0
    names = studies.names()
    width = max(len(name) for name in names)
    for name in names:
        print(f"{name.ljust(width)}  {studies.title(name)}")
    return 0


def _study(arguments: argparse.Namespace) -> int:
    import logging
    from pathlib import Path

    from fpsolve import studies

    out = Path(RESULTS) / arguments.name if arguments.out is None else arguments.out
    columns = [name.strip() for name in arguments.columns.split(",") if name.strip()]
    log, lines = logging.getLogger("fpsolve"), logging.StreamHandler()
    lines.setFormatter(logging.Formatter("fpsolve: %(message)s"))
    log.setLevel(arguments.log.upper())
    log.addHandler(lines)
    try:
        report = studies.run(
            arguments.name, out=out, config=arguments.config, quick=arguments.quick, data=arguments.data,
            columns=columns, changes=arguments.changes,
        )  # fmt: skip
    finally:
        log.removeHandler(lines)
    from fpsolve.studies.report import terminal

    print(terminal(report))
    print(f"\nThe report (report.html, report.md, summary.json), the figure and the data (run.nc) are in {out}")
    return 0 if report.passed else 1


def _explore(arguments: argparse.Namespace) -> int:
    from fpsolve import explorer

    explorer.serve(arguments.data, arguments.column, arguments.port, not arguments.no_browser)
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from fpsolve import verification
    from fpsolve.studies.report import check_table

    files = [name for name in arguments.groups if name.endswith(".nc") or Path(name).is_file()]
    groups = [name for name in arguments.groups if name not in files]
    found = verification.run(groups or None) if groups or not files else {}
    checks = tuple(check for group in found.values() for check in group)
    for file in files:
        of_file, notes = verification.check_file(file)
        checks += of_file
        for note in notes:
            print(f"fpsolve: {file}: {note}.", file=sys.stderr)
    print(check_table(checks).text())
    failed = sum(not check.passed for check in checks)
    print(f"\n{failed} of {len(checks)} checks FAIL." if failed else f"\nAll {len(checks)} checks pass.")
    return 1 if failed else 0
