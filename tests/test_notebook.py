"""examples/notebook.ipynb runs from top to bottom, and was run before it was committed."""

import json

import pytest

from tests.paths import ROOT

NOTEBOOK = ROOT / "examples" / "notebook.ipynb"


def code_cells(content: dict) -> list[dict]:
    return [cell for cell in content["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_shows_what_it_gave():
    content = json.loads(NOTEBOOK.read_text())
    counts = [cell["execution_count"] for cell in code_cells(content)]
    assert counts == list(range(1, len(counts) + 1)), "run it from top to bottom before you commit it"
    outputs = [output for cell in code_cells(content) for output in cell["outputs"]]
    assert not any(output["output_type"] == "error" for output in outputs)
    assert sum("image/" in kind for output in outputs for kind in output.get("data", {})) >= 2
    assert len(NOTEBOOK.read_bytes()) < 1_500_000


@pytest.mark.heavy
def test_the_notebook_runs(tmp_path):
    nbformat = pytest.importorskip("nbformat", reason='needs the extra "notebook"')
    nbclient = pytest.importorskip("nbclient", reason='needs the extra "notebook"')
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    where = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources=where).execute()
    texts = [
        output.text
        for cell in code_cells(notebook)
        for output in cell.outputs
        if output.output_type == "stream"
    ]
    assert any("report: True" in text for text in texts)
