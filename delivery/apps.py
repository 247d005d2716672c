from django.apps import AppConfig


class DeliveryConfig(AppConfig):
    """An event becomes attempts."""

    name = "delivery"
    verbose_name = "Delivery"
