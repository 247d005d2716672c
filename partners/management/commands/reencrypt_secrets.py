"""`manage.py reencrypt_secrets`: encrypts signing secrets and values of headers with the first of ENCRYPTION_KEYS.

Afterwards the other keys can be removed. Each row is updated in its own statement, and only if it did not change
meanwhile: the command can run while the service does, be interrupted, and be repeated.
"""

from typing import Any

from cryptography.fernet import InvalidToken
from django.core.management.base import BaseCommand, CommandError

from partners.encryption import Sealed, reencrypt
from partners.models import Subscription, SubscriptionSecret
from partners.wording import counted


class Command(BaseCommand):
    help = "Encrypts every stored secret and header with the first of ENCRYPTION_KEYS."

    def handle(self, *args: Any, **options: Any) -> None:
        self._unreadable = 0
        secrets = sum(map(self._secret, SubscriptionSecret.objects.order_by("pk").iterator()))
        with_headers = Subscription.objects.exclude(headers={}).order_by("pk")
        headers = sum(map(self._headers, with_headers.iterator()))
        self.stdout.write(
            f"encrypted with the first key now: {counted(secrets, 'secret')}, "
            f"and the headers of {counted(headers, 'subscription')}"
        )
        if self._unreadable:
            raise CommandError(f"{self._unreadable} of them were left as they are: keep the old keys")

    def _secret(self, row: SubscriptionSecret) -> int:
        try:
            renewed = reencrypt(row.token)
        except InvalidToken:
            return self._left(f"secret {row.pk}")
        return SubscriptionSecret.objects.filter(pk=row.pk, token=row.token).update(token=renewed)

    def _headers(self, row: Subscription) -> int:
        try:
            renewed = {name: reencrypt(token) for name, token in row.headers.tokens.items()}
        except InvalidToken:
            return self._left(f"headers of {row.pk}")
        return Subscription.objects.filter(pk=row.pk, headers=row.headers).update(headers=Sealed(renewed))

    def _left(self, what: str) -> int:
        self._unreadable += 1
        self.stderr.write(f"{what}: no key of ENCRYPTION_KEYS decrypts it")
        return 0
