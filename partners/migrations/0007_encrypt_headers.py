"""Encrypts the values of subscriptions' headers. The column is still JSON, with readable names."""

from collections.abc import Callable
from typing import Any

import partners.fields
import partners.validation
from django.db import migrations
from partners.encryption import decrypt, encrypt


def _all_values(change: Callable[[str], str]) -> Callable[[Any, Any], None]:
    def migrate(apps: Any, schema_editor: Any) -> None:
        rows = apps.get_model("partners", "Subscription").objects
        for key, headers in rows.exclude(headers={}).select_for_update().values_list("pk", "headers"):
            rows.filter(pk=key).update(headers={name: change(value) for name, value in headers.items()})

    return migrate


class Migration(migrations.Migration):
    dependencies = [("partners", "0006_keys_of_the_catalogue")]

    operations = [
        migrations.RunPython(_all_values(encrypt), _all_values(decrypt)),
        migrations.AlterField(
            model_name="subscription",
            name="headers",
            field=partners.fields.SealedField(
                blank=True,
                default=dict,
                help_text="Sent with each request. The values may be credentials: they are encrypted.",
                validators=[partners.validation.validate_headers],
            ),
        ),
    ]
