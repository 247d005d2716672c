from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import migrations, models

import partners.defaults


class Migration(migrations.Migration):
    """Changes no tables: these defaults are Django's."""

    dependencies = [("partners", "0009_a_cap_in_places")]

    operations = [
        migrations.AlterField(
            model_name="partner",
            name="max_in_flight",
            field=models.PositiveSmallIntegerField(
                default=partners.defaults.max_in_flight,
                help_text="Requests that may run at the same time: a slow endpoint holds at most this many of the workers' "
                "places.",
                validators=[MinValueValidator(1), MaxValueValidator(1000)],
            ),
        ),
        migrations.AlterField(
            model_name="subscription",
            name="timeout_s",
            field=models.FloatField(
                default=partners.defaults.timeout_s, validators=[MinValueValidator(1), MaxValueValidator(30)]
            ),
        ),
    ]
