from django.apps import AppConfig


class PartnersConfig(AppConfig):
    """Who wants what, where."""

    name = "partners"
    verbose_name = "Partners"
