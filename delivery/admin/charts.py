"""Charts of counts and latencies over time, as inline SVG: no scripts, no downloads, light and dark by CSS.

Pure. Each time step has a title with its values, which browsers show as a tooltip.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

WIDTH, HEIGHT = 640, 190
_LEFT, _BOTTOM, _TOP = 46, 22, 8
_PLOT_WIDTH, _PLOT_HEIGHT = WIDTH - _LEFT - 4, HEIGHT - _BOTTOM - _TOP
_LABELS = 6


@dataclass(frozen=True, slots=True)
class Series:
    """`kind` is a CSS class: success, danger, p50, p95, p99. None is a gap."""

    name: str
    kind: str
    values: Sequence[float | None]


def stacked_bars(times: Sequence[datetime], series: Sequence[Series]) -> SafeString:
    """Stacks the series, the first one at the bottom."""
    totals = [sum(one.values[step] or 0 for one in series) for step in range(len(times))]
    scale = _Scale(max(totals, default=0))
    width = _step_width(times)
    bars = []
    for step in range(len(times)):
        floor = 0.0
        for one in series:
            value = one.values[step] or 0
            top, height = scale.y(floor + value), scale.height(value)
            bars.append((one.kind, _x(step, width) + width * 0.1, top, width * 0.8, height))
            floor += value
    drawn = format_html_join(
        "",
        '<rect class="rh-{}" x="{}" y="{}" width="{}" height="{}"/>',
        ((kind, *map(_short, place)) for kind, *place in bars if place[3] > 0),
    )
    return _svg(times, series, scale, drawn, unit="")


def lines(times: Sequence[datetime], series: Sequence[Series], unit: str = "") -> SafeString:
    scale = _Scale(max((value for one in series for value in one.values if value is not None), default=0))
    width = _step_width(times)
    drawn = format_html_join(
        "",
        '<path class="rh-line-{}" d="{}"/>',
        ((one.kind, _path(one.values, width, scale)) for one in series),
    )
    return _svg(times, series, scale, drawn, unit)


@dataclass(frozen=True, slots=True)
class _Scale:
    largest: float

    @property
    def top(self) -> float:
        """The smallest round number that no value exceeds."""
        if self.largest <= 0:
            return 1
        power: float = 10 ** (len(str(int(self.largest))) - 1) if self.largest >= 1 else 0.1
        return next(power * step for step in (1, 2, 2.5, 5, 10) if power * step >= self.largest)

    def y(self, value: float) -> float:
        return _TOP + _PLOT_HEIGHT * (1 - value / self.top)

    def height(self, value: float) -> float:
        return _PLOT_HEIGHT * value / self.top


def _svg(
    times: Sequence[datetime], series: Sequence[Series], scale: _Scale, drawn: SafeString, unit: str
) -> SafeString:
    return format_html(
        '<svg class="rh-chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}{}{}</svg>',
        WIDTH,
        HEIGHT,
        ", ".join(one.name for one in series),
        _grid(scale, unit),
        drawn,
        _time_labels(times),
        _titles(times, series, unit),
    )


def _grid(scale: _Scale, unit: str) -> SafeString:
    parts = ((_short(scale.y(scale.top * part)), _amount(scale.top * part, unit)) for part in (0, 0.5, 1))
    return format_html_join(
        "",
        '<line class="rh-grid" x1="{}" x2="{}" y1="{}" y2="{}"/><text class="rh-tick" x="{}" y="{}">{}</text>',
        ((_LEFT, WIDTH, y, y, _LEFT - 6, y, text) for y, text in parts),
    )


def _time_labels(times: Sequence[datetime]) -> SafeString:
    width = _step_width(times)
    every = max(1, -(-len(times) // _LABELS))
    form = "%m-%d" if times and times[-1] - times[0] > timedelta(days=2) else "%H:%M"
    return format_html_join(
        "",
        '<text class="rh-time" x="{}" y="{}">{}</text>',
        ((_short(_x(step, width)), HEIGHT - 6, f"{times[step]:{form}}") for step in range(0, len(times), every)),
    )


def _titles(times: Sequence[datetime], series: Sequence[Series], unit: str) -> SafeString:
    width = _step_width(times)
    return format_html_join(
        "",
        '<rect class="rh-hover" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>',
        (
            (_short(_x(step, width)), _TOP, _short(width), _PLOT_HEIGHT, _title(moment, step, series, unit))
            for step, moment in enumerate(times)
        ),
    )


def _title(moment: datetime, step: int, series: Sequence[Series], unit: str) -> str:
    values = ((one.name, one.values[step]) for one in series)
    texts = (f"{name}: {'-' if value is None else _amount(value, unit)}" for name, value in values)
    return "\n".join([f"{moment:%Y-%m-%d %H:%M}", *texts])


def _path(values: Sequence[float | None], width: float, scale: _Scale) -> str:
    """A line through the middle of each step, interrupted at gaps."""
    parts, drawing = [], False
    for step, value in enumerate(values):
        if value is None:
            drawing = False
            continue
        x, y = _short(_x(step, width) + width / 2), _short(scale.y(value))
        parts.append(f"{'L' if drawing else 'M'}{x} {y}" + ("" if drawing else "h0.01"))
        drawing = True
    return "".join(parts)


def _step_width(times: Sequence[datetime]) -> float:
    return _PLOT_WIDTH / max(len(times), 1)


def _x(step: int, width: float) -> float:
    return _LEFT + step * width


def _short(number: float) -> str:
    return f"{number:.1f}"


def _amount(value: float, unit: str) -> str:
    if unit == "ms" and value >= 1000:
        return f"{value / 1000:g} s"
    if not unit and value >= 1000:
        return f"{value / 1000:g}k" if value < 1_000_000 else f"{value / 1_000_000:g}M"
    return f"{value:.3g}{' ' + unit if unit else ''}"
