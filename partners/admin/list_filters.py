"""Filters of lists: named conditions, texts, time ranges. They do not query the table for their choices."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib.admin import ListFilter
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminTextInputWidget

from partners.models import EARLIEST, FOREVER

if TYPE_CHECKING:
    from django.contrib.admin import SimpleListFilter as DropdownFilter
    from django.contrib.admin import SimpleListFilter as TextFilter
else:
    from unfold.contrib.filters.admin import DropdownFilter, TextFilter

__all__ = ["ConditionFilter", "DropdownFilter", "TextFilter", "TimeRangeFilter"]


class ConditionFilter(DropdownFilter):
    """`conditions` maps values in the URL to labels and conditions. `otherwise` applies if nothing is chosen."""

    conditions: ClassVar[Mapping[str, tuple[str, Q]]]
    otherwise: ClassVar[Q] = Q()

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, label) for value, (label, _) in self.conditions.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        known = self.conditions.get(self.value() or "")
        return queryset.filter(known[1] if known else self.otherwise)


class TimeRangeForm(forms.Form):
    def __init__(self, name: str, title: str, **options: Any) -> None:
        super().__init__(**options)
        for edge, label in (("from", f"{title.capitalize()} from (UTC)"), ("to", "To")):
            self.fields[f"{name}_{edge}"] = forms.DateTimeField(
                label=label, required=False, widget=UnfoldAdminTextInputWidget(attrs={"type": "datetime-local"})
            )


class TimeRangeFilter(ListFilter):
    """From one time to another; either may be left out. Subclasses define the `condition` on their table."""

    name: ClassVar[str]
    template = "unfold/filters/filters_field.html"

    def __init__(self, request: HttpRequest, params: Any, model: type[Model], model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        for name in self.expected_parameters():
            values = params.pop(name, None)
            if name and values and values[-1]:
                self.used_parameters[name] = values[-1]

    def expected_parameters(self) -> list[str | None]:
        return [f"{self.name}_from", f"{self.name}_to"]

    def has_output(self) -> bool:
        return True

    def choices(self, changelist: Any) -> Iterator[Any]:
        yield {"form": TimeRangeForm(self.name, str(self.title), data=self.used_parameters)}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(self.condition(self._time("from"), self._time("to")))

    def condition(self, start: datetime | None, end: datetime | None) -> Q:
        raise NotImplementedError

    def _time(self, edge: str) -> datetime | None:
        """An invalid time counts as left out; the form shows its error."""
        try:
            moment = datetime.fromisoformat(str(self.used_parameters.get(f"{self.name}_{edge}", "")))
        except ValueError:
            return None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return min(max(moment, EARLIEST), FOREVER)  # leaves room for adding and subtracting durations
