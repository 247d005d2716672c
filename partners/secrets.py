"""Makes signing secrets, in the form of Standard Webhooks. Pure; delivery.signing reads and uses them."""

import base64
import os

SHARED_PREFIX = "whsec_"
HIDDEN = "(hidden)"
"""Stands where a credential is left out."""

_NEW_SECRET_BYTES = 32


def new_secret() -> str:
    """A new shared secret: `whsec_` and 32 random bytes in base64."""
    return SHARED_PREFIX + base64.b64encode(os.urandom(_NEW_SECRET_BYTES)).decode()
