"""The admin pages of partners, subscriptions and the event catalogue, and the building blocks all admin pages share.

    base      what every page of ours has: typed Unfold classes, answers of dialogs, read-only pages
    keyset    lists of tables that are too big to count
    looks     badges, times, JSON and HTTP headers as HTML
    fields    form fields for what people write: patterns, headers, delays, JSON
    partner, subscription, event_type, api_key, audit_entry    the pages

Pages change things by the verbs in `partners.services` only. What deliveries add to these pages is in `delivery.admin`.
"""

from partners.admin import api_key, audit_entry, event_type, partner, subscription

__all__ = ["api_key", "audit_entry", "event_type", "partner", "subscription"]
