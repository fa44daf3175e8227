"""Layers, checked by tools and not by hope."""

import subprocess
import sys
from pathlib import Path

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection

BASE_DIR = Path(__file__).resolve().parent.parent.parent
RANK = {
    "core": 0,
    "tenants": 1,
    "clients": 2,
    "jobs": 3,
    "scheduling": 4,
    "aggregation": 4,
    "gateway": 5,
    "frontend": 5,
}


def test_imports_run_downward() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=BASE_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_foreign_keys_point_down() -> None:
    upward = []
    for model in apps.get_models():
        own = model._meta.app_label
        for field in model._meta.get_fields():
            target = field.related_model
            if own not in RANK or not field.concrete or not field.is_relation or target is None:
                continue
            other = target._meta.app_label
            below = RANK.get(other, -1) < RANK[own]  # Django's own apps are below ours
            if other != own and not below:
                upward.append(f"{own}.{model.__name__}.{field.name} -> {other}")
    assert upward == []


@pytest.mark.django_db
def test_no_migration_is_missing() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=1)


@pytest.mark.django_db
def test_every_table_with_a_tenant_has_forced_row_level_security() -> None:
    tables = [
        model._meta.db_table
        for model in apps.get_models()
        if any(getattr(field, "column", None) == "tenant_id" for field in model._meta.fields)
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relname = ANY(%s) AND relkind = 'r' "
            "AND relrowsecurity AND relforcerowsecurity",
            [tables],
        )
        walled = {name for (name,) in cursor.fetchall()}
    assert set(tables) - walled == set()
    assert tables
