"""The Celery app: a hint carrier. What must happen is in rows, found again by the sweeps."""

import os

from celery import Celery
from celery.signals import worker_process_init

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "propius_site.settings")

from django.conf import settings

from propius_site import environment

app = Celery("propius")
app.conf.update(
    broker_url=environment.broker_url(settings.REDIS_URL),
    broker_transport_options={
        "global_keyprefix": "propius:celery:",
        # A hint lost with its worker comes back by a sweep within a second; redelivery of an
        # old one would only repeat work.
        "visibility_timeout": 3600,
        "socket_keepalive": not settings.REDIS_URL.startswith("unix:"),
        "health_check_interval": 10,
        "socket_connect_timeout": 3,
        "socket_timeout": 15,
        "retry_on_timeout": True,
    },
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_pool_limit=4,
    result_backend=None,
    task_ignore_result=True,
    task_store_errors_even_if_ignored=False,
    # Tasks claim rows and are safe to repeat.
    task_acks_late=True,
    task_reject_on_worker_lost=False,
    worker_prefetch_multiplier=1,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    task_serializer="json",
    accept_content=["json"],
    task_default_queue="batch",
    task_create_missing_queues=True,
    timezone="UTC",
    beat_max_loop_interval=1,
    beat_schedule_filename=str(settings.PROPIUS_HOME / "run" / "beat-schedule"),
    beat_schedule={
        # expires: a sweep that waited longer than its period has a successor in the queue.
        "scheduling.sweep": {
            "task": "scheduling.sweep",
            "schedule": 1.0,
            "options": {"queue": "scheduling", "expires": 2.0},
        },
        "scheduling.sample": {
            "task": "scheduling.sample",
            "schedule": 20.0,
            "options": {"queue": "batch", "expires": 20.0},
        },
        "aggregation.sweep": {
            "task": "aggregation.sweep",
            "schedule": 1.0,
            "options": {"queue": "aggregation", "expires": 2.0},
        },
        "tenants.sweep": {
            "task": "tenants.sweep",
            "schedule": 600.0,
            "options": {"queue": "batch", "expires": 600.0},
        },
        "tenants.webhooks": {
            "task": "tenants.webhooks",
            "schedule": 2.0,
            "options": {"queue": "batch", "expires": 4.0},
        },
        "clients.census": {
            "task": "clients.census",
            "schedule": 5.0,
            "options": {"queue": "batch", "expires": 10.0},
        },
        "aggregation.roll_up": {
            "task": "aggregation.roll_up",
            "schedule": 600.0,
            "options": {"queue": "batch", "expires": 600.0},
        },
        "aggregation.scrub": {
            "task": "aggregation.scrub",
            "schedule": 1800.0,
            "options": {"queue": "batch", "expires": 1800.0},
        },
        "aggregation.collect": {
            "task": "aggregation.collect",
            "schedule": 600.0,
            "options": {"queue": "batch", "expires": 600.0},
        },
    },
)
app.autodiscover_tasks()


@worker_process_init.connect
def drop_inherited_pool(**_: object) -> None:
    """A connection pool's threads do not survive a fork; the child opens its own."""
    from django.db.backends.postgresql.base import DatabaseWrapper

    DatabaseWrapper._connection_pools.clear()  # type: ignore[attr-defined]
