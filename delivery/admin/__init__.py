"""The admin pages of this app, and its additions to the pages of partners and subscriptions.

Rows are read-only; actions call functions such as those of `delivery.verbs`. The tables are large, so lists are paged
by key (`partners.admin.keyset`) and searched by indexes (`search`, `list_filters`).
"""

from delivery.admin import dead_letter, delivery, event, operational_event, partners, replay_job, task_result

__all__ = ["dead_letter", "delivery", "event", "operational_event", "partners", "replay_job", "task_result"]
