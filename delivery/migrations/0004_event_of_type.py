"""An index of events by type, by which the admin finds events of rare types, and their deliveries. Created
concurrently, so that it does not block writers.
"""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("delivery", "0003_idempotent_requests")]

    operations = [
        AddIndexConcurrently(
            model_name="event",
            index=models.Index(
                "type", models.OrderBy(models.F("received_at"), descending=True), name="event_of_type"
            ),
        ),
    ]
