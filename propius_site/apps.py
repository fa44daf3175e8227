from django.apps import AppConfig


class PropiusSiteConfig(AppConfig):
    name = "propius_site"

    def ready(self) -> None:
        # Every process sends hints by name through Celery's current app, in any thread.
        from propius_site.celery import app

        app.set_default()
