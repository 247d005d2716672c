"""The Django settings. Every value that an operator may change comes from the environment (see .env.example)."""

from datetime import timedelta
from pathlib import Path

from partners.addresses import DEFAULT_PORTS, DEFAULT_SCHEMES
from partners.exact_json import EVENT_LIMITS
from recart_hooks.addresses import check_broker, database_from_url
from recart_hooks.env import Env
from recart_hooks.rest import rest_framework_settings, spectacular_settings

VERSION = "0.1.0"
BASE_DIR = Path(__file__).resolve().parent.parent

env = Env()

DEBUG = env.boolean("DEBUG", False)
SECRET_KEY = env.text("SECRET_KEY", "only-for-development" if DEBUG else None)
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", ("localhost", "127.0.0.1", "[::1]") if DEBUG else ())
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS")
PUBLIC_URL = env.text("PUBLIC_URL", "http://localhost:8000").rstrip("/")

# Fernet keys, newest first: the first encrypts, all of them decrypt (partners/encryption.py is the one reader).
ENCRYPTION_KEYS = env.words("ENCRYPTION_KEYS", ("b25seS1mb3ItZGV2ZWxvcG1lbnQtMzItYnl0ZXMtISE=",) if DEBUG else ())

# Our own ed25519 keys, newest first: each also signs every request, as `v1a` (delivery/own_keys.py).
SIGNING_KEYS = env.words("SIGNING_KEYS")

DATABASES = {
    "default": database_from_url(env.text("DATABASE_URL", "postgresql://postgres@localhost:5432/recart_hooks"))
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

BROKER_URL = env.text("BROKER_URL", "fair://localhost:6379/0")
BROKER_MASTER_NAME = env.text("BROKER_MASTER_NAME", "")
check_broker(BROKER_URL, BROKER_MASTER_NAME)
NATS_URL = env.text("NATS_URL", "nats://localhost:4222")
NATS_STREAM = env.text("NATS_STREAM", "EVENTS")
NATS_SUBJECTS = env.words("NATS_SUBJECTS", ("events.>",))
NATS_STREAM_KEPT_DAYS = env.days("NATS_STREAM_KEPT_DAYS", 7)  # if the bridge creates the stream
NATS_CONSUMER = env.text("NATS_CONSUMER", "recart-hooks")

# Ingest
BRIDGE_BATCH_SIZE = env.integer("BRIDGE_BATCH_SIZE", 500, minimum=1)
EVENT_MAX_BYTES = env.integer("EVENT_MAX_BYTES", 256 * 1024, minimum=1024, maximum=EVENT_LIMITS.max_bytes)
UNKNOWN_EVENT_TYPES = env.choice("UNKNOWN_EVENT_TYPES", ("deliver", "refuse"), "deliver")

# One attempt
DELIVERY_SENDER = env.choice("DELIVERY_SENDER", ("requests", "curl"), "curl")
DELIVERY_TIMEOUT_S = env.seconds("DELIVERY_TIMEOUT_S", 15, minimum=1, maximum=30)  # of a new subscription
DELIVERY_CONNECT_TIMEOUT_S = env.seconds("DELIVERY_CONNECT_TIMEOUT_S", 5)
RETRY_SCHEDULE_S = env.many_seconds("RETRY_SCHEDULE_S", ())  # empty: delivery.retries.DEFAULT_SCHEDULE_S
RETRY_AFTER_CAP_S = env.seconds("RETRY_AFTER_CAP_S", 24 * 3600)
DEFAULT_MAX_IN_FLIGHT = env.integer("DEFAULT_MAX_IN_FLIGHT", 16, minimum=1, maximum=1000)  # of a new partner
SECRET_OVERLAP_S = env.seconds("SECRET_OVERLAP_S", 24 * 3600)

WORKER_CONCURRENCY = env.integer("WORKER_CONCURRENCY", 1024, minimum=1)

# The web process (gunicorn_config.py)
WEB_BIND = env.text("WEB_BIND", "127.0.0.1:8000")
WEB_PROCESSES = env.integer("WEB_PROCESSES", 2, minimum=1)
WEB_THREADS = env.integer("WEB_THREADS", 8, minimum=1)

# The API. Limits per key, such as 600/m; `none`: no limit.
API_RATE_LIMITS = {
    "default": env.request_rate("API_RATE_LIMIT", "1200/m"),
    "publish": env.request_rate("API_PUBLISH_RATE_LIMIT", "6000/m"),
    "test": env.request_rate("API_TEST_RATE_LIMIT", "60/m"),
}
API_BODY_MAX_BYTES = env.integer("API_BODY_MAX_BYTES", 10 * 1024 * 1024, minimum=1024)
SUBSCRIPTIONS_MAX = env.integer("SUBSCRIPTIONS_MAX", 1000, minimum=1)  # of one partner

# Flower (flower_app.py)
FLOWER_ADDRESS = env.text("FLOWER_ADDRESS", "127.0.0.1")
FLOWER_PORT = env.port("FLOWER_PORT", 5555)
FLOWER_USER = env.text("FLOWER_USER", "flower")
FLOWER_PASSWORD = env.text("FLOWER_PASSWORD", "")  # Flower does not start without one
FLOWER_STATE_FILE = env.text("FLOWER_STATE_FILE", "")  # empty: it forgets everything when it ends
FLOWER_TASK_EVENTS = env.boolean("FLOWER_TASK_EVENTS", True)  # whether it asks the workers for task events
FLOWER_EVENTS_PER_S = env.integer("FLOWER_EVENTS_PER_S", 50, minimum=1)  # successes that each worker process shows
FLOWER_URL = env.text("FLOWER_URL", "")  # where staff find Flower; empty: the admin does not link to it

BEAT_SCHEDULE_FILE = env.text("BEAT_SCHEDULE_FILE", "celerybeat-schedule")  # beat's record of when tasks were started

# Retention (delivery/retention). Pending deliveries are kept whatever their age.
ATTEMPTS_KEPT_DAYS = env.days("ATTEMPTS_KEPT_DAYS", 30)
DELIVERIES_KEPT_DAYS = env.days("DELIVERIES_KEPT_DAYS", 30)
EVENTS_KEPT_DAYS = env.days("EVENTS_KEPT_DAYS", 30)
MINUTES_KEPT_DAYS = env.days("MINUTES_KEPT_DAYS", 14)  # roll-ups
HOURS_KEPT_DAYS = env.days("HOURS_KEPT_DAYS", 400)  # roll-ups
DEAD_LETTERS_KEPT_DAYS = env.days("DEAD_LETTERS_KEPT_DAYS", 90)
OPERATIONAL_EVENTS_KEPT_DAYS = env.days("OPERATIONAL_EVENTS_KEPT_DAYS", 365)
RESULTS_KEPT_DAYS = env.days("RESULTS_KEPT_DAYS", 7)
ARCHIVE_HOOK = env.text("ARCHIVE_HOOK", "")  # package.module.function: receives rows before they are removed

# Operational events: what partners and staff are told
DISABLE_AFTER_S = env.seconds("DISABLE_AFTER_S", 5 * 24 * 3600)  # with nothing but failures
TRIAL_EVERY_HOURS = env.integer("TRIAL_EVERY_HOURS", 0, minimum=0, maximum=24 * 365)  # of those it disabled; 0: never
OPERATIONAL_QUIET_S = env.seconds("OPERATIONAL_QUIET_S", 3600)  # between two of one kind about the same thing
OPERATIONAL_BACKLOG_S = env.seconds("OPERATIONAL_BACKLOG_S", 600)  # of sending at the rate limit
OPERATIONAL_EMAILS = env.words("OPERATIONAL_EMAILS")  # of staff
EMAIL_HOST = env.text("EMAIL_HOST", "")  # empty: no e-mail is sent
EMAIL_PORT = env.port("EMAIL_PORT", 587)
EMAIL_HOST_USER = env.text("EMAIL_HOST_USER", "")
EMAIL_HOST_PASSWORD = env.text("EMAIL_HOST_PASSWORD", "")
EMAIL_USE_TLS = env.boolean("EMAIL_USE_TLS", True)
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.text("EMAIL_FROM", "recart-hooks@localhost")

# Prometheus: web, bridge and worker processes each take the first free port from METRICS_PORT on (0: none).
METRICS_ADDRESS = env.text("METRICS_ADDRESS", "127.0.0.1")
METRICS_PORT = env.port("METRICS_PORT", 9400, minimum=0)
METRICS_PARTNERS = env.integer("METRICS_PARTNERS", 200, minimum=1)  # partners that a process names; the rest is `other`
METRICS_TOKEN = env.text("METRICS_TOKEN", "")  # required by the web's /metrics (recart_hooks/metrics.py)

# Tracing (delivery/tracing.py) is on if a collector is named. OpenTelemetry reads the other OTEL_* variables itself.
_COLLECTORS = env.text("OTEL_EXPORTER_OTLP_ENDPOINT", ""), env.text("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "")
TRACING = not env.boolean("OTEL_SDK_DISABLED", False) and any(_COLLECTORS)

# Where endpoints may be. The allow-list opens private networks (development, internal partners).
ENDPOINT_ALLOWED_NETWORKS = env.networks("ENDPOINT_ALLOWED_NETWORKS")
ENDPOINT_DENIED_NETWORKS = env.networks("ENDPOINT_DENIED_NETWORKS")  # public networks that are refused all the same
ENDPOINT_SCHEMES = env.words("ENDPOINT_SCHEMES", DEFAULT_SCHEMES)
ENDPOINT_PORTS = env.ports("ENDPOINT_PORTS", DEFAULT_PORTS)  # `any`: all of them
ENDPOINT_PROOF = env.boolean("ENDPOINT_PROOF", False)  # an endpoint must echo a challenge before it gets deliveries
ENDPOINT_CA_FILE = env.text("ENDPOINT_CA_FILE", "")

INSTALLED_APPS = [
    "recart_hooks",  # before Unfold: the project's own admin templates come first
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_celery_results",
    "axes",
    "partners",
    "delivery",
]

MIDDLEWARE = [
    "recart_hooks.request_ids.RequestIds",
    "recart_hooks.security.ContentSecurityPolicy",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "recart_hooks.security.NoNul",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "recart_hooks.security.StaffActor",
    "axes.middleware.AxesMiddleware",
]

# Sessions and transport. With an https PUBLIC_URL, plain HTTP is redirected to HTTPS.
IS_HTTPS = PUBLIC_URL.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = IS_HTTPS
SESSION_COOKIE_AGE = 12 * 3600
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if IS_HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = IS_HTTPS
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]  # requested internally, without TLS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env.boolean("BEHIND_TLS_PROXY", False) else None

# Admin logins: five failures of a name from one address lock both out together for 15 minutes.
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False

ROOT_URLCONF = "recart_hooks.urls"
WSGI_APPLICATION = "recart_hooks.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True
FORMAT_MODULE_PATH = "recart_hooks.formats"

STATIC_URL = "/static/"
STATIC_ROOT = Path(env.text("STATIC_ROOT", str(BASE_DIR / "static-root")))
WHITENOISE_USE_FINDERS = DEBUG

REST_FRAMEWORK = rest_framework_settings()
SPECTACULAR_SETTINGS = spectacular_settings(VERSION, PUBLIC_URL)

UNFOLD = {
    "SITE_TITLE": "Recart Hooks",
    "SITE_HEADER": "Recart Hooks",
    "SITE_SUBHEADER": "Times are in UTC",
    "SITE_SYMBOL": "webhook",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "recart_hooks.admin.navigation.favicon"}],
    "SITE_URL": None,
    "SHOW_VIEW_ON_SITE": False,
    "STYLES": ["recart_hooks.admin.navigation.stylesheet"],
    "SCRIPTS": ["recart_hooks.admin.navigation.script"],
    "DASHBOARD_CALLBACK": "delivery.admin.dashboard.index_context",
    "ENVIRONMENT": "recart_hooks.admin.navigation.environment",
    "SIDEBAR": {"show_search": True, "command_search": True, "navigation": "recart_hooks.admin.navigation.sidebar"},
    "COMMAND": {"search_callback": "recart_hooks.admin.navigation.find"},
    "COLORS": {
        "primary": {
            "50": "oklch(96.2% .018 272.314)",
            "100": "oklch(93% .034 272.788)",
            "200": "oklch(87% .065 274.039)",
            "300": "oklch(78.5% .115 274.713)",
            "400": "oklch(67.3% .182 276.935)",
            "500": "oklch(58.5% .233 277.117)",
            "600": "oklch(51.1% .262 276.966)",
            "700": "oklch(45.7% .24 277.023)",
            "800": "oklch(39.8% .195 277.366)",
            "900": "oklch(35.9% .144 278.697)",
            "950": "oklch(25.7% .09 281.288)",
        }
    },
}

LOG_LEVEL = env.choice("LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"), "INFO")
LOG_FORMAT = env.choice("LOG_FORMAT", ("json", "text"), "text" if DEBUG else "json")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {"()": "recart_hooks.logs.JsonFormatter"},
        "text": {"()": "recart_hooks.logs.TextFormatter"},
    },
    "filters": {"request_id": {"()": "recart_hooks.logs.RequestIdFilter"}},
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT, "filters": ["request_id"]},
    },
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        "django.server": {"handlers": ["stderr"], "level": LOG_LEVEL, "propagate": False},
        # delivery.attempt logs one line per attempt; Celery would add two more per task.
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
    },
}
