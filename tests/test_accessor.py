"""``run.fpsolve`` in fresh interpreters: whoever imports xarray, and when."""

import subprocess
import sys

import pytest

import fpsolve as fp


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    reverse = fp.Reverse(fp.Gaussian(0.5, std=0.5), fp.VP())
    grid = fp.Grid.uniform((-6, 6), cells=160)
    starts = {"exact": reverse.marginal(1.0), "prior": fp.Gaussian(0.0, std=1.0)}
    run = fp.evolve(reverse, starts, grid=grid, steps=120, t_min=0.1, progress=False)
    path = tmp_path_factory.mktemp("runs") / "run.nc"
    run.to_netcdf(path, engine="h5netcdf")
    return path, run


def fresh(code):
    """What `code` prints in a new interpreter, warnings being errors."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    "imports",
    [
        "import fpsolve; import xarray as xr",
        "import xarray as xr; import fpsolve",
        "import fpsolve, importlib.util; importlib.util.find_spec('xarray'); import xarray as xr",
        "import fpsolve, importlib, sys; del sys.modules['fpsolve']; import fpsolve; import xarray as xr",
        "import fpsolve, xarray as xr, importlib; importlib.reload(fpsolve)",
    ],
)
def test_a_file_opened_by_xarray_has_its_accessor(file, imports):
    code = f"{imports}\nrun = xr.load_dataset({str(file[0])!r}, engine='h5netcdf')\nprint(run.fpsolve.grid)"
    assert fresh(code) == repr(file[1].fpsolve.grid)


def test_load_needs_no_xarray_and_loses_nothing(file):
    path, run = file
    assert fresh(f"import fpsolve as fp; print(fp.load({str(path)!r}).fpsolve.weight)") == repr(run.fpsolve.weight)
    assert fp.load(path).identical(run)
    fp.forgetting_curve(fp.load(path))


def test_import_stays_light_and_leaves_xarray_as_it_is():
    assert fresh("import sys, fpsolve; print('xarray' in sys.modules, 'numpy' in sys.modules)") == "False False"
    code = (
        "import sys, fpsolve; before = len(sys.meta_path); import xarray; "
        "print(before - len(sys.meta_path), type(xarray.__spec__.loader).__name__, xarray.__file__ is not None)"
    )
    assert fresh(code) == "1 SourceFileLoader True"


def test_a_package_that_is_missing_is_missing_still():
    code = (
        "import sys, fpsolve\nsys.modules['xarray'] = None\n"
        "try:\n    import xarray\nexcept ImportError as reason:\n    print(type(reason).__name__)"
    )
    assert fresh(code) == "ModuleNotFoundError"


def test_what_is_no_run_is_refused_in_a_sentence(file, tmp_path):
    with pytest.raises(ValueError, match=r"path: expected a netCDF file, got .*nothing\.nc"):
        fp.load(tmp_path / "nothing.nc")
    file[1][["mass"]].to_netcdf(tmp_path / "mass.nc", engine="h5netcdf")
    with pytest.raises(ValueError, match=r"path: expected the file of a run, .* got one of mass"):
        fp.load(tmp_path / "mass.nc")
