"""How long the admin's dashboard takes to read each time range, with thousands of active subscriptions.

    python -m recart_hooks.stack --data-dir DIR -- python -m bench.dashboard

The first run fills an empty database by SQL: roll-ups of each minute of the last seven hours and of each hour of all
days, every subscription active in each of them. Later runs on the same DIR only measure.
"""

import argparse
import os
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import django

_PARTNERS = """
INSERT INTO partners_partner (id, name, rate_limit, rate_limit_ceiling, max_in_flight, paused_by, operational_url,
                              operational_email, notes, created_at, updated_at)
SELECT 'ptr_' || n, 'Partner ' || n, '', '', 16, '', '', '', '', now(), now()
FROM generate_series(0, %(partners)s - 1) n
"""
_ROLLUPS = """
INSERT INTO delivery_rollup (resolution_s, starts_at, subscription_id, partner_id, attempts, failures, succeeded, dead,
                             latency_sum_ms, histogram)
SELECT %(step_s)s, starts_at, 'sub_' || n, 'ptr_' || n / 5, 100, n %% 7, 100 - n %% 7, 0, 4200,
       ARRAY[0,0,0,1,5,9,20,30,20,10,5,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]
FROM generate_series(0, %(subscriptions)s - 1) n,
     generate_series(%(since)s::timestamptz, %(until)s::timestamptz - interval '1 s', %(step_s)s * interval '1 s')
         AS starts_at
"""


def seed(subscriptions: int, days: int) -> None:
    from django.db import connection  # noqa: PLC0415 - Django is set up by now

    now = datetime.now(UTC).replace(second=0, microsecond=0)
    hour = now.replace(minute=0)
    spans = [(60, now - timedelta(hours=7), now), (3600, hour - timedelta(days=days), hour)]
    with connection.cursor() as cursor:
        cursor.execute(_PARTNERS, {"partners": subscriptions // 5})
        for step_s, since, until in spans:
            values: dict[str, Any] = {"step_s": step_s, "since": since, "until": until, "subscriptions": subscriptions}
            cursor.execute(_ROLLUPS, values)
        cursor.execute("VACUUM ANALYZE delivery_rollup")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the admin's dashboard.")
    parser.add_argument("--subscriptions", type=int, default=5000)
    parser.add_argument("--days", type=int, default=30)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "recart_hooks.settings")
    os.environ.setdefault("DEBUG", "1")
    django.setup()
    from django.core.management import call_command  # noqa: PLC0415 - Django is set up by now

    from delivery.admin.traffic import RANGES, traffic  # noqa: PLC0415
    from delivery.models import Rollup  # noqa: PLC0415
    from delivery.resolutions import roll_up  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    if not Rollup.objects.exists():
        begun = time.monotonic()
        seed(options.subscriptions, options.days)
        print(f"filled in {time.monotonic() - begun:.0f} s")
    for what in ("first", "again"):
        begun = time.monotonic()
        print(f"rolled up {what}: {roll_up(datetime.now(UTC)):,} rows in {time.monotonic() - begun:.1f} s")
    for name, range_ in RANGES.items():
        begun = time.monotonic()
        made = traffic(range_, datetime.now(UTC))
        print(f"{name:>4} {time.monotonic() - begun:6.2f} s  {made.cards[0].value} attempts")


if __name__ == "__main__":
    main()
