"""Write the executed notebooks beside their sources: ``python notebooks/execute.py [NAME.py ...]``.

The sources are the ``.py`` files (py:percent, jupytext); the ``.ipynb`` are for reading. Progress bars and times
of execution are left out, so that a notebook changes only where its results do.
"""

import os
import sys
from pathlib import Path

import jupytext
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent


def sources() -> list[Path]:
    """All notebook sources, in the order in which they are read."""
    return sorted(HERE.glob("[0-9][0-9]_*.py"))


def execute(source: Path) -> Path:
    """Run a source in a fresh kernel and write it as ``.ipynb``; an error in a cell is raised."""
    notebook = jupytext.read(source)
    NotebookClient(notebook, timeout=600, record_timing=False, resources={"metadata": {"path": str(HERE)}}).execute()
    for number, cell in enumerate(notebook.cells):
        # ids are drawn at random otherwise
        cell.id = f"cell-{number}"
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if not (o.output_type == "stream" and o.name == "stderr")]
    target = source.with_suffix(".ipynb")
    jupytext.write(notebook, target)
    return target


if __name__ == "__main__":
    # kernels inherit it, and with any backend but their own the figures would be missing
    os.environ.pop("MPLBACKEND", None)
    for source in [Path(name).resolve() for name in sys.argv[1:]] or sources():
        print(execute(source))
