"""Whether a path belongs to the API or the admin."""

API, ADMIN = "/api/", "/admin/"


def is_api(path: str) -> bool:
    return path.startswith(API)


def is_admin(path: str) -> bool:
    return path.startswith(ADMIN)
