"""Results as people read them: lines and tables in the terminal."""

from collections.abc import Mapping
from typing import Any


def line(measured: Mapping[str, Any]) -> str:
    """One scenario in one line."""
    latency = measured["latency_half_load"]
    split = ", ".join(f"{name} {used:.3f}" for name, used in measured["cpu_split"].items())
    return (
        f"{measured['scenario']}: {measured['deliveries_per_s']:,.0f} deliveries/s, "
        f"{measured['cpu_s_per_1000']:.3f} CPU s per 1,000 ({split}), {measured['peak_rss_mb']:.0f} MB; "
        f"half load p50 {latency.get('p50_ms')} p99 {latency.get('p99_ms')} ms"
    )
