"""Celery's settings, each with its reason where it differs from the default."""

from django.conf import settings
from kombu import Queue

broker_url = settings.BROKER_URL
broker_connection_retry_on_startup = True
broker_connection_max_retries = None  # for ever: a worker outlives its broker
broker_pool_acquire_timeout = 5
broker_transport_options = {
    "socket_timeout": 10,
    "socket_connect_timeout": 3,
    "socket_keepalive": True,
    "health_check_interval": 10,
}

task_queues = [Queue("partner.*", routing_key="partner.*"), Queue("maintenance", routing_key="maintenance")]
task_default_queue = "maintenance"
task_create_missing_queues = False
task_acks_late = True
task_reject_on_worker_lost = False
task_ignore_result = True
task_store_errors_even_if_ignored = True
task_serializer = result_serializer = "json"
accept_content = ["json"]

result_backend = "delivery.results:FailuresBackend"
result_expires = None  # maintenance.remove_old_results does it in small steps
result_extended = True

worker_pool = "delivery.pool:TaskPool"
worker_concurrency = settings.WORKER_CONCURRENCY
worker_prefetch_multiplier = 1
worker_disable_rate_limits = True
worker_send_task_events = False
worker_hijack_root_logger = False
worker_soft_shutdown_timeout = 35  # longer than the longest attempt
worker_enable_remote_control = True
worker_cancel_long_running_tasks_on_connection_loss = False
worker_enable_prefetch_count_reduction = False  # the broker counts the tasks that outlive a connection

beat_schedule_filename = settings.BEAT_SCHEDULE_FILE
beat_schedule = {
    "reconcile": {"task": "maintenance.reconcile", "schedule": 10.0, "options": {"expires": 30}},
    "roll-up": {"task": "maintenance.roll_up", "schedule": 300.0, "options": {"expires": 300}},
    "watch-failing": {"task": "maintenance.watch_failing", "schedule": 60.0, "options": {"expires": 60}},
    "tell-of-trouble": {"task": "maintenance.tell_of_trouble", "schedule": 60.0, "options": {"expires": 60}},
    "run-replays": {"task": "maintenance.run_replays", "schedule": 2.0, "options": {"expires": 5}},
    "remove-old-idempotency-keys": {
        "task": "maintenance.remove_old_idempotency_keys",
        "schedule": 3600.0,
        "options": {"expires": 3600},
    },
    "remove-old": {"task": "maintenance.remove_old", "schedule": 300.0, "options": {"expires": 300}},
    "remove-old-results": {"task": "maintenance.remove_old_results", "schedule": 3600.0, "options": {"expires": 3600}},
}
