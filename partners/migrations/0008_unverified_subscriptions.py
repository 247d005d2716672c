from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("partners", "0007_encrypt_headers")]

    operations = [
        migrations.AlterField(
            model_name="subscription",
            name="disabled_reason",
            field=models.CharField(
                blank=True,
                choices=[
                    ("", "-"),
                    ("gone", "The endpoint answered 410 Gone"),
                    ("failing", "Nothing but failures for days"),
                    ("partner", "By the partner"),
                    ("staff", "By staff"),
                    ("unverified", "The endpoint has not echoed its challenge yet"),
                ],
                default="",
                editable=False,
                max_length=16,
            ),
        ),
    ]
