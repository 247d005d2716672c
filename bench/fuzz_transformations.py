"""Fuzzes filters and transformations: they may raise only the documented errors, within limits of time and memory.

    python -m bench.fuzz_transformations --runs 1000000 --processes 2
    python -m bench.fuzz_transformations --seed 7 --only 123456        # shows and repeats one case

Seed and number alone determine a case. It fails if it raises anything but SpecError or TransformError, makes a body
that is not JSON, changes the event, or takes more than `MAX_SECONDS` of CPU time. Every 50th case is run twice and must
end the same way. A run also fails if the process grows by more than `MAX_GROWTH_MB`.
"""

import argparse
import json
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from partners.budget import MAX_OUTPUT_BYTES
from partners.envelope import Envelope
from partners.errors import JSONError, SpecError, TransformError
from partners.exact_json import Limits, check, dumps
from partners.filters import compile_filter
from partners.transform import compile_transformation

T = TypeVar("T")

MAX_SECONDS = 3.0
MAX_GROWTH_MB = 400
OUTPUT_LIMITS = Limits(MAX_OUTPUT_BYTES, max_depth=120)

NAMES = ["id", "line_items", "sku", "price", "tags", "note", "x-y", "größe", "日本", "_", "a.b", "😀", "$ref", "", "0"]
TEXTS = ["", "199.00", "vip, new", "$.id", "@", "$", "2026-01-02T03:04:05Z", "\0", "it's", '"', "\\", "é" * 9, "1e5"]
NUMBERS = ["0", "-0", "1.10", "1e5", "-2", "9007199254740993", "1" * 40, "1e400", "-1E-400", "0.1", "1700000000"]
STEPS = ["[0]", "[-1]", "[*]", ".*", "..", "..*", "[1:]", "[::-1]", "['id','sku']", "..id", "..[0]"]
OPTIONS: dict[str, Callable[["Case"], Any]] = {
    "$to": lambda case: case.item_template(),
    "$then": lambda case: case.template(1),
    "$else": lambda case: case.template(1),
    "$default": lambda case: case.template(1),
    "$separator": lambda case: case.pick([", ", "-"] * 9 + ["", 5]),
    "$start": lambda case: case.pick([0, 1, -3] * 9 + [10**9, "x"]),
    "$length": lambda case: case.pick([0, 1, 5] * 9 + [-1]),
    "$decimals": lambda case: case.pick([0, 2, 20] * 9 + [99]),
    "$format": lambda case: case.pick(["iso", "unix", "unix_ms", "%Y-%m"] * 9 + ["%Q", "%", ""]),
    "$zone": lambda case: case.pick(["UTC", "+02:00"] * 9 + ["CET", "-99:99"]),
}
PATH_FUNCTIONS = ["$path", "$all", "$if", "$each"]
LIST_FUNCTIONS = ["$coalesce", "$merge", "$concat", "$multiply"]
OTHER_FUNCTIONS = ["$value", "$string", "$lower", "$upper", "$trim", "$count", "$join", "$split"]
OTHER_FUNCTIONS += ["$substring", "$number", "$sum", "$date", "$first", "$last", "$nonsense"]
OWN_OPTIONS = {
    "$each": ["$to"],
    "$if": ["$then", "$else"],
    "$join": ["$separator"],
    "$split": ["$separator"],
    "$substring": ["$start", "$length"],
    "$number": ["$decimals"],
    "$sum": ["$decimals"],
    "$multiply": ["$decimals"],
    "$date": ["$format", "$zone"],
}
GREEDY = [
    {"$each": "$..*", "$to": "$"},
    {"$each": "$..*", "$to": {"$each": "$..*", "$to": {"$each": "$..*", "$to": "@"}}},
    {"$all": "$..*"},
    {"$string": {"$each": "$..*", "$to": {"$each": "$..*", "$to": "@@"}}},
    {"$concat": [{"$concat": [{"$concat": ["$.data.note"] * 30}] * 30}] * 30},
    {"$count": {"$each": "$.data[*]", "$to": {"$all": "$..[?(@..id == $.data)]"}}},
    {"$each": {"$split": {"$string": "$"}, "$separator": ","}, "$to": {"$upper": {"$string": "$"}}},
]


class Case:
    """The three texts of one case, all from one random generator."""

    def __init__(self, seed: int, number: int) -> None:
        self.random = random.Random(f"{seed}/{number}")
        self.items = 0
        hostile = self.chance() < 0.003
        self.greedy = self.chance() < (0.3 if hostile else 0.005)
        self.data = self.hostile_data() if hostile else self.bent(self.json(self.random.randint(0, 5))).encode()
        self.filter = self.bent(self.path())
        self.transformation = self.bent(json.dumps(self.specification(), ensure_ascii=self.chance() < 0.5))

    def pick(self, options: Sequence[T]) -> T:
        return self.random.choice(options)

    def chance(self) -> float:
        return self.random.random()

    def bent(self, text: str) -> str:
        """Sometimes removes, moves or repeats a few characters."""
        while self.chance() < 0.08 and text:
            at, to = sorted(self.random.choices(range(len(text)), k=2))
            more = text[at : at + 3] * 3
            text = self.pick([text[:at] + text[to:], text[:to] + text[at:], text[:at] + more + text[to:]])
        return text

    def json(self, depth: int) -> str:
        kind = self.chance()
        if depth == 0 or kind < 0.3:
            return self.pick([self.pick(NUMBERS), json.dumps(self.pick(TEXTS)), "null", "true", "false"])
        parts = [self.json(depth - 1) for _ in range(self.random.randint(0, 4))]
        if kind < 0.6:
            return f"[{','.join(parts)}]"
        return "{" + ",".join(f"{json.dumps(self.pick(NAMES))}:{part}" for part in parts) + "}"

    def hostile_data(self) -> bytes:
        size = self.random.randint(100, 20_000)
        kinds = [
            "[" * 70 + "]" * 70,
            "[" * 60 + "1" + "]" * 60,
            "[" + ",".join(["[]"] * size) + "]",
            '{"line_items":[' + ",".join(['{"sku":"x","price":"1.00"}'] * (size // 4)) + "]}",
            '{"id":' + "9" * size + "}",
            '{"note":"' + "x" * size + '"}',
            '{"tags":"' + "a, " * size + '"}',
            "{" + ",".join(f'"k{n}":{n}' for n in range(size)) + "}",
            '{"a":' * 50 + '{"id":["' + "y" * size + '"]}' + "}" * 50,
        ]
        return self.pick(kinds).encode()

    def path(self, start: str = "$") -> str:
        return start + "".join(self.step() for _ in range(self.random.randint(0, 4)))

    def step(self) -> str:
        kind = self.random.randint(0, 11)
        if kind < 4:
            return f".{self.pick(NAMES[:10])}"
        if kind < 7:
            return f"[{json.dumps(self.pick(NAMES), ensure_ascii=False)}]"
        return f"[?({self.condition()})]" if kind == 11 else self.pick(STEPS)

    def condition(self) -> str:
        left = self.path(self.pick("@@@@$"))
        if self.chance() < 0.3:
            return self.pick(["", "!"]) + left
        literal = self.pick([*NUMBERS[:6], "'vip'", '"199.00"', "null", "true", self.path("@")])
        test = f"{left} {self.pick(['==', '!=', '<', '>=', '=~'])} {literal}"
        return test if self.chance() < 0.7 else f"{test} {self.pick(['&', '|', '&&', '||'])} {self.condition()}"

    def specification(self) -> Any:
        spec: dict[str, Any] = {}
        if self.chance() < 0.4:
            spec["omit"] = [self.path() for _ in range(self.random.randint(0, 3))]
        if self.chance() < 0.4:
            spec["rename"] = {self.path(): self.pick(NAMES) for _ in range(self.random.randint(0, 3))}
        if self.chance() < 0.8:
            spec["map"] = self.pick(GREEDY) if self.greedy else self.template(self.random.randint(0, 5))
        return spec

    def template(self, depth: int) -> Any:
        kind = self.chance()
        if depth == 0 or kind < 0.35:
            start = "@" * self.random.randint(0, self.items) or "$"
            return self.path(start) if self.chance() < 0.8 else self.pick([*TEXTS, 5, 1.5, None, True, [], {}])
        parts = [self.template(depth - 1) for _ in range(self.random.randint(0, 3))]
        if kind < 0.45:
            return parts
        if kind < 0.6:
            return {self.pick(NAMES): part for part in parts}
        return self.function(depth, parts)

    def item_template(self) -> Any:
        self.items += 1
        template = self.template(2)
        self.items -= 1
        return template

    def function(self, depth: int, parts: list[Any]) -> Any:
        name = self.pick(self.pick([PATH_FUNCTIONS, LIST_FUNCTIONS, OTHER_FUNCTIONS]))
        likely = (
            self.path() if name in PATH_FUNCTIONS else parts if name in LIST_FUNCTIONS else self.template(depth - 1)
        )
        argument = likely if self.chance() < 0.9 else self.template(depth - 1)
        options = [option for option in OWN_OPTIONS.get(name, []) if self.chance() < 0.95]
        if self.chance() < 0.2:
            options.append(self.pick(["$default"] * 20 + list(OPTIONS)))
        return {name: argument} | {option: OPTIONS[option](self) for option in options}


@dataclass
class Result:
    runs: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest: tuple[float, int] = (0.0, -1)
    growth_mb: float = 0.0

    def add(self, other: "Result") -> None:
        self.runs += other.runs
        self.endings += other.endings
        self.failures += other.failures
        self.slowest = max(self.slowest, other.slowest)
        self.growth_mb = max(self.growth_mb, other.growth_mb)


def endings_of(case: Case) -> tuple[str, str, bytes]:
    """How the filter and the transformation ended, and the body. Undocumented errors are raised."""
    envelope = Envelope("evt_1", "orders.created", "2026-01-02T03:04:05Z", case.data)
    try:
        before = dumps(envelope.tree)
    except JSONError:
        return "data not JSON", "data not JSON", b""
    wanted, ended, body = _filtered(case.filter, envelope), "body", b""
    try:
        body = compile_transformation(case.transformation).apply(envelope)
        check(body, OUTPUT_LIMITS)
    except (SpecError, TransformError) as error:
        ended = _name(error)
    if dumps(envelope.tree) != before:
        raise AssertionError("the event was changed")
    return wanted, ended, body


def _filtered(text: str, envelope: Envelope) -> str:
    try:
        return "found" if compile_filter(text).matches(envelope) else "found nothing"
    except (SpecError, TransformError) as error:
        return _name(error)


def _name(error: SpecError | TransformError) -> str:
    return error.reason if isinstance(error, TransformError) else "SpecError"


def run(seed: int, first: int, count: int) -> Result:
    result = Result(runs=count)
    peak_before = _peak_mb()
    for number in range(first, first + count):
        started = time.process_time()
        problem = _problem_with(seed, number, result.endings)
        took = time.process_time() - started
        if took > MAX_SECONDS:
            problem = problem or f"{took:.1f} s"
        if problem:
            result.failures.append(f"case {number}: {problem}"[:300])
        result.slowest = max(result.slowest, (took, number))
    result.growth_mb = _peak_mb() - peak_before
    if result.growth_mb > MAX_GROWTH_MB:
        result.failures.append(f"the process grew by {result.growth_mb:.0f} MB")
    return result


def _problem_with(seed: int, number: int, endings: Counter[str]) -> str:
    try:
        ended = endings_of(Case(seed, number))
        if number % 50 == 0 and endings_of(Case(seed, number)) != ended:
            return "it ended differently the second time"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    endings.update((f"filter: {ended[0]}", f"transformation: {ended[1]}"))
    return ""


def _peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1_048_576 if sys.platform == "darwin" else 1_024)


def run_in_processes(seed: int, runs: int, processes: int) -> Result:
    total = Result()
    step = min(20_000, -(-runs // processes))
    with ProcessPoolExecutor(processes) as pool:
        waiting = [pool.submit(run, seed, first, min(step, runs - first)) for first in range(0, runs, step)]
        for done in waiting:
            total.add(done.result())
            print(f"\r{total.runs} of {runs}, {len(total.failures)} failures", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return total


def main() -> int:
    arguments = argparse.ArgumentParser(description="Random filters, transformations and events.")
    arguments.add_argument("--runs", type=int, default=100_000)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--processes", type=int, default=1)
    arguments.add_argument("--only", type=int)
    given = arguments.parse_args()
    if given.only is not None:
        case = Case(given.seed, given.only)
        print(case.data[:2000], case.filter, case.transformation, endings_of(case), sep="\n")
        return 0
    result = run_in_processes(given.seed, given.runs, given.processes)
    for ending, times in sorted(result.endings.items()):
        print(f"{times:>9}  {ending}")
    seconds, number = result.slowest
    print(f"slowest: {seconds:.3f} s (case {number}); the process grew by {result.growth_mb:.0f} MB at most")
    print(*result.failures[:20], sep="\n")
    return 1 if result.failures else 0


if __name__ == "__main__":
    sys.exit(main())
