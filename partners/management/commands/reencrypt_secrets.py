"""`manage.py reencrypt_secrets`: puts every stored secret under the first of ENCRYPTION_KEYS, so that old keys can go.

Row by row, each in its own statement and only if it did not change meanwhile: it may run beside everything else, be
stopped and be run again.
"""

from typing import Any

from cryptography.fernet import InvalidToken
from django.core.management.base import BaseCommand, CommandError

from partners.encryption import reencrypt
from partners.models import SubscriptionSecret


class Command(BaseCommand):
    help = "Encrypts every stored secret with the first of ENCRYPTION_KEYS."

    def handle(self, *args: Any, **options: Any) -> None:
        done = unreadable = 0
        for key, token in SubscriptionSecret.objects.order_by("pk").values_list("pk", "token").iterator():
            try:
                renewed = reencrypt(token)
            except InvalidToken:
                unreadable += 1
                self.stderr.write(f"secret {key}: no key of ENCRYPTION_KEYS opens it")
                continue
            done += SubscriptionSecret.objects.filter(pk=key, token=token).update(token=renewed)
        self.stdout.write(f"{done} secrets are under the first key now")
        if unreadable:
            raise CommandError(f"{unreadable} secrets were left as they are: keep the old keys")
