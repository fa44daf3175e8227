"""The two ASGI applications, `web` and `gateway`; a process imports only the one it serves."""

import importlib.util
import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "propius_site.settings")


def _web() -> Any:
    import django
    from channels.auth import AuthMiddlewareStack
    from channels.routing import ProtocolTypeRouter, URLRouter
    from channels.security.websocket import AllowedHostsOriginValidator

    django.setup(set_prefix=False)  # before any app's import; each request sets the prefix
    websocket_urlpatterns: list[Any] = []
    if importlib.util.find_spec("frontend.routing"):
        websocket_urlpatterns = importlib.import_module("frontend.routing").websocket_urlpatterns
    from aggregation.transfer import DataPlane
    from propius_site.body_limit import WithBodyLimit
    from propius_site.handler import Handler
    from propius_site.health import WithHealth

    http: Any = Handler()
    sockets = AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(websocket_urlpatterns)))
    router = ProtocolTypeRouter({"http": WithBodyLimit(http), "websocket": sockets})
    # Before the limit on bodies: an update has its own, which its ticket says.
    return WithHealth(DataPlane(router))


def _gateway() -> Any:
    import django

    django.setup()
    from gateway.app import application
    from propius_site.health import WithHealth

    return WithHealth(application)


def __getattr__(name: str) -> Any:
    """Build the application that uvicorn asks for, and not the other."""
    builders = {"web": _web, "gateway": _gateway}
    if name not in builders:
        raise AttributeError(f"propius_site.asgi has no {name!r}")
    globals()[name] = application = builders[name]()
    return application
