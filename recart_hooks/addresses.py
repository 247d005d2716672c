"""Reads the addresses of the servers, and refuses those that cannot be used."""

from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from recart_hooks.env import SettingError


def database_from_url(url: str) -> dict[str, object]:
    """Django's DATABASES entry for `postgresql://user:password@host:port/name?option=value`.

    A `host` in the query (a directory) means a Unix socket. Without a password libpq's PGPASSWORD applies. Raises
    SettingError for another scheme, and for a URL that cannot be read; that message does not show the URL, because its
    password may be why.
    """
    try:
        parts = urlsplit(url)
        port = str(parts.port or "")
        _check_no_part_of_a_password(parts)
    except ValueError:
        raise SettingError(
            "DATABASE_URL: cannot be read; in a password, characters other than letters and digits are written as %XX"
        ) from None
    if parts.scheme not in {"postgres", "postgresql"}:
        raise SettingError(f"DATABASE_URL: expected postgresql://…, got the scheme {parts.scheme!r}")
    options: dict[str, object] = dict(parse_qsl(parts.query))
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")) or "postgres",
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": options.pop("host", None) or parts.hostname or "",
        "PORT": port,
        "CONN_HEALTH_CHECKS": True,
        "CONN_MAX_AGE": 60,
        "OPTIONS": {"connect_timeout": 5, **_NOTICED_WITHIN_SECONDS, **options},
    }


def _check_no_part_of_a_password(parts: SplitResult) -> None:
    """Raises ValueError. In `user:12/3@host` and `user:12#3@host`, 12 would be a port, and `user` the host."""
    if "@" in parts.path or parts.fragment or ("@" in parts.query and "@" not in parts.netloc):
        raise ValueError


def check_broker(url: str, master_name: str) -> None:
    """Raises SettingError. With `redis://` Celery's own transport would run, which does not know partners' queues."""
    scheme = url.partition("://")[0]
    if scheme not in {"fair", "fairs", "fairsentinel"}:
        raise SettingError(
            f"BROKER_URL: expected fair://…, fairs://… or fairsentinel://…, got the scheme {scheme[:20]!r}"
        )
    if scheme == "fairsentinel" and not master_name:
        raise SettingError("BROKER_MASTER_NAME is not set, and BROKER_URL asks Sentinels for the primary of that name")


_NOTICED_WITHIN_SECONDS = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""Detects a server that vanished silently (failover, pulled cable). By default TCP would wait for 15 minutes."""
