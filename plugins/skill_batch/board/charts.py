"""Small SVG charts, rendered on the server, so that the pages need no script.

Colours come from the style sheet and its themes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from html import escape

# The style sheet has the same height, so that the axis labels match the lines.
_WIDTH, _HEIGHT, _TOP, _BOTTOM = 640, 140, 12, 20
_MOST_STEPS = 5


@dataclass(frozen=True)
class Series:
    """The points of a chart: a label (day, run) and a value each, oldest first; None is a gap.

    ``limit`` is drawn as a line, for example a quota. ``marked`` are the indexes of highlighted points, for example failed runs.
    ``unit`` follows the values. ``pages``: the address that each point opens; empty: no links.
    """

    title: str
    points: Sequence[tuple[str, float | None]]
    unit: str = ""
    limit: float | None = None
    marked: frozenset[int] = frozenset()
    pages: Sequence[str] = ()
    most_title: str = "最大"

    @property
    def newest(self) -> float | None:
        """The last value; None without one."""
        return next((value for _, value in reversed(self.points) if value is not None), None)

    @property
    def used_percent(self) -> float | None:
        """The last value in percent of the limit; None if either is missing."""
        return 100 * self.newest / self.limit if self.newest is not None and self.limit else None


def translated(series: Series, translate: Callable[[str], str]) -> Series:
    """The series with its texts in the reader's language."""
    title, unit, most_title = map(translate, (series.title, series.unit, series.most_title))
    return replace(series, title=title, unit=unit, most_title=most_title)


def line_chart(series: Series) -> str:
    """A line chart. A gap interrupts the line."""
    x, y = _scales(series)
    segments: list[list[str]] = [[]]
    for index, (_, value) in enumerate(series.points):
        if value is None:
            segments.append([])
        else:
            segments[-1].append(f"{x(index):.1f},{y(value):.1f}")
    lines = "".join(f'<polyline points="{" ".join(segment)}"/>' for segment in segments if len(segment) > 1)
    dots = "".join(
        _linked(
            series,
            index,
            f'<circle class="{"marked" if index in series.marked else "dot"}" cx="{x(index):.1f}" cy="{y(value):.1f}" r="3">'
            f"<title>{escape(label)}: {_shown(value, series.unit)}</title></circle>",
        )
        for index, (label, value) in enumerate(series.points)
        if value is not None
    )
    return _frame(series, f"{lines}{dots}")


def _linked(series: Series, index: int, drawn: str) -> str:
    if not series.pages or not series.pages[index]:
        return drawn
    return f'<a href="{escape(series.pages[index])}" tabindex="-1">{drawn}</a>'


def bar_chart(series: Series) -> str:
    """A bar chart."""
    x, y = _scales(series)
    width = max(1.0, _WIDTH / max(len(series.points), 1) * 0.7)
    bars = "".join(
        f'<rect class="{"marked" if index in series.marked else "bar"}" x="{x(index) - width / 2:.1f}" y="{y(value):.1f}" '
        f'width="{width:.1f}" height="{max(_HEIGHT - _BOTTOM - y(value), 1):.1f}">'
        f"<title>{escape(label)}: {_shown(value, series.unit)}</title></rect>"
        for index, (label, value) in enumerate(series.points)
        if value is not None
    )
    return _frame(series, bars)


def _steps(series: Series) -> list[float]:
    """The axis values: 0 and up to five round steps that cover all values."""
    values = [value for _, value in series.points if value is not None]
    most = max([*values, series.limit or 0, 0]) or 1
    power = 10 ** math.floor(math.log10(most))
    # A count has no fractions.
    least = 1 if all(float(value).is_integer() for value in values) else 0
    sizes = (power / 5, power / 2, power, 2 * power, 5 * power)
    step = next(step for step in sizes if most / step <= _MOST_STEPS and step >= least)
    return [step * number for number in range(math.ceil(most / step - 1e-9) + 1)]


def _scales(series: Series):  # type: ignore[no-untyped-def]  # two short functions
    most = _steps(series)[-1]
    step = _WIDTH / max(len(series.points), 1)
    return (
        lambda index: step * (index + 0.5),
        lambda value: _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - value / most),
    )


def _frame(series: Series, content: str) -> str:
    _, y = _scales(series)
    values = [value for _, value in series.points if value is not None]
    if not values:
        return f'<figure class="chart"><figcaption>{escape(series.title)}</figcaption><p class="muted">—</p></figure>'
    limit = ""
    if series.limit is not None:
        limit = f'<line class="limit" x1="0" x2="{_WIDTH}" y1="{y(series.limit):.1f}" y2="{y(series.limit):.1f}"/>'
    # Shows only the day, so that three labels fit below a narrow chart.
    labels = [
        series.points[index][0].split()[0]
        for index in sorted({0, len(series.points) // 2, len(series.points) - 1})
    ]
    texts = [(y(value), _shown(value, "")) for value in _steps(series)]
    width = 7 * max(len(text) for _, text in texts) + 8
    ticks = "".join(f'<text x="{width - 6}" y="{at + 4:.1f}">{text}</text>' for at, text in texts)
    grid = "".join(
        f'<line class="step" x1="0" x2="{_WIDTH}" y1="{at:.1f}" y2="{at:.1f}"/>' for at, _ in texts[1:]
    )
    role = "group" if any(series.pages) else "img"
    return (
        f'<figure class="chart"><figcaption>{escape(series.title)} <span class="muted">'
        f"{_shown(values[-1], series.unit)} / {escape(series.most_title)} {_shown(max(values), series.unit)}</span></figcaption>"
        f'<div class="plot"><svg class="ticks" width="{width}" height="{_HEIGHT}" aria-hidden="true">{ticks}</svg>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="{role}" aria-label="{escape(series.title)}" preserveAspectRatio="none">'
        f'{grid}{limit}{content}<line class="axis" x1="0" x2="{_WIDTH}" y1="{_HEIGHT - _BOTTOM}" y2="{_HEIGHT - _BOTTOM}"/></svg></div>'
        f'<p class="range">{"".join(f"<span>{escape(label)}</span>" for label in labels)}</p></figure>'
    )


def _shown(value: float, unit: str) -> str:
    text = f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 100 else f"{value:,.2f}"
    return escape(f"{text} {unit}".strip())
