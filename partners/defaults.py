"""Defaults of partners and subscriptions, from the settings. Migrations refer to these functions."""

from django.conf import settings


def max_in_flight() -> int:
    return int(settings.DEFAULT_MAX_IN_FLIGHT)


def timeout_s() -> float:
    return float(settings.DELIVERY_TIMEOUT_S)
