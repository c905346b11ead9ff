"""`runs/<id>/report.html`."""

from pathlib import Path

from runners.report import provenance, sections
from runners.report.facts import RunFacts
from runners.report.page import write_page

NAME = "report.html"


def write_report(directory: Path) -> Path:
    """Writes the report of a run, however far it came.

    Args:
        directory: `runs/<id>`, with its `run.json`.

    Returns:
        The page.
    """
    facts = RunFacts(directory)
    shown = (
        sections.heading,
        sections.tiles,
        sections.metrics,
        sections.gate,
        sections.samples,
        sections.curves,
        sections.slices,
        sections.data,
        provenance.steps,
        provenance.lineage,
        provenance.files,
        provenance.settings,
    )
    path = directory / NAME
    write_page(path, f"Run {facts.run['id']}", *(section(facts) for section in shown))
    return path
