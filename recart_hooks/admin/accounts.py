"""The admin of Django's users and groups, in Unfold's style."""

from typing import TYPE_CHECKING, ClassVar

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.utils.safestring import SafeString
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from partners.admin.base import RefusesOddLookups
from partners.admin.looks import moment

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin as _Unfold
else:
    from unfold.admin import ModelAdmin as _Unfold

admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class UserAdmin(RefusesOddLookups[User], DjangoUserAdmin, _Unfold):  # type: ignore[type-arg]  # generic for the checker only
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "is_active", "is_staff", "is_superuser", "seen")
    list_filter: ClassVar[tuple[str, ...]] = ("is_active", "is_staff", "is_superuser", "groups")
    ordering = ("username",)

    @display(description="Last login", ordering="last_login")
    def seen(self, user: User) -> SafeString:
        return moment(user.last_login, "never")


@admin.register(Group)
class GroupAdmin(RefusesOddLookups[Group], DjangoGroupAdmin, _Unfold):  # type: ignore[type-arg]  # generic for the checker only
    list_display = ("name",)
