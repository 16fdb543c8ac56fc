"""The stochasticity study: runs small, every check passes, and checks fail when what they check is wrong."""

import pytest
from test_studies_decomposition import FILES, run_small

from fpsolve.studies import stochasticity
from fpsolve.studies.options import read

CHANGES = {
    "etas = [0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.25, 3.16]": "etas = [0.0, 1.0, 2.0]",
    "churns = [0.0, 0.5, 2.0, 8.0, 32.0]": "churns = [0.0, 8.0]",
    "tol = 2e-3": "tol = 1e-2",
    "cells = 400": "cells = 120",
}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return run_small("stochasticity", CHANGES, tmp_path_factory.mktemp("stochasticity"))


def test_checks_pass_and_files_are_there(small):
    report, out = small
    assert [check.name for check in report.checks if not check.passed] == []
    assert len(report.checks) >= 8
    assert FILES - {"run.nc"} <= {path.name for path in out.iterdir()}
    assert max(len(line) for line in report.table.text().splitlines()) <= 100
    assert report.metrics["best_eta_early"] == 2.0 and report.metrics["best_eta_late"] == 0.0


def test_checks_fail_on_wrong_numbers(small):
    report, _ = small
    eta, churn = report.datasets["eta"], report.datasets["churn"]
    config = read("stochasticity", stochasticity.Config).model_copy(update={"tol": 1e-2})
    known = float(eta["far"].sel(eta=1.0)[-1])
    assert all(check.passed for check in stochasticity.checks(config, eta, churn, known))
    drifting = eta["plain"] * (1.0 + 1e-6 * eta["t"])
    for name, (one, two, truth) in {
        "eta = 0: total": (eta.assign(plain=drifting), churn, known),
        "S_churn = 0: total": (eta, churn.assign(plain=churn["plain"] * (1.0 + 1e-6 * churn["t"])), known),
        "eta = 1: far": (eta, churn, 1.1 * known),
        "(measured": (eta.assign(coefficient=0.0 * eta["coefficient"]), churn, known),
        "error estimate of a run, eta": (eta.assign(estimate=10.0 * config.tol + 0.0 * eta["estimate"]), churn, known),
        "error estimate of a run, churn": (eta, churn.assign(estimate=0.1 + 0.0 * churn["estimate"]), known),
        "early error": (eta.assign(early=eta["late"]), churn, known),
        "late error": (eta.assign(late=eta["early"]), churn, known),
    }.items():
        failed = [check.name for check in stochasticity.checks(config, one, two, truth) if not check.passed]
        assert any(text.startswith(name) for text in failed), (name, failed)
