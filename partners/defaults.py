"""What partners and subscriptions have unless somebody says otherwise, by the settings. Migrations name these."""

from django.conf import settings


def max_in_flight() -> int:
    return int(settings.DEFAULT_MAX_IN_FLIGHT)


def timeout_s() -> float:
    return float(settings.DELIVERY_TIMEOUT_S)
