from django.apps import AppConfig
from django.core import checks


class PartnersConfig(AppConfig):
    """Partners, their subscriptions, and the catalogue of event types."""

    name = "partners"
    verbose_name = "Partners"

    def ready(self) -> None:
        from partners import encryption  # noqa: PLC0415 - as in delivery/apps.py

        checks.register(encryption.check_keys)
