from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured


class PropiusSiteConfig(AppConfig):
    name = "propius_site"

    def ready(self) -> None:
        from core import knobs
        from propius_site.celery import app

        try:
            knobs.get()
        except knobs.BadKnob as error:
            raise ImproperlyConfigured(str(error)) from error
        # Every process sends hints by name through Celery's current app, in any thread.
        app.set_default()
