"""Creates the tables and the partners of a benchmark. Run in a process of its own, with the system's settings.

A group is a number of equal partners, each with one subscription unless it says otherwise. `fan_out` neighbours share
an event type, so each event makes that many deliveries, and all partners get the same number.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Group:
    """Equal partners, one for each of `urls`, their endpoints."""

    name: str
    urls: Sequence[str]
    fan_out: int = 1
    rate_limit: str = ""
    max_in_flight: int = 16
    transformation: str = ""
    subscriptions: int = 1
    """How many each partner has. If more than one, they want every event, of other groups too."""

    @property
    def subjects(self) -> list[str]:
        """The subjects that the group's events are published to."""
        return [f"events.{event_type}" for event_type in self._event_types]

    @property
    def _event_types(self) -> list[str]:
        return [self.event_type(index) for index in range(0, len(self.urls), self.fan_out)]

    def event_type(self, partner: int) -> str:
        return f"{self.name}.type{partner // self.fan_out}"

    def partner_id(self, partner: int) -> str:
        return f"ptr_{self.name}_{partner:06d}"


def dump(groups: Sequence[Group]) -> str:
    return json.dumps([asdict(group) for group in groups])


def seed(groups: Sequence[Group]) -> None:
    """Creates the groups' partners. Django must be set up."""
    from partners.encryption import encrypt  # noqa: PLC0415 - Django is set up by now
    from partners.models import EventType, Partner, Subscription, SubscriptionSecret  # noqa: PLC0415
    from partners.secrets import new_secret  # noqa: PLC0415

    token = encrypt(new_secret())  # one for all: encrypting 10,000 secrets takes seconds
    for group in groups:
        members = range(len(group.urls))
        EventType.objects.bulk_create([EventType(name=group.event_type(n)) for n in members[:: group.fan_out]])
        Partner.objects.bulk_create(
            [
                Partner(
                    id=group.partner_id(n),
                    name=f"{group.name} {n}",
                    rate_limit=group.rate_limit,
                    max_in_flight=group.max_in_flight,
                )
                for n in members
            ]
        )
        subscriptions = [
            Subscription(
                partner_id=group.partner_id(n),
                url=group.urls[n],
                event_types=[group.event_type(n)] if group.subscriptions == 1 else ["*"],
                transformation=group.transformation,
            )
            for n in members
            for _ in range(group.subscriptions)
        ]
        Subscription.objects.bulk_create(subscriptions)
        SubscriptionSecret.objects.bulk_create(
            [SubscriptionSecret(subscription=one, token=token) for one in subscriptions]
        )


def main() -> None:
    import django  # noqa: PLC0415
    from django.core.management import call_command  # noqa: PLC0415

    django.setup()
    call_command("migrate", verbosity=0)
    seed([Group(**one) for one in json.load(sys.stdin)])


if __name__ == "__main__":
    main()
