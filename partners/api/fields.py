"""Serializer fields that do not convert types: `"1"` is not a number, and `1` is not text."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request

from partners.api.bodies import Body, RawJSON
from partners.envelope import rfc3339
from partners.models import EARLIEST, FOREVER
from partners.patterns import EVENT_TYPE_MAX, TYPE_REGEX

RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_UNKNOWN_SHOWN = 10
_NAME_SHOWN = 100


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses unknown members: a misspelt member must not be ignored."""

    reads_as: type[serializers.Serializer[Any]] | None = None
    """The serializer of answers: a member that only it has is refused as read-only, not as unknown."""

    @classmethod
    def read(cls, request: Request, *, partial: bool = False) -> dict[str, Any]:
        """The values in the request's body. Raises ValidationError."""
        given = cls(data=request.data, partial=partial)
        given.is_valid(raise_exception=True)
        return dict(given.validated_data)

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            unknown = [name for name in data if name not in self.fields or self.fields[name].read_only]
            if unknown:
                shown = self.reads_as().fields if self.reads_as else {}
                places = {
                    name[:_NAME_SHOWN]: ["read-only" if name in shown else "unknown"]
                    for name in unknown[:_UNKNOWN_SHOWN]
                }
                if len(unknown) > _UNKNOWN_SHOWN:
                    places["non_field_errors"] = [f"{len(unknown) - _UNKNOWN_SHOWN} more are unknown"]
                raise serializers.ValidationError(places)
        return super().to_internal_value(data)


class Text(serializers.CharField):
    def __init__(self, **options: Any) -> None:
        options.setdefault("trim_whitespace", False)
        super().__init__(**options)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Matching(serializers.RegexField):
    """Text that matches the pattern as a whole: `$` alone would also match before a line break at the end."""

    def __init__(self, pattern: str, **options: Any) -> None:
        self._pattern = re.compile(pattern)
        super().__init__(pattern, trim_whitespace=False, **options)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str) or not self._pattern.fullmatch(data):
            self.fail("invalid")
        return super().to_internal_value(data)


class EventTypeName(Matching):
    def __init__(self, **options: Any) -> None:
        super().__init__(f"^{TYPE_REGEX}$", max_length=EVENT_TYPE_MAX, **options)


class Elements(serializers.ListField):
    """A list, counted before its elements are validated: a million of them could make a million errors."""

    def to_internal_value(self, data: Any) -> list[Any]:
        if isinstance(data, list) and self.max_length is not None and len(data) > self.max_length:
            self.fail("max_length", max_length=self.max_length)
        return super().to_internal_value(data)


class Members(serializers.DictField):
    """An object, counted before its members are validated, as `Elements` is."""

    default_error_messages = {"max_length": "at most {max_length} members"}  # noqa: RUF012

    def __init__(self, *, max_length: int, **options: Any) -> None:
        self._max_length = max_length
        super().__init__(**options)

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if isinstance(data, Mapping) and len(data) > self._max_length:
            self.fail("max_length", max_length=self._max_length)
        return super().to_internal_value(data)


class Choice(serializers.ChoiceField):
    """Says what the choices are where another value is given."""

    def fail(self, key: str, **values: Any) -> NoReturn:
        if key == "invalid_choice":
            raise serializers.ValidationError(f"expected one of {', '.join(map(str, self.choices))}", key)
        super().fail(key, **values)


class Word(Choice):
    """A choice that is text."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str):
            self.fail("invalid_choice", input=data)
        return super().to_internal_value(data)


class Flag(serializers.BooleanField):
    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class Seconds(serializers.FloatField):
    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, bool) or not isinstance(data, (int, float)):
            self.fail("invalid")
        return super().to_internal_value(data)


class Whole(serializers.IntegerField):
    """An integer. 2.0 is one too, by JSON Schema."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, (int, float)) or not float(data).is_integer():
            self.fail("invalid")
        return super().to_internal_value(int(data))


class Moment(serializers.DateTimeField):
    """A time with its zone, in RFC 3339. Answers have it in UTC, with microseconds."""

    default_error_messages = {"invalid": "expected a time with its zone, such as 2026-05-01T12:00:00Z"}  # noqa: RUF012

    def to_internal_value(self, value: Any) -> datetime:
        if not isinstance(value, str) or not RFC3339.fullmatch(value):
            self.fail("invalid", format="RFC 3339")
        try:
            moment = datetime.fromisoformat(value.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail("invalid", format="RFC 3339")
        return min(max(moment, EARLIEST), FOREVER)  # leaves room for adding and subtracting durations

    def to_representation(self, value: datetime) -> str:
        return rfc3339(value)


class Pause(Moment):
    """The end of a pause. A pause without an end is answered as null."""

    def get_attribute(self, instance: Any) -> Any:
        value = super().get_attribute(instance)
        return None if value is None or value >= FOREVER else value


@extend_schema_field({})
class ExactJSON(serializers.Field[Any, Any, Any, Any]):
    """Any JSON, stored as text and answered unchanged. Null is stored as empty text."""

    def get_value(self, dictionary: Any) -> Any:
        if isinstance(dictionary, Body) and self.field_name in dictionary.members:
            return dictionary.members[self.field_name]
        return serializers.empty

    def to_internal_value(self, data: Any) -> str:
        text = bytes(data).decode()
        return "" if text == "null" else text

    def to_representation(self, value: str) -> Any:
        return RawJSON(value) if value else None
