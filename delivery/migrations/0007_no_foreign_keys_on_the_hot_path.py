"""Deliveries and attempts without foreign keys (ADR 9). Each is dropped in a transaction of its own: a moment's lock.

May be run again when it met a deadlock with those who write.
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
