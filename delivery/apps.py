from django.apps import AppConfig
from django.core import checks


class DeliveryConfig(AppConfig):
    """An event becomes attempts."""

    name = "delivery"
    verbose_name = "Delivery"

    def ready(self) -> None:
        from delivery.retention import rules  # noqa: PLC0415 - needs the registry of applications

        checks.register(rules.check_ages)
        checks.register(rules.check_archive)
