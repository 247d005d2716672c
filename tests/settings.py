"""The test settings: the real ones, with the addresses of an embedded stack where the environment gives none.

pytest-django reads the settings before any conftest.py, so the addresses are chosen here. The fixtures of conftest.py
start each server when the first test needs it.
"""

import os
import tempfile
import uuid
from pathlib import Path

from recart_hooks.stack import Stack

os.environ.setdefault("SECRET_KEY", "only-for-tests")
os.environ.setdefault("ENCRYPTION_KEYS", "dGVzdHMtdGVzdHMtdGVzdHMtdGVzdHMtdGVzdHMtMTI=")
os.environ.setdefault("ALLOWED_HOSTS", "testserver,localhost,127.0.0.1")
for limit in ("API_RATE_LIMIT", "API_PUBLISH_RATE_LIMIT", "API_TEST_RATE_LIMIT"):
    os.environ.setdefault(limit, "none")

# Each worker of pytest-xdist has its own servers. It must drop the addresses that it inherits from the main process.
worker = os.environ.get("PYTEST_XDIST_WORKER", "")
chosen_by, *chosen = os.environ.get("TEST_SERVERS", worker).split(",")
if chosen_by != worker:
    for name in chosen:
        del os.environ[name]

# The directory is not created here: processes that tests start read this file too, and some of them are killed.
stack = Stack(Path(tempfile.gettempdir(), f"recart-hooks-tests-{uuid.uuid4().hex}"), durable=False)
ours = [name for name in stack.environment if not os.environ.get(name)]
os.environ.update(stack.environment, TEST_SERVERS=",".join((worker, *ours)))

from recart_hooks.settings import *  # noqa: E402, F403 - these settings read the environment
