"""The three Postgres roles and what each may touch; row-level security is in the migrations."""

from typing import Any, Protocol

OWNER, APP, SYSTEM = "propius_owner", "propius_app", "propius_system"


class Cursor(Protocol):
    """What both psycopg's and Django's connections offer."""

    def execute(self, query: Any, params: Any = None, /) -> Any: ...


CREATE = (
    (OWNER, "LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEROLE"),
    # NOINHERIT: it is the system role only where tenants.system_scope() says so.
    (APP, "LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB NOINHERIT"),
    (SYSTEM, "LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB"),
)

MEMBERSHIPS = (
    # The owner may become either (tests, one external login), without having their rights always.
    (APP, OWNER),
    (SYSTEM, OWNER),
    (SYSTEM, APP),
)


def create(cursor: Cursor, *, create_databases: bool) -> None:
    """Create the roles that are missing; needs CREATEROLE; safe to repeat."""
    for name, attributes in CREATE:
        cursor.execute(
            f"DO $$ BEGIN CREATE ROLE {name} {attributes}; "
            "EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
        )
    if create_databases:
        cursor.execute(f"ALTER ROLE {OWNER} CREATEDB")
    version = cursor.execute("SELECT current_setting('server_version_num')::int").fetchone()[0]
    # Before 16 inheritance is an attribute of the role, which APP has as NOINHERIT.
    how = " WITH INHERIT FALSE, SET TRUE" if version >= 160_000 else ""
    for role, member in MEMBERSHIPS:
        cursor.execute(f"GRANT {role} TO {member}{how}")


def grant(cursor: Cursor) -> None:
    """As the owner: let app and system use the tables that are there and those to come."""
    both = f"{APP}, {SYSTEM}"
    rows = "SELECT, INSERT, UPDATE, DELETE"
    for statement in (
        f"GRANT USAGE ON SCHEMA public TO {both}",
        f"GRANT {rows} ON ALL TABLES IN SCHEMA public TO {both}",
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {both}",
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT {rows} ON TABLES TO {both}",
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO {both}",
    ):
        cursor.execute(statement)
