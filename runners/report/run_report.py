"""`runs/<id>/report.html`."""

from pathlib import Path

from runners.report import diagnostics, provenance, sections, training_charts
from runners.report.facts import RunFacts
from runners.report.html import contents
from runners.report.page import write_page

NAME = "report.html"
OPENING = 3
"""What stands before the links to the sections: the heading, the numbers that matter most, and what made the run."""


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
        provenance.origin,
        sections.metrics,
        sections.gate,
        diagnostics.served_forms,
        diagnostics.samples,
        training_charts.curves,
        diagnostics.calibration,
        diagnostics.worst_tokens,
        sections.slices,
        sections.data,
        provenance.steps,
        provenance.lineage,
        provenance.files,
        provenance.settings,
    )
    path = directory / NAME
    content = [section(facts) for section in shown]
    write_page(path, f"Run {facts.called}", *content[:OPENING], contents(content), *content[OPENING:])
    return path
