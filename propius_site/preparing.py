"""Bring a database to where the processes can start: roles, database, grants, migrations."""

import os
from collections.abc import Callable
from pathlib import Path

import psycopg
from psycopg import errors

from propius_site import roles
from propius_site.embedded import paths, postgres

Say = Callable[[str], None]


class NotPrepared(RuntimeError):
    """The database cannot be brought to where the processes can start."""


def roles_and_database(home: Path) -> None:
    """Create the roles and the database, embedded or at DATABASE_URL; safe to repeat.

    Raises
    ------
    NotPrepared
        With the statements that an administrator has to run.
    """
    url = os.environ.get("DATABASE_URL")
    if url:
        _external(url)
    else:
        _embedded(paths.for_home(home))


def _embedded(where: paths.Paths) -> None:
    with psycopg.connect(**postgres.conninfo(where), autocommit=True) as connection:  # type: ignore[arg-type]
        roles.create(connection, create_databases=True)
        found = connection.execute(
            "SELECT 1 FROM pg_database WHERE datname = %s", [paths.DATABASE]
        ).fetchone()
        if not found:
            connection.execute(f"CREATE DATABASE {paths.DATABASE} OWNER {roles.OWNER}".encode())


def _external(url: str) -> None:
    with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
        if connection.info.server_version < 150_000:
            raise NotPrepared(
                f"DATABASE_URL is PostgreSQL {connection.info.server_version // 10_000}: "
                "Propius needs 15 or later."
            )
        try:
            roles.create(connection, create_databases=False)
            for name, _ in roles.CREATE:
                connection.execute(f"GRANT {name} TO CURRENT_USER".encode())
            connection.execute(f"GRANT USAGE, CREATE ON SCHEMA public TO {roles.OWNER}".encode())
        except errors.InsufficientPrivilege as error:
            if not _usable(connection):
                raise NotPrepared(_instructions(connection.info.user)) from error


def _usable(connection: "psycopg.Connection[tuple[object, ...]]") -> bool:
    """Tell whether an administrator has made the roles and let this login use them."""
    try:
        for name, _ in roles.CREATE:
            connection.execute(f"SET ROLE {name}".encode())
        connection.execute(f"SET ROLE {roles.OWNER}".encode())
        row = connection.execute("SELECT has_schema_privilege('public', 'CREATE')").fetchone()
        connection.execute("RESET ROLE")
    except psycopg.Error:
        return False
    return bool(row and row[0])


def _instructions(login: str) -> str:
    lines = [f"CREATE ROLE {name} {attributes};" for name, attributes in roles.CREATE]
    lines += [f"GRANT {role} TO {member};" for role, member in roles.MEMBERSHIPS]
    lines += [f'GRANT {name} TO "{login}";' for name, _ in roles.CREATE]
    lines += [f"GRANT USAGE, CREATE ON SCHEMA public TO {roles.OWNER};"]
    return (
        f"The login {login!r} of DATABASE_URL may not create the roles that Propius works as. "
        "Have an administrator run this in the database once, then start again:\n  "
        + "\n  ".join(lines)
    )


def migrate(say: Say) -> None:
    """Apply the migrations and the grants; the process must work as the owner."""
    from django.core.management import call_command
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    with connection.cursor() as cursor:
        roles.grant(cursor)
    executor = MigrationExecutor(connection)
    pending = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    if pending:
        say(f"applying {pending} migrations")
        call_command("migrate", interactive=False, verbosity=0)
