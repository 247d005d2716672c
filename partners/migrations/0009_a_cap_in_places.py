from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("partners", "0008_unverified_subscriptions")]

    operations = [
        migrations.AlterField(
            model_name="partner",
            name="max_in_flight",
            field=models.PositiveSmallIntegerField(
                default=16,
                help_text="Requests that may run at the same time: a slow endpoint holds at most this many of the workers' "
                "places.",
                validators=[MinValueValidator(1), MaxValueValidator(1000)],
            ),
        ),
    ]
