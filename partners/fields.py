"""Column types that the models share."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import models

from partners.identifiers import new_id

if TYPE_CHECKING:
    TextColumn = models.CharField[str, str]
else:
    TextColumn = models.CharField


def id_default(prefix: str) -> Callable[[], str]:
    return partial(new_id, prefix)


class IdField(TextColumn):
    """A primary key `prefix_<uuid7>`: sorts by time, compared byte by byte."""

    def __init__(self, prefix: str, **options: Any) -> None:
        self.prefix = prefix
        options.setdefault("max_length", 40)
        options.setdefault("db_collation", "C")
        options.setdefault("default", id_default(prefix))
        super().__init__(primary_key=True, editable=False, **options)

    def deconstruct(self) -> tuple[str, str, Any, Any]:
        name, path, args, options = super().deconstruct()
        for implied in ("primary_key", "editable", "default"):
            options.pop(implied, None)
        return name, path, [self.prefix, *args], options
