"""Which part of the web process an address belongs to."""

API, ADMIN = "/api/", "/admin/"


def is_api(path: str) -> bool:
    return path.startswith(API)


def is_admin(path: str) -> bool:
    return path.startswith(ADMIN)
