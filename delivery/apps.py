from django.apps import AppConfig
from django.core import checks


class DeliveryConfig(AppConfig):
    """Turns events into deliveries and makes their attempts."""

    name = "delivery"
    verbose_name = "Delivery"

    def ready(self) -> None:
        from delivery import own_keys  # noqa: PLC0415 - these need the registry of applications
        from delivery.retention import rules  # noqa: PLC0415

        checks.register(rules.check_ages)
        checks.register(rules.check_archive)
        checks.register(own_keys.check_keys)
