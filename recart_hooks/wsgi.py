"""The entry point of the web process: `gunicorn recart_hooks.wsgi`."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "recart_hooks.settings")
application = get_wsgi_application()
