"""`runs/index.html`: every run of a root on one page, with links to the reports."""

import datetime
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from components.contract.run_names import RUNS
from foundation import disk
from foundation.process_lock import ProcessLock
from runners.housekeeping.inventory import take_inventory
from runners.housekeeping.listed_runs import ListedRun, listed_runs
from runners.housekeeping.listing import count, perplexities, served_text, span_text, verdict_text
from runners.report.charts import Line, line_chart
from runners.report.html import Markup, join, link, perplexity, section, tag, text
from runners.report.page import write_page

NAME = "index.html"
MOST_CHARTS = 4
ORDERS: tuple[tuple[str, Callable[[ListedRun], object]], ...] = (
    ("newest", lambda run: -(run.started.timestamp() if run.started else 0.0)),
    ("name", lambda run: (run.name is None, run.called.lower())),
    ("status", lambda run: run.status),
    ("perplexity", lambda run: math.inf if run.perplexity_after is None else run.perplexity_after),
    ("verdict", lambda run: {True: 0, False: 1, None: 2}[run.blessed]),
    ("duration", lambda run: -(run.seconds or 0.0)),
    ("configuration", lambda run: run.configuration or "\uffff"),
)
"""What the runs may be sorted by, and the key of each; what comes first is what most people look for."""
STYLE = """
.charts figure{max-width:34rem}
.runs input{position:absolute;opacity:0}
.orders{display:flex;flex-wrap:wrap;gap:.4rem;margin:.4rem 0;align-items:center}
.orders label{border:1px solid var(--edge);border-radius:1rem;padding:.1rem .7rem;cursor:pointer;font-size:.85rem}
.runs ol{list-style:none;margin:.4rem 0;padding:0;display:flex;flex-direction:column}
.runs li{border-bottom:1px solid var(--edge);padding:.5rem 0;display:grid;gap:.1rem 1rem;font-size:.9rem;
grid-template-columns:minmax(11rem,2.4fr) 6.5rem minmax(9rem,1.3fr) 6.5rem 4.5rem minmax(8rem,1.4fr)}
.runs li>*{min-width:0}
.runs li .about{display:block;color:var(--soft);font-size:.82rem}
.runs .heads{color:var(--soft);font-weight:600}
.runs [data-label]{font-variant-numeric:tabular-nums}
@media(max-width:52rem){.runs .heads{display:none}.runs li{grid-template-columns:1fr 1fr;padding:.8rem 0}
.runs li>:first-child{grid-column:1/-1}
.runs [data-label]::before{content:attr(data-label);display:block;color:var(--soft);font-size:.78rem}}
"""


def write_index(root: Path) -> Path:
    """Writes the page of all runs, complete or not at all. Runs that end at once write it one after the other.

    Args:
        root: The pipeline root.

    Raises:
        OSError: If it can't be written.
    """
    path = root / RUNS / NAME
    disk.make_directory(path.parent)
    with ProcessLock(path.with_name(f".{NAME}.lock"), "index"):
        runs = listed_runs(take_inventory(root))
        partial = path.with_name(f".{NAME}.partial")
        _write(runs, partial)
        os.replace(partial, path)
    return path


def _write(runs: Sequence[ListedRun], path: Path) -> None:
    running = sum(run.status == "running" for run in runs)
    more = f", {running:,} of them running" if running else ""
    written = datetime.datetime.now(datetime.UTC)
    write_page(
        path,
        "Runs",
        tag("style", Markup(STYLE + _order_style())),
        tag("h1", "Runs"),
        tag("p", f"{count(len(runs), 'run')}{more}. Written {written:%Y-%m-%d %H:%M} UTC.", class_="soft"),
        section("Perplexity from run to run", *_charts(runs)),
        section("All runs", _list(runs, path)) if runs else "",
    )


def _order_style() -> str:
    """The rules that put the runs into the chosen order: a page that may run no script is sorted by its style sheet."""
    rules = [
        f"#by-{name}:checked~.orders [for=by-{name}]{{background:var(--sheet);border-color:var(--c0);font-weight:600}}"
        f"#by-{name}:focus-visible~.orders [for=by-{name}]{{outline:2px solid var(--c0)}}"
        f"#by-{name}:checked~ol li{{order:var(--{name})}}"
        for name, _ in ORDERS
    ]
    rules.append(
        "#reversed:checked~ol{flex-direction:column-reverse}"
        "#reversed:checked~.orders [for=reversed]{background:var(--sheet);border-color:var(--c0);font-weight:600}"
        "#reversed:focus-visible~.orders [for=reversed]{outline:2px solid var(--c0)}"
    )
    return "\n".join(rules)


def _list(runs: Sequence[ListedRun], page: Path) -> Markup:
    """The runs, the newest first, under buttons that sort them."""
    places: list[dict[str, int]] = [{} for _ in runs]
    for name, key in ORDERS:
        ordered = sorted(range(len(runs)), key=lambda place, key=key: key(runs[place]))  # type: ignore[misc]
        for order, place in enumerate(ordered):
            places[place][name] = order
    buttons: list[Markup] = []
    for place, (name, _) in enumerate(ORDERS):
        checked = {"checked": ""} if place == 0 else {}
        buttons.append(tag("input", "", type="radio", name_="order", id=f"by-{name}", **checked))
    buttons.append(tag("input", "", type="checkbox", id="reversed"))
    labels = [tag("label", name, for_=f"by-{name}") for name, _ in ORDERS]
    orders = tag("div", join(["Sort by ", *labels, tag("label", "reversed", for_="reversed")]), class_="orders")
    heads = ("run", "status", "perplexity", "verdict", "time", "served")
    head = tag("ol", tag("li", join(tag("span", each) for each in heads), class_="heads"), aria_hidden="true")
    rows = [_row(run, place, page) for run, place in zip(runs, places, strict=True)]
    # An input is a void element, which has no end.
    inputs = Markup(join(buttons).replace("</input>", ""))
    return tag("div", join([inputs, orders, head, tag("ol", join(rows))]), class_="runs")


def _row(run: ListedRun, places: dict[str, int], page: Path) -> Markup:
    report = run.directory / "report.html"
    about = [
        run.id if run.name else "",
        run.configuration or "",
        f"{run.started:%Y-%m-%d %H:%M}" if run.started else "",
    ]
    first = [
        link(report, page, run.called),
        tag("span", " · ".join(each for each in about if each), class_="about"),
    ]
    said = run.damage or run.error
    if said:
        first.append(tag("span", said if len(said) <= 200 else f"{said[:199]}…", class_="about bad"))
    if run.verdict and not run.blessed:
        first.append(tag("span", run.verdict, class_="about"))
    good = {"succeeded": "good", "running": ""}.get(run.status, "bad")
    blessed = {True: "good", False: "bad", None: ""}[run.blessed]
    cells = [
        tag("div", join(first)),
        tag("span", run.status, class_=good, data_label="status"),
        tag("span", perplexities(run), data_label="perplexity"),
        tag("span", verdict_text(run), class_=blessed, data_label="verdict"),
        tag(
            "span",
            "–" if run.seconds is None else span_text(datetime.timedelta(seconds=run.seconds)),
            data_label="time",
        ),
        tag("span", served_text(run) or "–", data_label="served"),
    ]
    style = ";".join(f"--{name}:{place}" for name, place in places.items())
    return tag("li", join(cells), style=style)


def _charts(runs: Sequence[ListedRun]) -> list[Markup]:
    """A chart for each set of runs whose perplexities are comparable, the largest sets first."""
    groups: dict[str, list[ListedRun]] = {}
    for run in reversed(runs):
        if run.questions and run.perplexity_after is not None and run.started is not None:
            groups.setdefault(run.questions, []).append(run)
    sets = sorted((each for each in groups.values() if len(each) > 1), key=len, reverse=True)
    charts = []
    for group in sets[:MOST_CHARTS]:
        numbered = list(enumerate(group, start=1))
        charts.append(
            line_chart(
                f"{len(group):,} runs asked the same, {_days(group)}",
                [
                    Line("before training", [(place, run.perplexity_before) for place, run in numbered]),
                    Line("after training", [(place, run.perplexity_after) for place, run in numbered]),
                ],
                x_label="run, the oldest first",
                logarithmic=True,
                shown=perplexity,
            )
        )
    if not charts:
        return []
    note = "Each chart has the runs that were asked about the same masks of the same tokens; others can't be compared."
    return [tag("p", text(note), class_="soft"), tag("div", join(charts), class_="charts")]


def _days(group: Sequence[ListedRun]) -> str:
    """When the first and the last of some runs began."""
    first, last = (f"{run.started:%Y-%m-%d}" if run.started else "" for run in (group[0], group[-1]))
    return first if first == last else f"{first} to {last}"
