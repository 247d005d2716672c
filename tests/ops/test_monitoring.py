"""Dashboards and alert rules are valid PromQL and use only metrics that our processes export."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from delivery.breaker import Opened
from delivery.bridge import Counts
from delivery.broker.queues import QueueStats
from delivery.metrics.intake import BridgeMetrics
from delivery.metrics.process import REGISTRY
from delivery.metrics.shared import Reading, SharedMetrics
from partners.models import Partner
from tests.delivery.metrics.test_attempts import metrics

pytestmark = [pytest.mark.servers, pytest.mark.django_db]

OPS = Path(__file__).resolve().parents[2] / "ops"
ALERTS = yaml.safe_load((OPS / "prometheus" / "alerts.yml").read_text())["groups"][0]["rules"]
CASES = OPS / "prometheus" / "alerts.test.yml"
DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in (OPS / "grafana" / "dashboards").glob("*.json")}
_SUFFIX = re.compile(r"_(total|bucket|sum|count)$")


@pytest.fixture
def known() -> set[str]:
    """The names of all metrics of web, bridge and worker, without the suffixes of samples."""
    reading = Reading(
        partners=lambda: {"ptr_1": Partner(id="ptr_1", name="One")},
        queues=lambda _: {"ptr_1": QueueStats(1, 0, 0)},
        oldest=lambda: {"ptr_1": 1.0},
        breakers=lambda: {"sub_1": Opened(0.0, 5.0)},
        lag=lambda: 0,
        accepts_writes={},
        now=lambda: datetime.now(UTC),
    )
    families = [
        *metrics().describe(),
        *REGISTRY.collect(),
        *BridgeMetrics(Counts(), lambda: 0).collect(),
        *SharedMetrics(reading, 10).collect(),
    ]
    return {family.name for family in families}


def expressions() -> Iterator[tuple[str, str]]:
    for rule in ALERTS:
        yield rule["alert"], rule["expr"]
    for name, dashboard in DASHBOARDS.items():
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                yield f"{name}: {panel['title']}", target["expr"]


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_an_expression_is_valid_and_its_metrics_exist(where: str, expression: str, known: set[str]) -> None:
    promql_parser.parse(expression.replace("$__rate_interval", "1m"))
    asked = re.findall(r"\b(?:recart_hooks|process)_\w+", expression)
    assert asked or "up{" in expression, where
    assert {name for name in asked if _SUFFIX.sub("", name) not in known and name not in known} == set()


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_it_is_about_and_waits_a_while(rule: dict[str, Any]) -> None:
    assert rule["annotations"]["summary"].endswith(".")
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert re.fullmatch(r"\d+m", rule["for"])


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    told: dict[str, set[bool]] = {rule["alert"]: set() for rule in ALERTS}
    for case in yaml.safe_load(CASES.read_text())["tests"]:
        for one in case["alert_rule_test"]:
            told[one["alertname"]].add(bool(one["exp_alerts"]))
    assert {name for name, fires in told.items() if fires != {True, False}} == set()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed; .ci/run says where to get it")
def test_every_alert_fires_when_it_should() -> None:
    ran = subprocess.run(["promtool", "test", "rules", CASES], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_main_dashboards_and_alerts_exist() -> None:
    assert set(DASHBOARDS) == {"overview", "partner", "workers"}
    assert {rule["alert"] for rule in ALERTS} >= {
        "BurningErrorRate",
        "GrowingBacklog",
        "OldestMessage",
        "DeadWorker",
        "StalledBridge",
    }


def test_ids_of_dashboards_and_panels_are_unique() -> None:
    assert len({one["uid"] for one in DASHBOARDS.values()}) == len(DASHBOARDS)
    for dashboard in DASHBOARDS.values():
        ids = [panel["id"] for panel in dashboard["panels"]]
        assert len(set(ids)) == len(ids)
