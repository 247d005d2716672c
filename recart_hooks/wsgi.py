"""The entry point of the web process: `gunicorn recart_hooks.wsgi`."""

import os
from typing import Any

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "recart_hooks.settings")
application = get_wsgi_application()

from django.db.backends.signals import connection_created  # noqa: E402 - Django is set up now

from delivery.metrics.server import serve_process  # noqa: E402
from partners.connections import bound_connection  # noqa: E402
from recart_hooks.checks import refuse_errors  # noqa: E402

refuse_errors()
serve_process("web")


@connection_created.connect
def _bound(**_: Any) -> None:
    """A server that has vanished must not keep this process's threads for ever."""
    bound_connection()
