"""The admin's frame: navigation, staff accounts. The pages themselves live in the apps."""

from recart_hooks.admin import accounts

__all__ = ["accounts"]
