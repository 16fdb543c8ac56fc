"""What a callable is called in an attribute or message: the same text in every run, without addresses."""

from functools import partial
from typing import Any

__all__ = ["name_of"]


def name_of(value: Any) -> str:
    """Return a short description of a callable that does not change from run to run.

    Functions by module and name, lambdas with their line, partials with their arguments, any other object by its
    ``repr`` unless that shows an address; then by its class.

    Examples
    --------
    >>> import math
    >>> name_of(math.hypot)
    'math.hypot'
    >>> name_of(object())
    'builtins.object'
    """
    if isinstance(value, partial):
        given = [name_of(value.func), *map(repr, value.args), *(f"{k}={v!r}" for k, v in value.keywords.items())]
        return f"partial({', '.join(given)})"
    qualified = getattr(value, "__qualname__", None)
    if qualified is not None:
        name = f"{value.__module__}.{qualified}".replace("<locals>.", "")
        code = getattr(value, "__code__", None)
        return f"{name}, line {code.co_firstlineno}" if code is not None and "<lambda>" in name else name
    shown = repr(value)
    if " at 0x" not in shown and "\n" not in shown:
        return shown
    kind = type(value)
    return f"{kind.__module__}.{kind.__qualname__}"
