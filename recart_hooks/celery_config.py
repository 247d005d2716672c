"""Celery's settings, where they differ from its defaults or must not follow them."""

from django.conf import settings
from kombu import Queue

from delivery import publish

broker_url = settings.BROKER_URL
broker_connection_retry_on_startup = True
broker_connection_max_retries = None  # for ever: a worker survives an outage of its broker
broker_pool_acquire_timeout = 5
broker_transport_options = {
    "socket_keepalive": True,
    "health_check_interval": 10,
    "master_name": settings.BROKER_MASTER_NAME,  # if Sentinels are asked
}

task_queues = [Queue(name, routing_key=name) for name in (publish.EVERY_PARTNER, publish.MAINTENANCE)]
task_default_queue = publish.MAINTENANCE
task_create_missing_queues = False
task_acks_late = True
task_ignore_result = True
task_store_errors_even_if_ignored = True
accept_content = ["json"]  # the default, and it must stay so: pickle would execute what it reads

result_backend = "delivery.results:FailuresBackend"
result_expires = None  # maintenance.remove_old_results removes them in small steps
result_extended = True

worker_pool = "delivery.pool:TaskPool"
worker_concurrency = settings.WORKER_CONCURRENCY
worker_prefetch_multiplier = 1
worker_disable_rate_limits = True  # the broker's limits are exact
worker_hijack_root_logger = False
worker_soft_shutdown_timeout = 35  # after SIGQUIT; an attempt takes at most 30 s
worker_cancel_long_running_tasks_on_connection_loss = False  # as in Celery 5, not 6: leases outlive a connection
worker_enable_prefetch_count_reduction = False  # the broker itself counts tasks that outlive a connection

beat_scheduler = "recart_hooks.beat:Scheduler"
beat_schedule_filename = settings.BEAT_SCHEDULE_FILE
_every_s = {
    "reconcile": 10.0,
    "roll_up": 300.0,
    "watch_failing": 60.0,
    "tell_of_trouble": 60.0,
    "run_replays": 2.0,
    "remove_old_idempotency_keys": 3600.0,
    "remove_old": 300.0,
    "remove_old_results": 3600.0,
}
_waits_s = 7200  # then a task expires; long, because the clocks of beat and worker may differ by an hour
beat_schedule = {
    name: {"task": f"maintenance.{name}", "schedule": every_s, "options": {"expires": _waits_s}}
    for name, every_s in _every_s.items()
}
