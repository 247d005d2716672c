"""The base classes and helpers of all admin pages.

Unfold has no type hints. For the type checker its classes are those of Django that they extend.
"""

from collections.abc import Callable, Collection, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

from django.contrib import messages
from django.contrib.admin import ShowFacets
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import FieldError
from django.db import DataError, ProgrammingError
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from partners.admin.panel import Panel

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin as _ModelAdmin
    from django.contrib.admin.views.main import ChangeList
    from django.forms import Form as DialogForm
else:
    from unfold.admin import ModelAdmin
    from unfold.forms import BaseDialogForm as DialogForm
    from unfold.views import ChangeList

    class _ModelAdmin(ModelAdmin):
        def __class_getitem__(cls, _: Any) -> type:
            return cls


__all__ = [
    "ChangeList",
    "DialogForm",
    "ReadOnlyAdmin",
    "StaffAdmin",
    "change_url",
    "link",
    "link_to",
    "list_url",
    "per_object",
    "url_of",
]

Row = TypeVar("Row", bound=Model)
Shown = TypeVar("Shown")


class RefusesOddLookups(_ModelAdmin[Row]):
    """Treats a lookup in the URL that fails only in the query as one that Django knows to be wrong: without it, the
    list is shown."""

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        try:
            return super().get_changelist_instance(request)
        except (ArithmeticError, DataError, FieldError, LookupError, ProgrammingError, TypeError, ValueError) as error:
            if not request.GET:
                raise  # our own fault
            raise IncorrectLookupParameters(error) from error


class StaffAdmin(RefusesOddLookups[Row]):
    """The base of all admin pages. There is no bulk deletion, and dialogs that POST make the changes, never links."""

    list_per_page = 50
    show_facets = ShowFacets.NEVER
    list_filter_submit = True
    list_filter_sheet = True
    warn_unsaved_form = True

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def panels(self, obj: Row) -> Sequence[Panel]:
        """The tables below the form."""
        return ()

    def page_context(self, request: HttpRequest, obj: Row) -> dict[str, Any]:
        """The context of `change_form_outer_after_template`, which is shown below the form."""
        return {"panels": self.panels(obj)}

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Row | None = None,
    ) -> HttpResponse:
        if obj is not None:
            context.update(self.page_context(request, obj))
        return super().render_change_form(request, context, add, change, form_url, obj)

    def wanted(self, request: HttpRequest, object_id: str) -> Row:
        """The object that a dialog is about. Raises Http404 if there is none."""
        found = self.get_object(request, unquote(object_id))
        if found is None:
            raise Http404
        return found

    def done(self, request: HttpRequest, obj: Row, message: str, *, log: str = "") -> HttpResponse:
        """Ends a dialog: writes the change to the object's history and shows the message on its page."""
        self.log_change(request, obj, log or message)
        messages.success(request, message)
        return self.back_to(obj)

    def done_to_all(self, request: HttpRequest, changed: Collection[Row], verb: str, *, log: str = "") -> None:
        """Ends an action on a list, as `done` ends a dialog. `verb` is a participle, such as "paused"."""
        message = log or f"{verb.capitalize()}."
        LogEntry.objects.log_actions(request.user.pk, changed, CHANGE, message)  # type: ignore[arg-type]  # or a list
        messages.success(request, f"{len(changed)} {verb}.")

    def refused(self, request: HttpRequest, obj: Row, message: str) -> HttpResponse:
        """Ends a dialog that changed nothing: shows the message as an error."""
        messages.error(request, message)
        return self.back_to(obj)

    def back_to(self, obj: Row) -> HttpResponse:
        return HttpResponse(headers={"HX-Redirect": change_url(obj)})

    def answer(self, request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
        """Ends a dialog: shows this template in its place. No cache may store the answer."""
        html = render_to_string(template, context, request)
        return HttpResponse(
            html, headers={"HX-Retarget": "#dialog", "HX-Reselect": "#dialog", "Cache-Control": "no-store"}
        )


class ReadOnlyAdmin(StaffAdmin[Row]):
    """A page that nobody can change anything on."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def per_object(show: Callable[[Any, Row], Shown]) -> Callable[[Any, Row], Shown]:
    """Caches the value of a field on the object: Unfold asks for each read-only field several times."""
    name = f"_shown_{show.__name__}"

    @wraps(show)
    def cached(self: Any, obj: Row) -> Shown:
        if name not in obj.__dict__:
            obj.__dict__[name] = show(self, obj)
        shown: Shown = obj.__dict__[name]
        return shown

    return cached


def change_url(obj: Model) -> str:
    return url_of(type(obj), obj.pk)


def url_of(model: type[Model], key: Any) -> str:
    """The URL of an object's page. The object need not be loaded."""
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[quote(key)])


def list_url(model: type[Model], **filters: str) -> str:
    path = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    return path + ("?" + "&".join(f"{name}={value}" for name, value in filters.items()) if filters else "")


def link(obj: Model, text: str | SafeString = "") -> SafeString:
    return link_to(type(obj), obj.pk, text or str(obj))


def link_to(model: type[Model], key: Any, text: str | SafeString) -> SafeString:
    """A link to an object's page. The object need not be loaded."""
    return format_html('<a class="text-link" href="{}">{}</a>', url_of(model, key), text)
