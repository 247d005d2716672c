"""Stores for which addresses an operational event is settled, so that trouble with one does not affect the others."""

from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("delivery", "0008_brought_forward")]

    operations = [
        migrations.AddField(
            model_name="operationalevent",
            name="mailed_to",
            field=ArrayField(
                models.CharField(max_length=254),
                null=True,
                editable=False,
                help_text="Addresses that are done: it was sent to them, or they refuse it for good.",
            ),
        ),
    ]
