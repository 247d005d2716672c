"""Makes signing secrets in the format of Standard Webhooks. delivery.signing parses and uses them."""

import base64
import os

SHARED_PREFIX = "whsec_"
HIDDEN = "(hidden)"
"""Written in place of a credential."""

_NEW_SECRET_BYTES = 32


def new_secret() -> str:
    """A new shared secret: `whsec_` and 32 random bytes in base64."""
    return SHARED_PREFIX + base64.b64encode(os.urandom(_NEW_SECRET_BYTES)).decode()
