"""Migrations add, fill, enforce, in steps: what runs of the version before goes on working."""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.db import migrations, models

BASE_DIR = Path(__file__).resolve().parents[2]
APPS = ("core", "tenants", "clients", "jobs", "scheduling", "aggregation")
TAKEN_AWAY = (
    migrations.RemoveField, migrations.DeleteModel, migrations.RenameField,
    migrations.RenameModel, migrations.AlterModelTable,
)  # fmt: skip
SQL_TAKES_AWAY = re.compile(
    r"DROP\s+(COLUMN|TABLE|SCHEMA)|\bRENAME\b|SET\s+NOT\s+NULL|ALTER\s+COLUMN\s+\w+\s+TYPE",
    re.IGNORECASE,
)
BEFORE_THE_FIRST_RELEASE = {
    # A default that only this version's Python knows: the version before cannot insert a row.
    "jobs.0004_buffers", "jobs.0008_set_aside", "jobs.0009_quarantine",
    "jobs.0010_holdout_key",
}  # fmt: skip


def written() -> Iterator[tuple[str, Any]]:
    """Each migration after its app's first, and each operation in it."""
    for app in APPS:
        for file in sorted((BASE_DIR / app / "migrations").glob("0*.py")):
            module = importlib.import_module(f"{app}.migrations.{file.stem}")
            if not getattr(module.Migration, "initial", False):
                for operation in module.Migration.operations:
                    yield f"{app}.{file.stem}", operation


def fault(operation: Any) -> str:
    """Say how an operation would stop what runs of the version before; empty if it does not."""
    if isinstance(operation, TAKEN_AWAY):
        return "takes away or renames what the version before still asks for"
    if isinstance(operation, migrations.AddField):
        field = operation.field
        if not (field.null or field.many_to_many or field.has_db_default()):
            return "wants a value that the version before does not write: null or db_default first"
    if isinstance(operation, migrations.AlterField):
        field = operation.field
        # Choices are checked by Django alone: the column stays as it is.
        if not (field.null or field.choices or field.has_db_default()):
            return "may forbid what the version before writes"
    if isinstance(operation, migrations.RunSQL) and SQL_TAKES_AWAY.search(str(operation.sql)):
        return "its SQL takes away, renames or enforces"
    return ""


def test_what_runs_of_the_version_before_goes_on_through_every_migration() -> None:
    found = {where: text for where, operation in written() if (text := fault(operation))}
    known = [found.pop(where, None) for where in BEFORE_THE_FIRST_RELEASE]
    assert found == {}
    assert all(known)


def test_it_tells_the_steps_that_do_not_go_together() -> None:
    number = models.IntegerField
    wrong = [
        migrations.RemoveField("job", "name"),
        migrations.RenameField("job", "name", "title"),
        migrations.DeleteModel("job"),
        migrations.AddField("job", "size", number(default=0)),
        migrations.AlterField("job", "size", number()),
        migrations.RunSQL("ALTER TABLE jobs_job DROP COLUMN name"),
        migrations.RunSQL("ALTER TABLE jobs_job ALTER COLUMN name SET NOT NULL"),
    ]
    assert [one for one in wrong if not fault(one)] == []
    right = [
        migrations.AddField("job", "size", number(null=True)),
        migrations.AddField("job", "size", number(db_default=0)),
        migrations.RunSQL("CREATE POLICY p ON jobs_job USING (true)"),
    ]
    assert [one for one in right if fault(one)] == []
