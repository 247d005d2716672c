"""The Celery application follows our settings."""

import os
import subprocess
import sys

_SCRIPT = """
from django.conf import settings
from recart_hooks.celery import app
urls = {app.conf.broker_url, app.conf.broker_read_url, app.conf.broker_write_url}
print(urls == {settings.BROKER_URL}, app.conf.result_backend)
"""


def test_celerys_own_variables_send_no_process_to_another_broker() -> None:
    names = ("BROKER_URL", "BROKER_READ_URL", "BROKER_WRITE_URL", "RESULT_BACKEND")
    others = {f"CELERY_{name}": "redis://another" for name in names}

    said = subprocess.check_output([sys.executable, "-c", _SCRIPT], env={**os.environ, **others}, text=True)

    assert said == "True delivery.results:FailuresBackend\n"
