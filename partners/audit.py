"""The audit log: who changed what. The functions that change something write it, in the same transaction.

The actor is set where a request comes in (`acting`), so that those functions need no argument for it. Credentials
(values of headers, tokens, secrets) are never recorded, only that they changed.
"""

import getpass
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.db.models import Model

from partners.access_models import AuditEntry
from partners.secrets import HIDDEN

KINDS = AuditEntry.ActorKind


@dataclass(frozen=True, slots=True)
class Actor:
    """Who changes something, and in which request."""

    kind: str
    id: str = ""
    name: str = ""
    request_id: str = ""


SYSTEM = Actor(KINDS.SYSTEM)
"""The actor of workers and of everything else outside of requests and of operators' commands."""


def operator() -> Actor:
    """The user of the operating system, who runs a command."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        name = f"user {os.getuid()}"
    return Actor(KINDS.STAFF, name=f"{name}, command line"[:200])


_acting: ContextVar[Actor] = ContextVar("acting", default=SYSTEM)


@contextmanager
def acting(actor: Actor) -> Iterator[None]:
    """Sets the actor of changes made in this block."""
    token = _acting.set(actor)
    try:
        yield
    finally:
        _acting.reset(token)


def act_as(actor: Actor) -> None:
    """Sets the actor until the end of the surrounding `acting`."""
    _acting.set(actor)


def current_actor() -> Actor:
    return _acting.get()


def record(
    action: str,
    subject: Model,
    *,
    partner_id: str | None,
    before: Mapping[str, Any] = {},
    after: Mapping[str, Any] = {},
) -> None:
    """Writes one entry, without the fields that are the same in `before` and `after`."""
    entry(action, subject, partner_id=partner_id, before=before, after=after).save(force_insert=True)


def record_all(entries: Iterable[AuditEntry]) -> None:
    AuditEntry.objects.bulk_create(entries, batch_size=1000)


def entry(
    action: str,
    subject: Model,
    *,
    partner_id: str | None,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> AuditEntry:
    """An entry for `record_all`, as `record` writes it."""
    same = {name for name in before.keys() & after.keys() if before[name] == after[name]}
    actor = _acting.get()
    return AuditEntry(
        actor_kind=actor.kind,
        actor_id=actor.id,
        actor_name=actor.name[:200],
        request_id=actor.request_id,
        partner_id=partner_id,
        action=action,
        subject_type=str(subject._meta.model_name),
        subject_id=str(subject.pk)[:260],
        before={name: _shown(name, value) for name, value in before.items() if name not in same},
        after={name: _shown(name, value) for name, value in after.items() if name not in same},
    )


def last_made(action: str, subject: Model) -> datetime | None:
    """When the action was last done to the subject; None if there is no entry."""
    entries = AuditEntry.objects.filter(subject_id=subject.pk, action=action).order_by("-id")
    return entries.values_list("at", flat=True).first()


_BOOKKEEPING = frozenset(["created_at", "updated_at", "failing_since"])
_CREDENTIALS = frozenset(["token_hash", "password"])


def snapshot(row: Model) -> dict[str, Any]:
    """The fields of a row as they are now, for `before` and `after`."""
    fields = {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}
    return {name: value for name, value in fields.items() if name not in _BOOKKEEPING | _CREDENTIALS}


def _shown(name: str, value: Any) -> Any:
    if name == "headers" and isinstance(value, Mapping):
        return dict.fromkeys(value, HIDDEN)
    return value.isoformat() if isinstance(value, date) else value
