"""Form fields for patterns, request headers, delays and JSON, as people write them.

The fields only parse the text; the model's validators check its content.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError

from partners.admin.looks import MASK
from partners.errors import SecretUnreadable

if TYPE_CHECKING:
    from django.forms import Textarea as UnfoldAdminTextareaWidget
else:
    from unfold.widgets import UnfoldAdminTextareaWidget

_DELAY = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(s|min|m|h)?")
_UNITS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600}


class CodeArea(UnfoldAdminTextareaWidget):
    """A text area for code. With `language="json"` the browser checks the text while it is typed."""

    def __init__(self, language: str = "", rows: int = 4, placeholder: str = "") -> None:
        attrs = {"rows": str(rows), "spellcheck": "false", "autocomplete": "off", "placeholder": placeholder}
        super().__init__(attrs)
        self.attrs["class"] = f"{self.attrs.get('class', '')} rh-code-area"
        if language:
            self.attrs["data-language"] = language

    class Media:
        js = ("partners/code_area.js",)


class _WrittenField(forms.CharField):
    """Text that `to_python` makes a list or a mapping of."""

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool((initial or None) != (self.to_python(data) or None))
        except ValidationError:
            return True

    def run_validators(self, value: Any) -> None:
        """CharField's validators are for text."""


class WordsField(_WrittenField):
    """A list of words, separated by line breaks, commas or spaces."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("widget", CodeArea(rows=4))
        super().__init__(**options)

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, Sequence) and not isinstance(value, str) else value

    def to_python(self, value: Any) -> Any:
        return list(dict.fromkeys(re.split(r"[\s,]+", (value or "").strip(", \r\n\t")))) if value else []


class DelaysField(_WrittenField):
    """Seconds between attempts: `5, 30s, 5m, 2h`. Empty is None."""

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(map(delay, value)) if isinstance(value, Sequence) and not isinstance(value, str) else value

    def to_python(self, value: Any) -> Any:
        if not value or not value.strip():
            return None
        return [_seconds(text) for text in re.split(r"[\s]*[,;\n]+[\s]*", value.strip(" ,;\n\r"))]


class HeadersField(_WrittenField):
    """Request headers, one `Name: value` per line. Stored values are masked; a value that stays masked is kept."""

    stored: Mapping[str, str]

    def __init__(self, **options: Any) -> None:
        options.setdefault("widget", CodeArea(rows=3, placeholder="X-Shop: 42"))
        super().__init__(**options)
        self.stored = {}

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return "\n".join(f"{name}: {MASK}" for name in value)

    def to_python(self, value: Any) -> Any:
        headers: dict[str, str] = {}
        for number, line in enumerate((value or "").splitlines(), start=1):
            if not line.strip():
                continue
            name, colon, content = (part.strip() for part in line.partition(":"))
            if not colon:
                raise ValidationError(f"line {number}: write a name, a colon and a value")
            if name in headers:
                raise ValidationError(f"line {number}: the header {name!r} is given twice")
            try:
                headers[name] = self.stored[name] if content == MASK else content
            except (KeyError, SecretUnreadable):
                raise ValidationError(f"line {number}: write the value of {name!r}") from None
        return headers


def delay(seconds: float) -> str:
    """`90.0` is `90s`, `7200.0` is `2h`."""
    for unit in ("h", "m"):
        if seconds >= _UNITS[unit] and seconds % _UNITS[unit] == 0:
            return f"{seconds / _UNITS[unit]:.0f}{unit}"
    return repr(seconds).removesuffix(".0") + "s"


def _seconds(text: str) -> float:
    match = _DELAY.fullmatch(text)
    if match is None:
        raise ValidationError(f"{text[:40]!r} is not a delay: write 5, 30s, 5m or 2h")
    return float(match[1]) * _UNITS[match[2] or ""]
