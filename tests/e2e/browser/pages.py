"""Every page, from the URL table: what a new path needs to be looked at, or why it is no page."""

from __future__ import annotations

from django.apps import apps

from tests.e2e.browser.stage import Stage
from tests.integration.access.matrix import ROWS, routes

NO_PAGES = {
    # "api/v1/docs/" is none of ours either: Swagger UI, a third party's page.
    "usage.csv": "a file",
    "admin/login/": "who is signed in is sent on; the door itself is looked at by the tasks",
    "admin/logout/": "it is posted to",
    "admin/password_change/done/": "a word of thanks after a form",
    "admin/autocomplete/": "JSON for a field",
    "admin/search/": "a fragment of the theme's search",
    "admin/jsi18n/": "a script",
    "admin/r/<path:content_type_id>/<path:object_id>/": "sends on to another page",
    "admin/scheduling/sharingpolicy/preview-first/": "sends on to the form",
    "admin/scheduling/sharingpolicy/preview/<uuid:preview_id>/": "looked at once it is asked for",
    "admin/auth/user/<id>/password/": "Django's form, as of the other users' passwords",
}
CONSOLE_APPS = ("", "auth", "tenants", "clients", "jobs", "scheduling", "aggregation")
ALIKE = ("/history/", "/delete/")
"""Django's own pages for each model, alike but for its name: one of each is enough."""
ONE_OF_EACH = "auth/user"


def of_tenants() -> list[str]:
    """The paths of the pages for tenants (the matrix has a row for every path)."""
    ours = [one for one, row in ROWS.items() if "GET" in row and not one.startswith("api/")]
    return sorted(set(ours) - NO_PAGES.keys())


def address(route: str, stage: Stage) -> str:
    """The address of a page for tenants."""
    path = "/" + route
    arguments = {
        "<uuid:job_id>": stage.running,
        "<uuid:device_id>": stage.device,
        "<uuid:assignment_id>": stage.task,
    }
    for name, value in arguments.items():
        path = path.replace(name, value)
    assert "<" not in path, f"{route}: say what stands for its argument"
    return path + {"join/": f"?invitation={stage.invitation}"}.get(route, "")


def in_console(app: str, stage: Stage) -> list[str]:
    """The addresses of the console's pages of an app; "" has those of none."""
    found = []
    for one in routes():
        alike = one.endswith(ALIKE) and ONE_OF_EACH not in one
        resent = one.endswith("<path:object_id>/") or "(?P" in one
        if one.startswith("admin/") and not alike and not resent and one not in NO_PAGES:
            parts = one.split("/")
            if app == (parts[1] if parts[1] in CONSOLE_APPS else ""):
                found += _of_a_row(one, stage)
    return found


def _of_a_row(route: str, stage: Stage) -> list[str]:
    """The address of a page, of the newest row if it is one's; none if there is no row."""
    if "<" not in route:
        return ["/" + route]
    _, app, model, *_ = route.split("/")
    meta = apps.get_model(app, model)._meta
    key = meta.pk.column
    rows = stage.fleet.rows(f"SELECT {key} FROM {meta.db_table} ORDER BY {key} DESC LIMIT 1")
    path = "/" + route
    for name in ("<path:object_id>", "<int:row_id>"):
        path = path.replace(name, str(rows[0][0]) if rows else "-")
    assert "<" not in path, f"{route}: say what stands for its argument"
    return [path] if rows else []
