"""The admin pages of partners, subscriptions, event types, API keys and the audit log, and what all admin pages share.

    base      the base classes of pages: typed Unfold classes, the ends of dialogs, read-only pages
    keyset    lists of tables that are too large to count
    looks     badges, times, JSON and HTTP headers as HTML
    fields    form fields for patterns, headers, delays and JSON
    partner, subscription, event_type, api_key, audit_entry    the pages

Pages change partners and subscriptions through `partners.services`, and API keys through `partners.keys`.
`delivery.admin` adds what concerns deliveries to these pages.
"""

from partners.admin import api_key, audit_entry, event_type, partner, subscription

__all__ = ["api_key", "audit_entry", "event_type", "partner", "subscription"]
