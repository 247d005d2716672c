"""`make bench`: measures throughput, broker and isolation, then writes tables and a plot and checks the guard's limit.

The other measurements, such as bench.servers and bench.dashboard, are run by themselves.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import guard, report

RESULTS = Path(".data/bench")
PARTS = ("throughput", "broker", "isolation")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the short form of each measurement, within a minute each")
    options = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    code = max(run_part(part, ["--quick"] if options.quick else []) for part in PARTS)
    results = {part: json.loads(result_of(part).read_text()) for part in PARTS if result_of(part).exists()}
    (RESULTS / "tables.md").write_text(report.tables(results))
    print(report.tables(results))
    if "throughput" in results:
        (RESULTS / "throughput.svg").write_text(report.plot(results["throughput"]))
        said = guard.verdict(results["throughput"]["cpu_ratio_to_floor"])
        print(said or "the CPU per delivery is within its limit")
        code = code or int(bool(said))
    print(f"numbers, tables and plot are in {RESULTS}/")
    return code


def result_of(part: str) -> Path:
    return RESULTS / f"{part}.json"


def run_part(part: str, options: Sequence[str]) -> int:
    """Runs one measurement and returns its exit code."""
    print(f"== {part}", flush=True)
    result_of(part).unlink(missing_ok=True)
    command = [sys.executable, "-m", f"bench.{part}", "--json", str(result_of(part)), *options]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
