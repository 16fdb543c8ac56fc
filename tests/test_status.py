"""Every number says what it is: all public records, Datasets and studies have one of the words of `_messages`."""

import inspect
from dataclasses import is_dataclass
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import test_fuzz
import xarray as xr

import fpsolve as fp
from fpsolve import _messages, studies

WORDS = set(_messages.MEANING) - {"no certificate"}
#: Classes that are given, not found: what a number is made of.
GIVEN = (
    "laws", "processes", "weights", "grid", "dynamics", "samplers", "marginals", "scores", "settings", "data",
)  # fmt: skip
#: Matrices and operators; inputs of stochastic runs; one hypothesis of a record.
NOT_NUMBERS = {"Kernel", "Operator", "FiniteVolumeOperator", "SamplerOperator", "ScoreNoise", "RadialFunction"}
NOT_NUMBERS |= {"BrownianPaths", "Hypothesis"}
ROOMS = (*test_fuzz.ROOMS, "proofs")


def records() -> list[type]:
    """Every public dataclass that holds results."""
    found = []
    for room in ROOMS:
        module = import_module(f"fpsolve.{room}")
        for name in module.__all__:
            kind = getattr(module, name)
            mine = inspect.isclass(kind) and is_dataclass(kind) and kind.__module__.startswith(f"fpsolve.{room}")
            if mine and name not in NOT_NUMBERS and (room not in GIVEN or name == "Probe"):
                found.append(kind)
    return found


def test_every_public_record_has_a_status() -> None:
    kinds = records()
    assert len(kinds) >= 20 and {fp.design.Design, fp.proofs.Enclosure, fp.bounds.Record, fp.scores.Probe} <= set(kinds)
    assert [kind.__name__ for kind in kinds if not hasattr(kind, "status")] == []
    fixed = {kind.status for kind in kinds if isinstance(kind.status, str)}
    assert fixed <= WORDS


def said(found: Any) -> set[str]:
    """The words of a Dataset, or of each of its variables where it has none of its own."""
    if "status" in found.attrs:
        words = {found.attrs["status"]}
    else:
        words = {found[name].attrs.get("status", "none") for name in found.data_vars if found[name].dtype.kind == "f"}
    return words | ({str(word) for word in found["status"].values} if "status" in found.coords else set())


def makers() -> list[str]:
    """Doors that return a Dataset, a DataArray or a record."""
    kinds = {kind.__name__ for kind in records()} | {"Dataset", "DataArray"}
    found = []
    for name, call in test_fuzz.doors().items():
        returned = str(inspect.signature(call).return_annotation).rpartition(".")[2].strip("'>")
        if not inspect.isclass(call) and name in test_fuzz.DOORS and returned in kinds:
            found.append(name)
    return found


@pytest.mark.filterwarnings("ignore")
def test_what_the_doors_return_says_what_its_numbers_are() -> None:
    names, seen = makers(), {}
    for name in names:
        result = test_fuzz.doors()[name](**test_fuzz.DOORS[name]())
        seen[name] = said(result) if hasattr(result, "attrs") else {result.status}
    print(seen)
    assert {name: words for name, words in seen.items() if not words or not words <= set(_messages.MEANING)} == {}
    assert len(names) >= 40 and set().union(*seen.values()) >= {"certified", "estimated", "Monte Carlo"}
    assert seen["particles.compare"] == {"Monte Carlo"} and seen["evolve"] == {"estimated"}
    # the density of particles' positions is random, whatever it is held against
    with_samples = fp.distances.wasserstein(test_fuzz.density(0), np.linspace(-2.0, 2.0, 40))
    assert said(with_samples) == {"Monte Carlo"}


def test_proofs_are_proved_or_no_certificate() -> None:
    reverse, start = test_fuzz.reverse(), fp.Gaussian(0.3, std=0.9)
    found = [
        fp.proofs.weighted_tv(reverse, start, t=0.5, rtol=1e-3),
        fp.proofs.harris(reverse, 1.0, 0.5, weight=fp.PolynomialWeight(2, 0.1)),
        fp.proofs.harris_blocks(reverse, [1.0, 0.5], weight=fp.PolynomialWeight(2, 0.1)),
    ]
    assert [one.status for one in found] == ["proved"] * 3
    assert said(fp.proofs.forgetting_curve(reverse, {"a": start}, t=[0.5], rtol=1e-3)) == {"proved"}
    nothing = fp.proofs.weighted_tv(reverse, start, t=0.5, budget=1e-6)
    assert nothing.status == "no certificate" and str(nothing).startswith("no certificate")
    assert fp.proofs.harris(reverse, 0.01, 0.0, weight=fp.PolynomialWeight(2, 0.1)).status == "no certificate"


@pytest.mark.parametrize("name", studies.names())
def test_tables_of_studies_say_what_their_columns_are(name: str) -> None:
    module = import_module(f"fpsolve.studies.{name.replace('-', '_')}")
    assert set(module.STATUS) <= WORDS and all(module.STATUS.values())
    told = {column for columns in module.STATUS.values() for column in columns}
    settings = {"start", "start or block", "block", "t", "box", "beta"}
    assert set(getattr(module, "COLUMNS", ())) - settings <= told


def test_the_weakest_word_counts_and_figures_have_a_line_for_each() -> None:
    assert _messages.weakest(["proved", "Monte Carlo", "certified"]) == "Monte Carlo"
    assert _messages.weakest(["no certificate"]) == "no certificate"
    table = xr.Dataset({"a": ("t", [1.0]), "b": ("t", [1.0])})
    assert said(table) == {"none"}, "control: without a word there is none"
