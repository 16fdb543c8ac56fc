"""``run.fpsolve`` wherever xarray is: registered as soon as both are imported, in either order, and no sooner.

``import fpsolve`` loads no xarray, and a file opened by xarray in a fresh interpreter has its accessor all the same: a
finder at the head of ``sys.meta_path`` sees that xarray is imported, leaves finding and loading to those behind it and
registers when it is done.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xarray as xr

    from fpsolve.evolution import RunAccessor

_NAME = "xarray"


def install() -> None:
    """Register the accessor now where xarray is there, else when it is imported."""
    module = sys.modules.get(_NAME)
    if module is not None:
        _register(module)
    elif not any(isinstance(finder, _Watch) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Watch())


def _register(module: Any) -> None:
    # a reloaded fpsolve finds its accessor there
    if not hasattr(module.Dataset, "fpsolve"):
        module.register_dataset_accessor("fpsolve")(_accessor)


def _accessor(run: xr.Dataset) -> RunAccessor:
    """What a run's Dataset knows about itself, see `fpsolve.evolution._result.RunAccessor`."""
    from fpsolve.evolution import RunAccessor

    return RunAccessor(run)


class _Watch:
    """A finder that finds nothing itself: it hangs `_register` onto the loader that the finders behind it return."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of xarray as the other finders have it, None for every other module."""
        if name != _NAME:
            return None
        for finder in sys.meta_path:
            spec = None if isinstance(finder, _Watch) else finder.find_spec(name, path, target)
            if spec is not None:
                return self._watched(spec)
        return None

    def _watched(self, spec: ModuleSpec) -> ModuleSpec:
        loader = spec.loader
        if loader is None:
            return spec
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            _register(module)

        # on the instance, which is made for this import: the loader stays what it is to everyone else
        vars(loader)["exec_module"] = exec_module
        return spec
