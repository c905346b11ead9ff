"""The notebook runs from its first cell to its last, in a kernel of its own, and is stored without output."""

import re
from pathlib import Path

import nbclient
import nbformat
import pytest

NOTEBOOK = Path(__file__).resolve().parent.parent / "docs/notebooks/own_text.ipynb"


def read():
    return nbformat.read(NOTEBOOK, as_version=4)


def outputs(notebook):
    """What the cells showed, and what went wrong."""
    shown = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return [output.get("text") or output.get("data", {}).get("text/plain", "") for output in shown]


def test_it_is_stored_without_output():
    notebook = read()
    assert outputs(notebook) == []
    assert all(cell.get("execution_count") is None for cell in notebook.cells)
    nbformat.validate(notebook)


@pytest.mark.slow
def test_it_runs_from_the_first_cell_to_the_last(tmp_path, monkeypatch):
    monkeypatch.delenv("TF_USE_LEGACY_KERAS", raising=False)
    notebook = read()
    changed = 0
    for cell in notebook.cells:
        if "paragraphs = 1_500" in cell.source:
            cell.source = cell.source.replace("paragraphs = 1_500", "paragraphs = 300")
            changed += 1
    assert changed == 1
    nbclient.NotebookClient(
        notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    # A kernel asks for colors by FORCE_COLOR.
    said = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(outputs(notebook)))
    assert re.search(r"train +ran", said)
    assert re.search(r"after +perplexity [\d,.]+", said)
    # Asked here and through the server, which answer alike.
    answers = re.findall(r"^0\.\d{3}  This function returns a.*$", said, re.MULTILINE)
    assert len(answers) == 6
    assert answers[:3] == answers[3:]
    assert "'push': 'ran'" in said
    assert (tmp_path / "pipeline_root/serving/fill_mask/1/saved_model.pb").is_file()
    # Nothing but what the cells print: no line of a library's.
    streams = [o for cell in notebook.cells for o in cell.get("outputs", ()) if o.get("name") == "stderr"]
    assert streams == []
