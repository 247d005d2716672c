"""Stores which attempt was brought forward, so that its message can be found, and queued again if it is lost."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("delivery", "0007_no_foreign_keys_on_the_hot_path")]

    operations = [
        migrations.AddField(
            model_name="delivery",
            name="brought_forward",
            field=models.PositiveIntegerField(
                blank=True, editable=False, help_text="The attempt that somebody wanted sooner.", null=True
            ),
        ),
    ]
