"""Each alert has its entry in the runbook, and asks for metrics that there are."""

import re
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parents[2]
APPS = ("aggregation", "gateway", "jobs", "propius_site", "scheduling")


def test_each_alert_has_an_entry_and_each_entry_an_alert() -> None:
    alerts = re.findall(r"alert: (\w+)", (BASE_DIR / "docs" / "alerts.yml").read_text())
    runbook = (BASE_DIR / "docs" / "runbook.md").read_text().split("\n# Tasks")[0]
    assert re.findall(r"^## (\w+)$", runbook, re.MULTILINE) == alerts
    assert len(alerts) > 8
    for entry in re.split(r"^## ", runbook, flags=re.MULTILINE)[1:]:
        assert all(f"*{part}*" in entry for part in ("Means", "Look at", "Do")), entry[:20]


def test_alerts_ask_for_metrics_that_there_are() -> None:
    text = (BASE_DIR / "docs" / "alerts.yml").read_text()
    wanted = {one.removesuffix("_total") for one in re.findall(r"propius_\w+", text)}
    code = "".join(file.read_text() for app in APPS for file in (BASE_DIR / app).rglob("*.py"))
    assert {one for one in wanted if f'"{one}"' not in code} == set()


def test_each_place_of_the_console_that_the_runbook_names_is_there() -> None:
    from django.apps import apps
    from django.contrib import admin

    from core.admin import Revertible
    from propius_site import console_menu

    offered = {"Console": {"Now", *console_menu.titles()}}
    for title, model in console_menu.titles().items():
        page = admin.site._registry[apps.get_model(model)]
        actions = [getattr(page, one, None) for one in page.actions or ()]
        offered[title] = {one.short_description for one in actions if one is not None}
        offered[title] |= {"Add", "Change"}
        if isinstance(page, Revertible):
            offered[title] |= {"Choose again", "Lift", "Put back", "Raise", "Pause", "Roll back"}
    runbook = (BASE_DIR / "docs" / "runbook.md").read_text()
    named = re.findall(r"\*([^*→\n]+) → ([^*\n]+)\*", runbook)
    assert len(named) > 12
    assert [one for one in named if one[1] not in offered.get(one[0], ())] == []
