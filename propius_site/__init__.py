"""The site: settings, URLs, ASGI, Celery and the process set."""
