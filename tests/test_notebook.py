"""The notebook works from its first cell to its last, and holds no outputs."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebook.ipynb"
MISSING = [name for name in ("nbclient", "nbformat", "ipykernel") if find_spec(name) is None]

pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"the notebook needs {', '.join(MISSING)}: pip install -e '.[dev]'"),
    pytest.mark.filterwarnings("ignore"),
]


def read() -> Any:
    import nbformat

    return nbformat.read(NOTEBOOK, nbformat.NO_CONVERT)


def executed(notebook: Any, folder: Path) -> dict[str, str]:
    """What each cell shows, by its id, as text; it runs in `folder`, by the Python that runs this."""
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    class ThisPython(AsyncKernelManager):
        """Starts the kernel without asking which are installed."""

        @property
        def kernel_spec(self) -> KernelSpec:
            return KernelSpec(argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"])

    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, kernel_manager_class=ThisPython, resources=resources, timeout=None).execute()
    return {
        cell["id"]: "".join(
            output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs
        )
        for cell in notebook.cells
        if cell.cell_type == "code"
    }


def test_the_notebook_holds_no_outputs() -> None:
    import nbformat

    notebook = read()
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [(cell.outputs, cell.execution_count) for cell in cells] == [([], None)] * len(cells)


def test_the_notebook_runs_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIGPT_STEPS", "2")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = read()
    shown = executed(notebook, tmp_path)
    assert "<Run runs/notebook, step 2" in shown["train"]
    assert "IProgress" not in shown["train"]
    assert shown["write"].startswith("Alice gave Bob")
    assert len(shown["stream"]) > 20
    assert "text='Alice'" in shown["tokens"]
    assert shown["logits"].count("%") == 5
    assert "'gap'" in shown["measure"]
    assert "model.safetensors" in shown["export"]
    outputs = {cell["id"]: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}
    assert any("<iframe srcdoc=" in output.data.get("text/html", "") for output in outputs["explain"])
    assert all(output.output_type != "error" for cell in outputs.values() for output in cell)
