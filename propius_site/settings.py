"""All settings. The environment changes them; README lists the variables."""

import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.templatetags.static import static

from propius_site import environment

BASE_DIR = Path(__file__).resolve().parent.parent
PROPIUS_ENV = environment.choice(
    os.environ, "PROPIUS_ENV", "development", ("development", "production")
)
PRODUCTION = PROPIUS_ENV == "production"
if PRODUCTION:
    environment.check_production(os.environ)

# Where things are -------------------------------------------------------------------------------
PROPIUS_HOME = environment.home(os.environ, BASE_DIR)
PROPIUS_BIND = os.environ.get("PROPIUS_BIND", "127.0.0.1")
PROPIUS_WEB_PORT = environment.port(os.environ, "PROPIUS_WEB_PORT", 8000)
PROPIUS_GATEWAY_PORT = environment.port(os.environ, "PROPIUS_GATEWAY_PORT", 8001)
PROPIUS_PUBLIC_URL = os.environ.get("PROPIUS_PUBLIC_URL", f"http://127.0.0.1:{PROPIUS_WEB_PORT}")
PROPIUS_GATEWAY_URL = os.environ.get(
    "PROPIUS_GATEWAY_URL", f"ws://127.0.0.1:{PROPIUS_GATEWAY_PORT}/"
)
# Where a reverse proxy serves $PROPIUS_HOME/blobs internally; empty: this process sends them.
PROPIUS_X_ACCEL_PREFIX = environment.path_prefix(os.environ, "PROPIUS_X_ACCEL_PREFIX")

# Security ---------------------------------------------------------------------------------------
SECRET_KEY = os.environ.get("PROPIUS_SECRET_KEY", environment.DEVELOPMENT_SECRET)
SECRET_KEY_FALLBACKS = environment.secrets(os.environ, "PROPIUS_SECRET_KEY_FALLBACKS")
DEBUG = False  # error pages never show settings; the development log shows the traceback
_public = urlsplit(PROPIUS_PUBLIC_URL)
ALLOWED_HOSTS = [_public.hostname or "localhost", "localhost", "127.0.0.1", "[::1]"]
CSRF_TRUSTED_ORIGINS = [f"{_public.scheme}://{_public.netloc}"]
if not PRODUCTION and not environment.is_loopback(PROPIUS_BIND):
    ALLOWED_HOSTS = ["*"]  # a developer's own network
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _public.scheme == "https"
SESSION_COOKIE_HTTPONLY = True
# No SECURE_PROXY_SSL_HEADER: whoever reaches the port could say it. uvicorn believes the proxies in
# FORWARDED_ALLOW_IPS alone, and tells Django by the request's scheme.
SECURE_HSTS_SECONDS = 31_536_000 if PRODUCTION and _public.scheme == "https" else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = True  # of the site's own host name
SECURE_SSL_REDIRECT = PRODUCTION and _public.scheme == "https"
# HSTS preload: only the owner of the whole domain may put it on the browsers' list.
SILENCED_SYSTEM_CHECKS = ["security.W021"]
X_FRAME_OPTIONS = "DENY"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("MinimumLengthValidator", "CommonPasswordValidator", "NumericPasswordValidator")
]

# Parts ------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "propius_site",
    "core",
    "tenants",
    "clients",
    "jobs",
    "scheduling",
    "aggregation",
    "gateway",
    "frontend",
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_htmx",
    "channels",
]
MIDDLEWARE = [
    "core.middleware.RequestOrigin",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "frontend.middleware.CompressedPages",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "tenants.middleware.OperatorScope",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "core.middleware.ApiHeaders",
    "django_htmx.middleware.HtmxMiddleware",
    "frontend.middleware.ContentSecurityPolicy",
    "frontend.middleware.TooManyPage",
    "core.middleware.ReadableRequest",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
ROOT_URLCONF = "propius_site.urls"
ASGI_APPLICATION = "propius_site.asgi.web"
AUTHENTICATION_BACKENDS = ["tenants.sign_in.ThrottledBackend"]
LOGIN_URL = "frontend:sign-in"
LOGIN_REDIRECT_URL = "/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
USE_I18N = False
FORMAT_MODULE_PATH = "propius_site.formats"

# Postgres ---------------------------------------------------------------------------------------
PROPIUS_DB_ROLE = environment.choice(os.environ, "PROPIUS_DB_ROLE", "app", environment.ROLES)
_database = environment.database(os.environ, PROPIUS_HOME, PROPIUS_DB_ROLE)
# Django opens the pool at the first query, so after the fork; celery.py drops an inherited one.
_database["OPTIONS"]["pool"] = {"min_size": 1, "max_size": 12, "timeout": 10}
DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "ATOMIC_REQUESTS": True,
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": True,  # a pooled connection may have died with its server
        **_database,
    }
}

# Redis ------------------------------------------------------------------------------------------
REDIS_URL = environment.redis_url(os.environ, PROPIUS_HOME)

# REST -------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "tenants.authentication.TokenAuthentication",
        "tenants.authentication.MemberSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["tenants.permissions.HasScope"],
    "DEFAULT_THROTTLE_CLASSES": ["tenants.throttling.CallerRate"],
    "DEFAULT_PAGINATION_CLASS": "core.pagination.CursorPages",
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["core.parsing.StrictJson"],
    "DEFAULT_SCHEMA_CLASS": "propius_site.openapi.Schema",
    "EXCEPTION_HANDLER": "core.problems.exception_handler",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
    "PAGE_SIZE": 50,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Propius",
    "DESCRIPTION": "Many tenants train many models on one shared fleet of devices.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "propius_site.openapi.complete",
    ],
    "ENUM_NAME_OVERRIDES": {
        "ArtifactStatus": "jobs.models.Artifact.Status",
        "DeviceStatus": "clients.models.Device.Status",
        "JobStatus": "jobs.models.Job.Status",
        "JobOutcome": "jobs.models.Job.Outcome",
        "RoundStatus": "jobs.models.Round.Status",
        "RoundOutcome": "jobs.models.Round.Outcome",
        "RoundKind": "jobs.models.Round.Kind",
    },
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}
UNFOLD = {
    "SITE_TITLE": "Propius",
    "SITE_HEADER": "Propius operator",
    "SHOW_BACK_BUTTON": True,
    "ENVIRONMENT": "jobs.admin.banner",
    "DASHBOARD_CALLBACK": "propius_site.console_front.context",
    "SIDEBAR": {"navigation": "propius_site.console_menu.groups"},
    "STYLES": [lambda request: static("frontend/console.css")],
    "SITE_ICON": lambda request: static("frontend/mark.svg"),
    # The dashboard's green, from its softest to its darkest.
    "COLORS": {
        "primary": {
            "50": "#eef7f5", "100": "#d6ebe6", "200": "#b2dcd3", "300": "#8ad4c4",
            "400": "#63cdb8", "500": "#2f9c88", "600": "#00695c", "700": "#00574c",
            "800": "#00463d", "900": "#173a34", "950": "#0b2420",
        }
    },
}  # fmt: skip

# Static files -----------------------------------------------------------------------------------
STATIC_URL = "static/"
# In development files come straight from the packages: no collectstatic for a newcomer.
STATIC_ROOT = PROPIUS_HOME / "static" if PRODUCTION else None
WHITENOISE_USE_FINDERS = not PRODUCTION
WHITENOISE_AUTOREFRESH = False
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": (
            "whitenoise.storage.CompressedManifestStaticFilesStorage"
            if PRODUCTION
            else "django.contrib.staticfiles.storage.StaticFilesStorage"
        )
    },
}

# Logs -------------------------------------------------------------------------------------------
LOG_FORMAT = environment.choice(
    os.environ, "PROPIUS_LOG_FORMAT", "json" if PRODUCTION else "text", ("json", "text")
)
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "fmt": "%(asctime)s %(levelname)s %(name)s %(message)s",
            "rename_fields": {"asctime": "at", "levelname": "level", "message": "event"},
        },
        "text": {"()": "propius_site.logs.TextFormatter"},
    },
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "stream": sys.stderr, "formatter": LOG_FORMAT}
    },
    "root": {"handlers": ["stderr"], "level": os.environ.get("PROPIUS_LOG_LEVEL", "INFO")},
    # Django's own handlers mail admins and print only in DEBUG; ours write every record once.
    "loggers": {"django": {"handlers": [], "level": "INFO", "propagate": True}},
}
