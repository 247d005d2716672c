"""Notices when a delivery has become dearer: its CPU, over all processes and servers, in bare signed POSTs by pycurl.

A ratio and not seconds, so that it holds on any machine. `make bench` fails above the limit.
"""

import argparse
import json
import sys
from pathlib import Path

LIMIT = 9.0
"""5.7 to 6.8 were measured on 2026-11-27; this is a third more, for the noise of a shared machine."""


def verdict(ratio: float) -> str:
    """Empty when it is well."""
    if ratio <= LIMIT:
        return ""
    return f"a delivery costs as much CPU as {ratio:.1f} bare POSTs; the limit is {LIMIT:.0f} (bench/guard.py)"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.guard", description=__doc__.partition("\n")[0])
    parser.add_argument("throughput", type=Path, help="what bench.throughput wrote")
    said = verdict(float(json.loads(parser.parse_args().throughput.read_text())["cpu_ratio_to_floor"]))
    print(said or "the CPU per delivery is within its limit")
    return bool(said)


if __name__ == "__main__":
    sys.exit(main())
