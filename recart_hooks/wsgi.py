"""The entry point of the web process: `gunicorn recart_hooks.wsgi`."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "recart_hooks.settings")
application = get_wsgi_application()

from delivery.metrics.server import serve_process  # noqa: E402 - Django is set up now

serve_process("web")
