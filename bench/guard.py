"""Detects when deliveries have become more expensive: `make bench` fails above a limit.

The measure is the CPU time of a delivery, over all processes and servers, divided by that of a bare signed POST by
pycurl. A ratio, unlike seconds, holds on any machine.
"""

LIMIT = 9.0
"""The ratio was 5.7 to 6.8 on 2026-11-27. The limit is a third more, because a shared machine is noisy."""


def verdict(ratio: float) -> str:
    """What is wrong; empty if the ratio is within its limit."""
    if ratio <= LIMIT:
        return ""
    return f"a delivery costs as much CPU as {ratio:.1f} bare POSTs; the limit is {LIMIT:.0f} (bench/guard.py)"
