"""What made a run, and what it made: origin, steps, lineage from the push back to the source, files, settings."""

from collections.abc import Mapping
from typing import Any

import yaml

from components.contract import manifest
from runners.report.facts import RunFacts
from runners.report.html import Markup, duration, join, link, section, table, tag

MOST_FILES = 200


def origin(facts: RunFacts) -> Markup:
    """What ran where: configuration, command, code, device and precision."""
    run = facts.run
    rows: list[tuple[str, object]] = []
    if run["configuration"]:
        rows.append(("configuration", tag("code", run["configuration"])))
    if run["command"]:
        rows.append(("command", tag("code", run["command"])))
    if run["code"]:
        rows.append(("code", code_in_words(run["code"])))
    if facts.checkpoint is not None:
        report = facts.checkpoint.report
        hardware, execution = report.hardware, report.execution
        device = ", ".join(hardware.gpus) or f"{hardware.cpu_cores or '?'} CPU cores"
        if len(execution.devices) > 1:
            device += f" ({len(execution.devices)} devices at once)"
        rows.append(("trained on", device))
        rows.append(("precision", execution.precision + (", compiled by XLA" if execution.jit_compile else "")))
    pairs = join(join([tag("dt", name), tag("dd", value)]) for name, value in rows)
    return tag("dl", pairs, class_="origin") if rows else Markup("")


def code_in_words(code: Mapping[str, Any]) -> str:
    """The program's version and commit."""
    version = f"version {code['version']}" if code.get("version") else "not installed as a package"
    if not code.get("commit"):
        return version
    changes = ", with changes that are in no commit" if code.get("changed") else ""
    return f"commit {code['commit'][:12]}{changes} ({version})"


def steps(facts: RunFacts) -> Markup:
    """What ran, what was cached, and how long each took."""
    page = facts.directory / "report.html"
    rows = []
    for step in facts.steps:
        directory = facts.artifact(step["name"])
        name = step["name"] if directory is None else link(directory, page, step["name"])
        rows.append([name, step["status"], duration(step["seconds"]), step["summary"]])
    total = sum(step["seconds"] for step in facts.steps)
    ran = sum(step["status"] == "ran" for step in facts.steps)
    note = f"{duration(total)} in all; "
    note += (
        "every step ran."
        if ran == len(rows)
        else f"{ran} of {len(rows)} steps ran, the others were cached or not finished."
    )
    return (
        section("Steps", tag("p", note, class_="soft"), table(["step", "status", "time", "what came out"], rows))
        if rows
        else Markup("")
    )


def lineage(facts: RunFacts) -> Markup:
    """From what was pushed back to the source, each by digest."""
    rows: list[list[Any]] = []
    pushed = facts.pushed.report if facts.pushed else None
    if pushed and not pushed.dry_run:
        if pushed.hub:
            rows.append(["on the Hub", f"{pushed.hub.repo_id} at commit {pushed.hub.commit}", "push"])
        rows.append(["in the serving directory", f"version {pushed.version} of {pushed.model_name}", "push"])
    digests: dict[str, str] = {}
    known = [(step["name"], facts.artifact(step["name"])) for step in facts.steps]
    manifests = {name: manifest.read(directory) for name, directory in known if directory is not None}
    for name, content in manifests.items():
        digests[content["digest"]] = name
    for name, content in reversed(manifests.items()):
        inputs = [digests.get(digest, digest[:16]) for digest in content.get("inputs", {}).values()]
        what = Markup(
            join(
                [
                    tag("code", content["digest"][:16]),
                    f" ({content['type']}, {content['created'][:16].replace('T', ' ')} UTC)",
                ]
            )
        )
        rows.append([name, what, ", ".join(inputs) or "the source"])
        for source, digest in content.get("sources", {}).items():
            rows.append([f"source of {name}: {source}", tag("code", str(digest)[:64]), ""])
    if facts.corpus:
        source = facts.corpus.report.source
        plain = (f"{key} {value}" for key, value in source.items() if not isinstance(value, (dict, list)))
        rows.append(["the source", ", ".join(plain), ""])
    note = "Top to bottom, from what was pushed to what it was made of. Equal digests mean equal files."
    return (
        section("Lineage", tag("p", note, class_="soft"), table(["step or source", "what", "made from"], rows))
        if rows
        else Markup("")
    )


def files(facts: RunFacts) -> Markup:
    """Links to the files of the run's artifacts."""
    page = facts.directory / "report.html"
    parts = []
    for step in facts.steps:
        directory = facts.artifact(step["name"])
        if directory is None:
            continue
        paths = manifest.files_below(directory)
        items = [tag("li", link(path, page, path.relative_to(directory).as_posix())) for path in paths[:MOST_FILES]]
        if len(paths) > MOST_FILES:
            items.append(tag("li", f"and {len(paths) - MOST_FILES:,} more"))
        count = "1 file" if len(paths) == 1 else f"{len(paths):,} files"
        summary = tag("summary", f"{step['name']}: {count}")
        parts.append(tag("details", join([summary, tag("ul", join(items))])))
    own = [path for name in ("run.json", "traceback.txt") if (path := facts.directory / name).is_file()]
    parts.append(tag("p", join(["Of the run: ", join((link(path, page) for path in own), ", ")])))
    return section("Files", *parts)


def settings(facts: RunFacts) -> Markup:
    """The configuration and the libraries' versions."""
    config = yaml.safe_dump(facts.run["config"], sort_keys=False, allow_unicode=True)
    versions = "\n".join(f"{name} {version}" for name, version in facts.run["library_versions"].items())
    shown = [("Configuration", config), ("Library versions", versions)]
    return section(
        "Settings", *(tag("details", join([tag("summary", name), tag("pre", body)])) for name, body in shown)
    )
