"""Line charts as inline SVG, whose colors come from the page's style sheet."""

import dataclasses
import math
from collections.abc import Callable, Sequence

from runners.report.html import Markup, join, number, table, tag

WIDTH, HEIGHT = 440, 264
LEFT, RIGHT, TOP, BOTTOM = 56, 14, 28, 34
MOST_DOTS = 40
"""A curve with more points is drawn as a line alone."""
MOST_PLACES = 60
"""Where a chart says its values, and the rows of their table."""
SMALLEST = 1e-100
"""Nearer to 0 than this counts as 0: floating-point numbers can't divide a smaller range into ticks."""


@dataclasses.dataclass(frozen=True)
class Line:
    """A curve.

    Attributes:
        name: For the legend.
        points: x and y; a y of None is left out.
    """

    name: str
    points: Sequence[tuple[float, float | None]]


@dataclasses.dataclass(frozen=True)
class Level:
    """A horizontal line for comparison.

    Attributes:
        name: For the legend.
        value: Its height.
        style: The number of its color in the style sheet.
    """

    name: str
    value: float
    style: int = 0


@dataclasses.dataclass(frozen=True)
class Place:
    """Where values are in a chart.

    Attributes:
        across_range: The values at the left and at the right edge.
        down_range: The values at the bottom and at the top.
        logarithmic: Whether heights are.
    """

    across_range: tuple[float, float]
    down_range: tuple[float, float]
    logarithmic: bool = False

    def across(self, x: float) -> float:
        """How far to the right a value is."""
        low, high = self.across_range
        return LEFT + (x - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def down(self, y: float) -> float:
        """How far down a value is."""
        low, high = self.down_range
        if self.logarithmic:
            share = (math.log(y) - math.log(low)) / (math.log(high) - math.log(low))
        else:
            share = (y - low) / (high - low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def line_chart(
    title: str,
    lines: Sequence[Line],
    levels: Sequence[Level] = (),
    *,
    x_label: str = "epoch",
    logarithmic: bool | None = False,
    from_zero: bool = False,
    shown: Callable[[object], str] = number,
) -> Markup:
    """A figure with curves and levels, and below it their values as a table; nothing where no curve has a point.

    The values at a place show while the mouse is over it, or after a tap. The table is for the keyboard, for screen
    readers and for copying.

    Args:
        title: Above it.
        lines: Each in a color of its own.
        levels: Dashed, from side to side.
        x_label: What stands below.
        logarithmic: Whether heights are; None where the values' spread decides.
        from_zero: Whether the lowest height is 0, so that small changes look small.
        shown: How a height is written.
    """
    if logarithmic is None:
        logarithmic = is_wide([y for line in lines for _, y in line.points])
        title += " (logarithmic)" if logarithmic else ""
    drawn = [Line(line.name, [(x, y) for x, y in line.points if usable(y, logarithmic)]) for line in lines]
    drawn = [line for line in drawn if line.points]
    if not drawn:
        return Markup("")
    levels = [level for level in levels if usable(level.value, logarithmic)]
    xs = sorted({x for line in drawn for x, _ in line.points})
    ys = [float(y) for line in drawn for _, y in line.points if y is not None] + [level.value for level in levels]
    lowest = min(0.0, *ys) if from_zero else min(ys)
    ticks = log_ticks(lowest, max(ys)) if logarithmic else linear_ticks(lowest, max(ys))
    place = Place(
        (xs[0], xs[-1]) if len(xs) > 1 else (xs[0] - 1, xs[0] + 1),
        (min(*ticks, *ys), max(*ticks, *ys)),
        logarithmic,
    )
    parts = [*grid(place, ticks, x_ticks(xs[0], xs[-1])), x_title(x_label)]
    for level in levels:
        y = f"{place.down(level.value):.1f}"
        line = tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_=f"level l{level.style}")
        parts.append(tag("g", join([tag("title", f"{level.name}: {shown(level.value)}"), line])))
    for color, curve in enumerate(drawn):
        coordinates = [(place.across(x), place.down(float(y))) for x, y in curve.points if y is not None]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in coordinates)
        parts.append(tag("polyline", points=path, class_=f"line c{color}"))
        if len(coordinates) <= MOST_DOTS:
            parts += [tag("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=3, class_=f"dot c{color}") for x, y in coordinates]
    kept = evenly(xs, MOST_PLACES)
    values = [dict(line.points) for line in drawn]
    for position, x in enumerate(kept):
        left, right = (
            place.across((x + kept[at]) / 2) if 0 <= at < len(kept) else edge
            for at, edge in ((position - 1, LEFT), (position + 1, WIDTH - RIGHT))
        )
        there = [(line.name, each[x]) for line, each in zip(drawn, values, strict=True) if x in each]
        said = f"{x_label} {number(int(x) if x == int(x) else x)}"
        said += "".join(f" · {name} {shown(y)}" for name, y in there)
        parts.append(spot(left, right, place.across(x), said))
    said = "; ".join(f"{line.name}: {shown(line.points[0][1])} to {shown(line.points[-1][1])}" for line in drawn)
    svg = tag("svg", join(parts), viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=f"{title}. {said}")
    entries = [
        tag("li", join([tag("span", "", class_=f"key c{color}"), f"{line.name}: {shown(line.points[-1][1])}"]))
        for color, line in enumerate(drawn)
    ] + [
        tag("li", join([tag("span", "", class_=f"key level l{level.style}"), f"{level.name}: {shown(level.value)}"]))
        for level in levels
    ]
    rows = [[number(int(x) if x == int(x) else x), *(shown(each.get(x)) for each in values)] for x in kept]
    return figure(
        title, svg, tag("ul", join(entries), class_="legend"), [x_label, *(line.name for line in drawn)], rows
    )


def figure(title: str, svg: Markup, legend: Markup, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Markup:
    """A drawing under its title, with its values in a table that opens."""
    values = tag("details", join([tag("summary", "Values"), table(header, rows)]), class_="values")
    return tag("figure", join([tag("figcaption", title), svg, legend, values]))


def grid(place: Place, ticks: Sequence[float], below: Sequence[float]) -> list[Markup]:
    """The horizontal lines of a chart with their labels, and the labels below it."""
    parts = []
    for tick, label in zip(ticks, tick_labels(ticks), strict=True):
        y = f"{place.down(tick):.1f}"
        parts.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(tag("text", label, x=LEFT - 6, y=y, dy="0.32em", text_anchor="end"))
    for x, label in zip(below, tick_labels(below), strict=True) if len(below) > 1 else [(x, f"{x:,}") for x in below]:
        parts.append(tag("text", label, x=f"{place.across(x):.1f}", y=HEIGHT - BOTTOM + 16, text_anchor="middle"))
    return parts


def x_title(label: str) -> Markup:
    """What the horizontal axis of a chart shows."""
    return tag("text", label, x=(WIDTH + LEFT - RIGHT) / 2, y=HEIGHT - 3, text_anchor="middle")


def spot(left: float, right: float, at: float, said: str) -> Markup:
    """A part of a chart, from side to side, that says what is there while it is pointed at, or after a tap."""
    rect = tag("rect", x=f"{left:.1f}", y=TOP, width=f"{right - left:.1f}", height=HEIGHT - TOP - BOTTOM)
    line = tag("line", x1=f"{at:.1f}", x2=f"{at:.1f}", y1=TOP, y2=HEIGHT - BOTTOM)
    words = tag("text", said, x=WIDTH - RIGHT, y=TOP - 10, text_anchor="end")
    return tag("g", join([tag("title", said), rect, line, words]), class_="spot", tabindex="-1")


def evenly(values: Sequence[float], most: int) -> Sequence[float]:
    """Not more than so many of some values, evenly spaced, the last one among them."""
    step = -(-len(values) // most)
    return values[(len(values) - 1) % step :: step]


def is_wide(values: Sequence[float | None]) -> bool:
    """Whether values are so far apart that the small ones would all lie on the floor of a linear chart."""
    there = [value for value in values if value is not None and math.isfinite(value)]
    return bool(there) and min(there) > SMALLEST and max(there) >= 50 * min(there)


def usable(value: float | None, logarithmic: bool) -> bool:
    """Whether a value has a place in a chart."""
    return value is not None and math.isfinite(value) and (value > SMALLEST or not logarithmic)


def linear_ticks(low: float, high: float) -> list[float]:
    """About five round numbers that enclose a range."""
    if max(abs(low), abs(high)) <= SMALLEST:
        low, high = 0.0, 1.0
    elif high - low <= abs(high) * 1e-9:
        low, high = low - abs(low) * 0.1, high + abs(high) * 0.1
    raw = (high - low) / 4
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first = math.floor(low / step)
    return [place * step for place in range(first, math.ceil(high / step - 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers, 1, 2 or 5 times a power of ten, that enclose a range."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    candidates = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    first = max((place for place, tick in enumerate(candidates) if tick <= low * 1.0000001), default=0)
    last = min(
        (place for place, tick in enumerate(candidates) if tick >= high * 0.9999999), default=len(candidates) - 1
    )
    ticks = candidates[first : last + 1]
    if len(ticks) < 2:
        ticks = [low * 0.9, high * 1.1]
    return ticks if len(ticks) <= 8 else [tick for tick in ticks if f"{tick:.0e}"[0] == "1"]


def x_ticks(low: float, high: float) -> Sequence[float]:
    """At most eight whole numbers in a range, 1, 2 or 5 times a power of ten apart."""
    first, last = math.ceil(low), math.floor(high)
    step = next(
        factor * 10**power for power in range(20) for factor in (1, 2, 5) if (last - first) // (factor * 10**power) < 8
    )
    return range(-(-first // step) * step, last + 1, step)


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """Labels of ticks, each with as many decimals as tell it from its neighbors."""
    return [short(tick, min(abs(tick - other) for other in ticks if other != tick)) for tick in ticks]


def short(value: float, step: float) -> str:
    """A value as a label, where the next one is a step away."""
    if value == 0 or abs(value) < step * 1e-9:
        return "0"
    if step < 0.0001 or abs(value) >= 1e7:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:,.{decimals}f}"
