"""Changes a validator, and nothing in the database."""

from django.db import migrations, models

from partners.validation import validate_mail_address


class Migration(migrations.Migration):
    dependencies = [("partners", "0010_defaults_by_settings")]

    operations = [
        migrations.AlterField(
            model_name="partner",
            name="operational_email",
            field=models.CharField(blank=True, max_length=254, validators=[validate_mail_address]),
        ),
    ]
