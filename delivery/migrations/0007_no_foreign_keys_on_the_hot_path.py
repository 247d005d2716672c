"""Drops the foreign keys of deliveries and attempts (ADR 9), each in its own transaction, so that locks are short.

If it fails because of a deadlock with writers, run it again.
"""

import django.db.models.deletion
from django.db import migrations, models

CASCADE, PROTECT = django.db.models.deletion.CASCADE, django.db.models.deletion.PROTECT


def without_constraint(model_name: str, name: str, to: str, related_name: str, on_delete: object) -> migrations.AlterField:
    return migrations.AlterField(
        model_name=model_name,
        name=name,
        field=models.ForeignKey(
            db_constraint=False, db_index=False, on_delete=on_delete, related_name=related_name, to=to
        ),
    )


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("delivery", "0006_rollup_resolutions"), ("partners", "0008_unverified_subscriptions")]

    operations = [
        without_constraint("attempt", "delivery", "delivery.delivery", "attempts", CASCADE),
        without_constraint("delivery", "event", "delivery.event", "deliveries", CASCADE),
        without_constraint("delivery", "partner", "partners.partner", "deliveries", PROTECT),
        without_constraint("delivery", "subscription", "partners.subscription", "deliveries", PROTECT),
    ]
