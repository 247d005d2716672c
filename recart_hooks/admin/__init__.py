"""Parts of the admin that belong to no app: navigation and staff accounts."""

from recart_hooks.admin import accounts

__all__ = ["accounts"]
