from django.apps import AppConfig


class PropiusSiteConfig(AppConfig):
    name = "propius_site"
