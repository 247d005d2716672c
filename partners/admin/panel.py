"""Tables below a form, of related objects that have pages of their own."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.safestring import SafeString


@dataclass(frozen=True, slots=True)
class Panel:
    """A table. `link` leads to the list of all its rows; `empty` is the text if there are none."""

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str | SafeString]]
    empty: str
    link: str = ""
