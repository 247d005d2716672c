"""Formats results: a line during the run, Markdown tables, an SVG plot."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

Result = Mapping[str, Any]

_BAR = 22
_LEFT, _WIDTH, _RIGHT = 380, 480, 110


def line(measured: Result) -> str:
    """One scenario in one line."""
    latency = measured["latency_half_load"]
    split = ", ".join(f"{name} {used:.3f}" for name, used in measured["cpu_split"].items())
    return (
        f"{measured['scenario']}: {measured['deliveries_per_s']:,.0f} deliveries/s, "
        f"{measured['cpu_s_per_1000']:.3f} CPU s per 1,000 ({split}), {measured['peak_rss_mb']:.0f} MB; "
        f"half load p50 {latency['p50_ms']} p99 {latency['p99_ms']} ms"
    )


def tables(results: Mapping[str, Result]) -> str:
    """All results as Markdown tables. `results` is by the names of the parts."""
    parts = []
    if "throughput" in results:
        parts += [_throughput(results["throughput"]), _floor(results["throughput"])]
    if "isolation" in results:
        parts.append(_isolation(results["isolation"]))
    return "\n\n".join(parts) + "\n"


def measured_in(throughput: Result) -> list[Result]:
    """The scenarios, then the peers that were measured."""
    found = [throughput[peer] for peer in ("plain_celery", "django_webhook") if throughput.get(peer)]
    return [*throughput["scenarios"], *found]


def _throughput(throughput: Result) -> str:
    rows = [
        [
            one["scenario"],
            f"{one['deliveries_per_s']:,.0f}",
            f"{one['cpu_s_per_1000']:.2f}",
            ", ".join(f"{name} {used:.2f}" for name, used in one["cpu_split"].items() if used >= 0.005),
            f"{one['peak_rss_mb']:,.0f}",
            *(f"{one['latency_half_load'][f'{which}_ms']:.1f}" for which in ("p50", "p95", "p99")),
        ]
        for one in measured_in(throughput)
    ]
    head = ["scenario", "deliveries/s", "CPU s per 1,000", "of which", "MB", "p50 ms", "p95 ms", "p99 ms"]
    return _table(head, rows)


def _floor(throughput: Result) -> str:
    rates = throughput["floor"]["posts_per_s_core"] | {"our receiver": throughput["receiver"]["posts_per_s_core"]}
    rows = [[name, f"{rate:,.0f}", f"{1000 / rate:.3f}"] for name, rate in rates.items()]
    return _table(["bare client", "POSTs/s and core", "CPU s per 1,000"], rows)


def _isolation(isolation: Result) -> str:
    brokers = ("fair", "stock")
    rows = [
        [
            case,
            *(f"{isolation[broker][case][f'{which}_ms']:,.1f}" for broker in brokers for which in ("p50", "p99")),
            *(f"{isolation[broker][case]['delivered']} of {isolation[broker][case]['expected']}" for broker in brokers),
        ]
        for case in isolation["stock"]
    ]
    head = ["beside", "fair p50 ms", "fair p99 ms", "stock p50 ms", "stock p99 ms", "fair arrived", "stock arrived"]
    return _table(head, rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def plot(throughput: Result) -> str:
    """Deliveries per second as bars, one for each scenario and peer."""
    bars = [(one["scenario"], float(one["deliveries_per_s"])) for one in measured_in(throughput)]
    longest = max(rate for _, rate in bars)
    height = (len(bars) + 1) * _BAR
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + _RIGHT}" height="{height}" '
            'font-family="sans-serif" font-size="13">'
        ),
        f'<text x="{_LEFT}" y="15" font-weight="bold">deliveries per second</text>',
    ]
    for place, (name, rate) in enumerate(bars, start=1):
        top, width = place * _BAR, _WIDTH * rate / longest
        parts += [
            f'<text x="{_LEFT - 8}" y="{top + 15}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{_LEFT}" y="{top + 3}" width="{width:.1f}" height="{_BAR - 6}" fill="#4a7"/>',
            f'<text x="{_LEFT + width + 6:.1f}" y="{top + 15}">{rate:,.0f}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"
