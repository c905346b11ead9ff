"""Small pieces of HTML: text is escaped here and nowhere else."""

import html
import math
import os
import re
import urllib.parse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from foundation.perplexity import perplexity_text


class Markup(str):
    """Text that is HTML already."""


def text(value: object) -> Markup:
    """A value as HTML: escaped, unless it is `Markup`."""
    return value if isinstance(value, Markup) else Markup(html.escape(str(value)))


def tag(name: str, content: object = "", **attributes: object) -> Markup:
    """An element. An attribute's underscores are hyphens, and one at its end is dropped (`class_`)."""
    pairs = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"' for key, value in attributes.items()
    )
    return Markup(f"<{name}{pairs}>{text(content)}</{name}>")


def join(parts: Iterable[object], between: str = "") -> Markup:
    """Pieces one after the other."""
    return Markup(between.join(text(part) for part in parts))


def table(header: Sequence[object], rows: Iterable[Sequence[object]], caption: str = "", whole: int = 0) -> Markup:
    """A table in a box that scrolls sideways by itself where the screen is narrow. Numbers stand to the right.

    Args:
        header: What each column is called.
        rows: The cells, a sequence a row.
        caption: A line above it.
        whole: For a table that is too wide for a phone: there each row is a block, whose cells stand in pairs below
            their columns' names, and so many first cells have a line of their own. 0 keeps it a table.
    """
    rows = list(rows)
    numeric = [all(_is_figure(row[column]) for row in rows) for column in range(len(header))]
    head = join(
        tag("th", cell, scope="col", **({"class_": "n"} if numeric[place] and place else {}))
        for place, cell in enumerate(header)
    )
    body = join(
        tag(
            "tr",
            join(
                tag(
                    "td" if place else "th",
                    cell,
                    **({} if place else {"scope": "row"}),
                    **_classes(numeric[place] and place > 0, place < whole),
                    **({"data_label": header[place]} if whole else {}),
                )
                for place, cell in enumerate(row)
            ),
        )
        for row in rows
    )
    top = tag("caption", caption) if caption else ""
    content = tag(
        "table", join([top, tag("thead", tag("tr", head)), tag("tbody", body)]), **({"class_": "rows"} if whole else {})
    )
    return tag("div", content, class_="scroll", tabindex="0")  # so that the keyboard scrolls it too


def _classes(number: bool, whole: bool) -> dict[str, str]:
    names = ["n"] * number + ["whole"] * whole
    return {"class_": " ".join(names)} if names else {}


def _is_figure(cell: object) -> bool:
    text = str(cell)
    return text in ("", "–") or text.lstrip("−-+")[:1].isdigit()


def section(title: str, *content: object) -> Markup:
    """A part of the page under a heading that links can name; nothing where there is no content."""
    parts = [part for part in content if part]
    return tag("section", join([tag("h2", title, id=anchor(title)), *parts])) if parts else Markup("")


def anchor(title: str) -> str:
    """The name by which a link on the page finds a section."""
    return "-".join(title.lower().split())


def contents(sections: Iterable[Markup]) -> Markup:
    """Links to those of the sections that there are."""
    found = [re.match(r'<section><h2 id="([^"]+)">(.*?)</h2>', part) for part in sections]
    links = (tag("li", Markup(f'<a href="#{each[1]}">{each[2]}</a>')) for each in found if each)
    return tag("nav", tag("ul", join(links), class_="contents"), aria_label="Sections")


def link(path: Path, page: Path, shown: object = None) -> Markup:
    """A link from a page to a file beside it, as a relative path; plain text where the file is gone."""
    label = path.name if shown is None else shown
    if not path.exists():
        return text(label)
    return tag("a", label, href=urllib.parse.quote(os.path.relpath(path, page.parent)))


def number(value: object) -> str:
    """A number as people read it; a dash for none."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if abs(value) >= 99.95:
            return f"{value:,.1f}" if abs(value) < 1000 else f"{value:,.0f}"
        # Zeros at the end tell how exact a number is, and keep columns in line.
        return f"{value:#.4g}" if abs(value) >= 0.001 else f"{value:.2g}"
    return str(value)


def perplexity(value: object) -> str:
    """A perplexity as people read it; a dash for none."""
    return perplexity_text(value) if isinstance(value, int | float) else "–"


def percentage(value: object) -> str:
    """A share as people read it; a dash for none."""
    if not isinstance(value, float) or not math.isfinite(value):
        return "–"
    return f"{value:.1%}" if value == 0 or abs(value) >= 0.01 else f"{value:.2%}"


def with_interval(value: object, interval: Sequence[float] | None, shown: Callable[[object], str] = number) -> Markup:
    """A number and, smaller, its interval."""
    if interval is None or value is None:
        return text(shown(value))
    small = tag("small", f"{shown(interval[0])} – {shown(interval[1])}", class_="interval")
    return Markup(f"{text(shown(value))} {small}")


def moments(start: str, end: str | None) -> str:
    """When something began and ended, of two moments in ISO 8601 and UTC."""
    began, ended = start[:16].replace("T", " "), "–" if end is None else end[:16].replace("T", " ")
    if end is not None and began[:10] == ended[:10]:
        ended = ended[11:]
    return f"{began} to {ended} UTC"


def duration(seconds: float) -> str:
    """A time as people read it."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
