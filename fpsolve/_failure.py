"""Code of others that may raise anything."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self


class Failure(AbstractContextManager["Failure"]):
    """Keep the text of any error of the block and go on behind it.

    For code of others that may raise anything: one point of a sweep, whatever its function raises, must not cost the
    other points; a worker, what answers at a network address, or a damaged cache is to be told of in one sentence.
    Interrupts pass.
    """

    text = ""
    cause: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if kind is None or not issubclass(kind, Exception | SystemExit):
            return False
        self.text, self.cause = f"{kind.__name__}: {value}", value
        return True
