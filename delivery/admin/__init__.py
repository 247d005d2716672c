"""The admin pages of deliveries, events and dead letters, and what deliveries add to the pages of partners.

All of them are read-only: what staff may do is a verb of `delivery.verbs`. The tables are big, so the lists are paged
by key (`partners.admin.keyset`) and searched by indexes only (`search`, `list_filters`).
"""

from delivery.admin import dead_letter, delivery, event, operational_event, partners, replay_job, task_result

__all__ = ["dead_letter", "delivery", "event", "operational_event", "partners", "replay_job", "task_result"]
