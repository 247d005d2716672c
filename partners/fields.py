"""Column types that the models share."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import models

from partners.encryption import Sealed, encrypt
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


class SealedField(models.JSONField):
    """A JSON object with encrypted values. Assigned as a plain mapping, read as `Sealed`."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        stored = super().from_db_value(value, expression, connection)
        return Sealed(stored) if isinstance(stored, dict) else stored

    def get_prep_value(self, value: Any) -> Any:
        if isinstance(value, Sealed):
            return value.tokens
        return {name: encrypt(one) for name, one in value.items()} if isinstance(value, Mapping) else value

    def clean(self, value: Any, model_instance: Any) -> Any:
        """Does not validate a `Sealed`: its values were validated when they were written."""
        if not isinstance(value, Sealed):
            self.validate(value, model_instance)
            self.run_validators(value)
        return value

    def value_to_string(self, obj: models.Model) -> Any:
        """For `dumpdata`: values stay encrypted."""
        return self.get_prep_value(self.value_from_object(obj))

    def to_python(self, value: Any) -> Any:
        """For `loaddata`: values are encrypted."""
        return Sealed(value)
