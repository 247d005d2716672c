"""The Django settings of the peers. `PEER_APPS` names the peer's own apps."""

import os

from recart_hooks.addresses import database_from_url

SECRET_KEY = os.environ["SECRET_KEY"]
# Without a connection pool, Celery's Django fixup opens two connections per task, which limits it to 85 tasks/s.
DATABASES = {
    "default": {
        **database_from_url(os.environ["DATABASE_URL"]),
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": False,
        "OPTIONS": {"connect_timeout": 5, "pool": {"min_size": 4, "max_size": 40}},
    }
}
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django_celery_results",
    *os.environ["PEER_APPS"].split(","),
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
DJANGO_WEBHOOK = {"MODELS": ["shop.Order"]}
