from django.apps import AppConfig


class PartnersConfig(AppConfig):
    """Partners, their subscriptions, and the catalogue of event types."""

    name = "partners"
    verbose_name = "Partners"
