"""The explorer: what sliders say, what is computed of it, the page, and that only this machine is served."""

import asyncio
import base64
import contextlib
import itertools
import json
import shutil
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest

import fpsolve as fp
from fpsolve import explorer
from fpsolve.explorer import PROCESSES, State, answer, figure, ladder


@pytest.mark.parametrize("process", ["VP", "EDM", "rectified flow"])
def test_a_slider_moves_the_curve_and_the_curve_is_right(process):
    state, other = State(process=process), State(process=process, mean=1.5)
    found, moved = answer(state), answer(other)
    assert found.seconds > 0.0
    assert found.curve["distance"].sizes["t"] == explorer.TIMES
    if process != "rectified flow":
        # there everything is forgotten at once
        assert float(moved.curve.distance.sel(start="start")[1]) > 1.5 * float(
            found.curve.distance.sel(start="start")[1]
        )
    # the oracle knows the distance
    t = float(found.run["t"][10])
    x, density = found.density("start", 10)
    true = fp.closed_form.density(state.reverse, state.start, t, x)
    v, h = 1.0 + x * x, x[1] - x[0]
    assert (
        float((v * np.abs(density - true)).sum() * h)
        <= float(found.run["error_estimate"].sel(start="start")[10]) + 1e-3
    )


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"process": "EDM", "error": 0.1},
        {"eta": 0.5, "std": 0.5, "target": "Laplace"},
        {"target": "two modes, plane"},
    ],
)
def test_the_program_is_the_same_run(change, tmp_path, monkeypatch):
    state = State(**change)
    code = state.python()
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code, names)
    assert (tmp_path / "forgetting.png").stat().st_size > 10_000
    for name in ("distance", "error"):
        assert np.array_equal(names["curve"][name], answer(state).curve[name])


def test_a_target_in_the_plane_has_a_curve_and_images():
    state = State(target="three modes, plane", t_min=0.05)
    found = answer(state)
    last = found.curve.sel(start="start").isel(t=-1)
    # Bayes' rule on the same points, with Gaussians written out
    x, y, density = found.density("start", -1)
    t, process = float(found.run["t"][-1]), PROCESSES["VP"]
    a, b = (process.scale(0.0, u) for u in (t, 1.0))
    step, noise = process.scale(t, 1.0), process.variance(t, 1.0)
    points = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1)

    def mixture(scale, at):
        s2 = scale**2 / 3.0 + 1.0 - scale**2
        parts = zip((0.4, 0.3, 0.3), ((-1.6, -1.0), (1.6, -1.0), (0.0, 2.0)), strict=True)
        return sum(w * np.exp(-0.5 * ((at - scale * np.array(m)) ** 2).sum(-1) / s2) / s2 for w, m in parts) / 2 / np.pi

    line = np.linspace(-8.0, 8.0, 161)
    later = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1)
    start = np.exp(-0.5 * ((later - np.array([0.5, 0.0])) ** 2).sum(-1)) / 2 / np.pi
    kernels = [np.exp(-0.5 * (line - step * axis[:, None]) ** 2 / noise) for axis in (x, y)]
    back = kernels[0] @ (start / mixture(b, later)) @ kernels[1].T * 0.01 / (2 * np.pi * noise)
    p, area = mixture(a, points), (x[1] - x[0]) * (y[1] - y[0])
    true = np.sum((1.0 + (points**2).sum(-1)) * np.abs(p * back - p)) * area
    assert float(last.distance) == pytest.approx(true, abs=float(last.error)) and float(last.error) < 0.3 * true
    assert np.abs(density - p * back).max() < 0.02 * density.max()
    one = page(target="three modes, plane")
    assert [picture.visible for picture in one.images] == [True, True] and not one.below.visible
    assert one.plane.data["start"][0].shape == explorer.PLANE[:1] * 2
    assert " line only" in ladder(state) and len(figure(state, found).axes) >= 4
    one.widgets["target"].value = "two modes"
    assert one.below.visible and not one.images[0].visible


def test_own_data_are_a_target_and_bad_states_are_refused(tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text("a,b\n" + "\n".join(f"{x},{-x}" for x in np.linspace(-2.0, 3.0, 60)))
    state = State(target="your data", data=str(file), column="b")
    assert state.law.dim == 1 and answer(state).curve["distance"].max() > 0.0
    assert "fp.data.read(" in state.python() and "'b'" in state.python()
    with pytest.raises(ValueError, match="target: expected one of"):
        State(target="your data")
    with pytest.raises(ValueError, match="std: expected"):
        State(std=0.0)
    with pytest.raises(ValueError, match="column"):
        State(target="your data", data=str(file), column="c").law  # noqa: B018


def test_bounds_and_why_there_are_none():
    found = ladder(State(process="OU"))
    assert found["bound"].size >= 3
    assert found["t"].values[[0, -1]] == pytest.approx([3.0, 0.03], rel=1e-9)
    assert ladder(State(eta=0.5)) == "bounds are of the exact score and eta = 1"
    lines = explorer._rungs(found, State(process="OU"))
    assert len(lines["xs"]) == len(lines["ys"]) >= 1


def test_the_figure_is_that_of_plots():
    made = figure(State())
    assert len(made.axes) >= 2 and made.axes[0].get_yscale() == "log"


def page(**change):
    pytest.importorskip("panel", reason="panel is not installed: the extra [explore]")
    return explorer.Page(State(**change))


def test_moving_a_widget_changes_the_picture_and_the_time_is_shown():
    one = page()
    before, told = np.array(one.line.data["distance"]), one.told.object
    assert " ms**" in told and f"{explorer.CELLS} cells" in told
    one.widgets["mean"].value = 2.0
    after = np.array(one.line.data["distance"])
    assert one.state.mean == 2.0 and not np.allclose(before, after)
    low, high = np.array(one.line.data["low"]), np.array(one.line.data["high"])
    assert np.all((low <= after) & (after <= high))
    assert "fp.Gaussian(2.0" in one.code.value
    law = np.array(one.law.data["start"])
    one.at.value = 0.0
    assert not np.allclose(law, one.law.data["start"])
    for name in PROCESSES:
        one.widgets["process"].value = name
        assert one.state.process == name
        assert np.isfinite(one.line.data["distance"]).all()
    assert one.saved().getvalue()[1:4] == b"PNG"


def test_the_ladder_is_drawn_when_asked_for():
    one = page()
    assert one.rungs.data["xs"] == []
    one.bounds.value = True
    assert len(one.rungs.data["xs"]) >= 1
    one.widgets["eta"].value = 0.5
    assert one.rungs.data["xs"] == [] and "eta = 1" in one.told.object


@contextlib.contextmanager
def served():
    """The address of a server."""
    pytest.importorskip("panel", reason="panel is not installed: the extra [explore]")
    command = [sys.executable, "-m", "fpsolve", "explore", "--no-browser", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        try:
            line = next(line for line in server.stdout if "http://" in line)
            yield line[line.index("http://") :].split()[0]
        finally:
            server.terminate()


@pytest.mark.slow
def test_the_server_listens_on_this_machine_alone():
    with served() as address:
        assert address.startswith(("http://127.0.0.1:", "http://localhost:"))
        assert "fpsolve" in urllib.request.urlopen(address, timeout=60).read().decode()


#: In the browser: every model of the page, and those of a slider and of the curve.
MODELS = "Bokeh.documents.flatMap(d => [...d._all_models.values()])"
SLIDER = f"{MODELS}.find(m => m.title === 'start: mean')"
CURVE = f"{MODELS}.find(m => m.data && 'tau' in m.data).data.distance"
TIME = f"{MODELS}.map(m => m.text || '').find(t => String(t).includes(' ms')) || ''"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the libraries
def test_a_browser_moves_a_slider_and_sees_the_curve_change(tmp_path):
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no browser is installed")
    from tornado.websocket import websocket_connect

    async def drive(address, port):
        targets = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/json"))
        page = next(one for one in targets if one["type"] == "page")
        socket, number = (
            await websocket_connect(page["webSocketDebuggerUrl"], max_message_size=2**26),
            itertools.count(),
        )

        async def ask(method, **parameters):
            asked = next(number)
            await socket.write_message(json.dumps({"id": asked, "method": method, "params": parameters}))
            while True:
                told = json.loads(await socket.read_message())
                if told.get("id") == asked:
                    return told["result"]

        async def until(expression, good):
            for _ in range(300):
                found = (await ask("Runtime.evaluate", expression=expression, returnByValue=True))["result"]
                if "value" in found and good(found["value"]):
                    return found["value"]
                await asyncio.sleep(0.2)
            raise AssertionError(f"never seen in the browser: {expression}")

        await ask("Page.navigate", url=address)
        first = await until(f"Array.from({CURVE})", lambda curve: len(curve) > 5)
        await ask("Runtime.evaluate", expression=f"{SLIDER}.value = 2.0")
        second = await until(f"Array.from({CURVE})", lambda curve: len(curve) > 5 and curve != first)
        told = await until(TIME, bool)
        picture = base64.b64decode((await ask("Page.captureScreenshot"))["data"])
        socket.close()
        while await socket.read_message() is not None:
            pass
        return first, second, told, picture

    folder = tmp_path / "profile"
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
    command += ["--window-size=1300,1000", f"--user-data-dir={folder}", "about:blank"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with served() as address, subprocess.Popen(command, **quiet) as browser:
        try:
            for _ in range(200):
                if (folder / "DevToolsActivePort").exists():
                    break
                time.sleep(0.1)
            port = (folder / "DevToolsActivePort").read_text().split()[0]
            first, second, told, picture = asyncio.run(drive(address, port))
        finally:
            browser.terminate()
    (tmp_path / "explorer.png").write_bytes(picture)
    print(tmp_path / "explorer.png", told)
    assert second[1] > 1.5 * first[1] and len(picture) > 20_000


def test_a_bad_file_is_one_sentence(capsys):
    from fpsolve.cli import main

    pytest.importorskip("panel", reason="panel is not installed: the extra [explore]")
    assert main(["explore", "--data", "nowhere.csv", "--no-browser"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
