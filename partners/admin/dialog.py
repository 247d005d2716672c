"""The buttons of an object's page that change something: each opens a dialog, which posts."""

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
    """The method behind it gets the valid form and the object's id; it ends with `done`, `refused` or `answer`."""
    shown: dict[str, Any] = {"title": title, "form_submit_text": submit or button}
    if text:
        shown["description"] = text
    if form is not None:
        shown["form_class"] = form
    decorator: Callable[[Act], Act] = action(description=button, icon=icon, permissions=permissions, dialog=shown)
    return decorator
