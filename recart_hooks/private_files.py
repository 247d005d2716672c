"""Files that only their owner may read."""

import secrets
from collections.abc import Callable
from pathlib import Path


def write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def kept_secret(directory: Path, name: str, make: Callable[[], str] = lambda: secrets.token_urlsafe(12)) -> str:
    """A random value, generated on the first call and read back on later ones."""
    path = directory / name
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        write_private(path, make())
    return path.read_text()
