"""Detects when deliveries have become more expensive: `make bench` fails above a limit.

The measure is the CPU time of a delivery, over all processes and servers, divided by that of a bare signed POST by
pycurl. A ratio, unlike seconds, holds on any machine.
"""

import argparse
import json
import sys
from pathlib import Path

LIMIT = 9.0
"""The ratio was 5.7 to 6.8 on 2026-11-27. The limit is a third more, because a shared machine is noisy."""


def verdict(ratio: float) -> str:
    """What is wrong; empty if the ratio is within its limit."""
    if ratio <= LIMIT:
        return ""
    return f"a delivery costs as much CPU as {ratio:.1f} bare POSTs; the limit is {LIMIT:.0f} (bench/guard.py)"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.guard", description=__doc__.partition("\n")[0])
    parser.add_argument("throughput", type=Path, help="the JSON file that bench.throughput wrote")
    said = verdict(float(json.loads(parser.parse_args().throughput.read_text())["cpu_ratio_to_floor"]))
    print(said or "the CPU per delivery is within its limit")
    return bool(said)


if __name__ == "__main__":
    sys.exit(main())
