"""How gunicorn serves the web process. Read by `gunicorn --config python:recart_hooks.gunicorn_config`."""

from recart_hooks import settings

bind = settings.WEB_BIND
workers = settings.WEB_PROCESSES
threads = settings.WEB_THREADS
worker_class = "gthread"
preload_app = False  # each process opens its own connections
max_requests = 20_000  # a leak, ours or a library's, ends some day
max_requests_jitter = 2_000
graceful_timeout = 20
limit_request_line = 8190  # the most that gunicorn takes; what is longer never reaches the application
control_socket_disable = True  # nobody uses it, and it would be a file in the home directory
# gunicorn's own lines look like all others
logconfig_dict = {
    **settings.LOGGING,
    "loggers": {"gunicorn.error": {"handlers": ["stderr"], "level": settings.LOG_LEVEL, "propagate": False}},
}
