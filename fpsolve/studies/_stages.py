"""Where a study is: named stages, shown as a bar on a terminal, timed for the report."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from fpsolve._progress import progress

__all__ = ["Stages"]


class Stages:
    """Names, counts and times the stages of a study.

    Parameters
    ----------
    study : str
        Text in front of the bar.
    enabled : bool, optional
        Show the bar; default only on a terminal or in a notebook.

    Examples
    --------
    >>> stages = Stages("forgetting", enabled=False)
    >>> with stages.total(1), stages("adding"):
    ...     total = 1 + 1
    >>> list(stages.seconds)
    ['adding']
    """

    def __init__(self, study: str, enabled: bool | None = None) -> None:
        self.study, self.enabled = study, enabled
        #: Wall time of every stage so far, in seconds.
        self.seconds: dict[str, float] = {}

    @contextmanager
    def total(self, count: int) -> Iterator[None]:
        """Show a bar of `count` stages while the block runs."""
        with progress(count, self.study, self.enabled) as self._bar:
            yield

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Run one stage."""
        self._bar.set_postfix_str(name)
        began = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began
        self._bar.update()
