"""Gunicorn's configuration: `gunicorn --config python:recart_hooks.gunicorn_config`."""

from recart_hooks import settings

bind = settings.WEB_BIND
workers = settings.WEB_PROCESSES
threads = settings.WEB_THREADS
worker_class = "gthread"
preload_app = False  # each process opens its own connections
max_requests = 20_000  # bounds memory leaks, ours or a library's
max_requests_jitter = 2_000
graceful_timeout = 20
limit_request_line = 8190  # gunicorn's maximum; it refuses longer requests itself
control_socket_disable = True  # unused, and it would create a file in the home directory
# gunicorn's own log lines have the same format as all others
logconfig_dict = {
    **settings.LOGGING,
    "loggers": {"gunicorn.error": {"handlers": ["stderr"], "level": settings.LOG_LEVEL, "propagate": False}},
}
