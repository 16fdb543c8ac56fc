"""What a function may return, brought into one form: a Dataset that a file keeps bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from fpsolve._checks import error

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["VALUE", "as_dataset"]

#: Name of the variable where the function returns a number, or a DataArray without a name.
VALUE = "value"

_EXPECTED = "a number, a dict of numbers, a DataArray or a Dataset"


def as_dataset(result: Any, labels: Mapping[str, Any]) -> xr.Dataset:
    """Return the result of one point as a Dataset of numbers, bools and strings.

    Parameters
    ----------
    result : number, dict of str to number or DataArray, DataArray, Dataset
        What the function returned.
    labels : mapping
        Label of the point along every swept name; a scalar coordinate that only repeats it is left out.

    Raises
    ------
    ValueError
        Anything else; a name that is also swept; values or attributes that a NetCDF file cannot hold.
    """
    import xarray as xr

    if isinstance(result, xr.DataArray):
        named = result.rename(VALUE if result.name is None else result.name)
        dataset = named.to_dataset(promote_attrs=False)
    elif isinstance(result, xr.Dataset):
        dataset = result
    elif isinstance(result, Mapping):
        dataset = xr.Dataset({_name(name): _entry(f"result[{name!r}]", entry) for name, entry in result.items()})
    else:
        dataset = xr.Dataset({VALUE: _entry("result", result)})
    return _storable(_without_labels(dataset, labels))


def _entry(name: str, value: Any) -> Any:
    import xarray as xr

    if isinstance(value, xr.DataArray):
        return value.drop_attrs() if value.name is None else value
    number = isinstance(value, Real | np.bool_) or (isinstance(value, np.ndarray) and value.ndim == 0)
    if not number:
        raise error(name, _EXPECTED, f"{type(value).__name__} {value!r}"[:80], "return one of these")
    return ((), np.asarray(value))


def _name(name: Any) -> str:
    if not isinstance(name, str) or not name or "/" in name:
        raise error("result", "names that are strings without a slash", repr(name))
    return name


def _without_labels(dataset: xr.Dataset, labels: Mapping[str, Any]) -> xr.Dataset:
    """Drop scalar coordinates that repeat the point's own labels; refuse any other use of a swept name."""
    repeated = [
        name
        for name, label in labels.items()
        if name in dataset.coords and dataset[name].ndim == 0 and dataset[name].item() == label
    ]
    dataset = dataset.drop_vars(repeated)
    for name in labels:
        if name in dataset.variables or name in dataset.dims:
            raise error("result", "names other than the swept ones", repr(name), "rename it in what you return")
    return dataset


def _storable(dataset: xr.Dataset) -> xr.Dataset:
    """Return the Dataset with plain strings, in memory and without encoding; refuse what no file keeps."""
    dataset = dataset.load().drop_encoding()
    for key, variable in dataset.variables.items():
        name = _name(key)
        if name in dataset.xindexes and len(dataset.xindexes.get_all_coords(name)) > 1:
            raise error("result", "plain coordinates", f"the multi-index {name!r}", "use reset_index")
        _check_attrs(f"attributes of {name!r}", variable.attrs)
        if variable.dtype.kind in "OTU" and all(isinstance(text, str) for text in variable.values.ravel().tolist()):
            dataset[name] = variable.copy(data=variable.values.astype(np.str_))
        elif variable.dtype.kind not in "biuf" or variable.dtype == np.longdouble:
            raise error(f"result[{name!r}]", "real numbers, bools or strings", f"values of type {variable.dtype}")
    _check_attrs("attributes", dataset.attrs)
    return dataset


def _check_attrs(name: str, attrs: Mapping[Any, Any]) -> None:
    for key, value in attrs.items():
        plain = isinstance(value, str | int | float | np.integer | np.floating) and not isinstance(value, bool)
        numbers = isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "iuf"
        if not (plain or numbers) or not isinstance(key, str):
            raise error(f"result, {name}", "strings and numbers", f"{key!r}: {value!r}"[:80], "use a JSON string")
