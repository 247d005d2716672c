"""Buttons on the page of an object. Each opens a dialog, whose form is POSTed."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from unfold.decorators import action

from partners.admin.base import DialogForm

Act = TypeVar("Act", bound=Callable[..., Any])


def dialog(
    button: str,
    icon: str,
    *,
    title: str,
    text: str = "",
    form: type[DialogForm] | None = None,
    submit: str = "",
    permissions: Sequence[str] = ("change",),
) -> Callable[[Act], Act]:
    """Decorates the method that handles the submitted dialog.

    The method gets the valid form and the object's id; it returns `done`, `refused` or `answer` of StaffAdmin.
    """
    shown: dict[str, Any] = {"title": title, "form_submit_text": submit or button}
    if text:
        shown["description"] = text
    if form is not None:
        shown["form_class"] = form
    decorator: Callable[[Act], Act] = action(description=button, icon=icon, permissions=permissions, dialog=shown)
    return decorator
