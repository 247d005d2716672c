"""API keys: staff create and revoke them here. The token is shown once, on the page that answers the creation."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString
from unfold.decorators import display

from partners import keys
from partners.admin.base import DialogForm, StaffAdmin, change_url
from partners.admin.columns import link_column, time_column
from partners.admin.dialog import dialog
from partners.admin.looks import badge
from partners.models import ApiKey


class NewKeyForm(forms.ModelForm):  # type: ignore[type-arg]  # generic for the checker only
    """The form of a new key. It also checks the expiry and the number of live keys."""

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        keys.check_new(values.get("partner"), values.get("expires_at"))
        return values


@admin.register(ApiKey)
class ApiKeyAdmin(StaffAdmin[ApiKey]):
    form = NewKeyForm
    list_display = ("name", "of_partner", "scope", "state", "begins", "used")
    list_filter = ("scope",)
    list_select_related = ("partner",)
    search_fields = ("name", "id__startswith", "hint__startswith", "partner__name")
    search_help_text = "Name, id, beginning of the key, or partner"
    ordering = ("-id",)
    autocomplete_fields = ("partner",)
    fields = ("name", "scope", "partner", "expires_at")
    readonly_fields = ("state", "begins", "created", "created_by", "used")
    actions_detail: ClassVar = ("revoke",)

    of_partner = link_column("partner", "Partner")
    created = time_column("created_at", "Created", ordering="id")
    used = time_column("last_used_at", "Last used", empty="never")

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        return self.fields if obj is None else (*self.fields, *self.readonly_fields)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only for the list, without an object: nobody edits a key, and `revoke` checks the permission itself."""
        return obj is None and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        new = keys.create_key(**{name: form.cleaned_data[name] for name in self.fields})
        obj.pk = new.key.pk
        obj.refresh_from_db()
        obj._token = new.token  # type: ignore[attr-defined]  # only for response_add

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": f"The API key {obj.name}",
            "token": obj._token,  # type: ignore[attr-defined]  # set in save_model
            "key_url": change_url(obj),
        }
        answer = TemplateResponse(request, "partners/admin/new_key.html", context)
        answer.headers["Cache-Control"] = "no-store"
        return answer

    def get_actions_detail(self, request: HttpRequest, object_id: str) -> list[Any]:
        found = ApiKey.objects.filter(pk=object_id).first()
        if found is None or not found.is_live or not super().has_change_permission(request):
            return []
        return super().get_actions_detail(request, object_id)  # type: ignore[misc,no-any-return]  # Unfold's

    @dialog(
        "Revoke",
        "block",
        title="Revoke this API key",
        text="The key stops working at once and for good: requests that use it are answered with 401.",
        permissions=(),
    )
    def revoke(self, request: HttpRequest, form: DialogForm, object_id: str) -> HttpResponse:
        key = self.wanted(request, object_id)
        if not super().has_change_permission(request):
            return self.refused(request, key, "You may not revoke API keys.")
        keys.revoke_key(key)
        return self.done(request, key, "Revoked.")

    @display(description="State")
    def state(self, key: ApiKey) -> SafeString:
        if key.revoked_at is not None:
            return badge("Revoked", "danger")
        return badge("Live", "success") if key.is_live else badge("Expired", "warning")

    @display(description="Begins with")
    def begins(self, key: ApiKey) -> str:
        return f"{key.hint}…"
