"""Tables below a form: what belongs to the object and has pages of its own."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.safestring import SafeString


@dataclass(frozen=True, slots=True)
class Panel:
    """`link` leads to all of it."""

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str | SafeString]]
    empty: str
    link: str = ""
