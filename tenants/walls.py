"""Migration operations that raise the wall between tenants: forced row-level security."""

from __future__ import annotations

from django.db import migrations

MINE = "(SELECT NULLIF(current_setting('propius.tenant', true), '')::uuid)"


def protect(table: str, *, condition: str = f"tenant_id = {MINE}") -> migrations.RunSQL:
    """Let the app role see and write rows of ``table`` only where ``condition`` holds.

    Owner and system roles see all; the owner is under the policies too, so nothing escapes by
    ownership.
    """
    return migrations.RunSQL(
        sql=f"""
            ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
            ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
            CREATE POLICY tenant_wall ON {table} TO propius_app
                USING ({condition}) WITH CHECK ({condition});
            CREATE POLICY whole_platform ON {table} TO propius_system, propius_owner
                USING (true) WITH CHECK (true);
        """,
        reverse_sql=f"""
            DROP POLICY whole_platform ON {table};
            DROP POLICY tenant_wall ON {table};
            ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY;
            ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;
        """,
    )


def show(table: str, *, name: str, condition: str) -> migrations.RunSQL:
    """Let the app role also read, and only read, rows of a protected table."""
    return migrations.RunSQL(
        sql=f"CREATE POLICY {name} ON {table} FOR SELECT TO propius_app USING ({condition});",
        reverse_sql=f"DROP POLICY {name} ON {table};",
    )


def append_only(table: str) -> migrations.RunSQL:
    """Let the app role read and add rows of a protected table, but change and delete none."""
    mine = f"tenant_id = {MINE}"
    return migrations.RunSQL(
        sql=f"""
            DROP POLICY tenant_wall ON {table};
            CREATE POLICY tenant_wall ON {table} FOR SELECT TO propius_app USING ({mine});
            CREATE POLICY tenant_adds ON {table} FOR INSERT TO propius_app WITH CHECK ({mine});
        """,
        reverse_sql=f"""
            DROP POLICY tenant_adds ON {table};
            DROP POLICY tenant_wall ON {table};
            CREATE POLICY tenant_wall ON {table} TO propius_app
                USING ({mine}) WITH CHECK ({mine});
        """,
    )


def read_only(table: str) -> migrations.RunSQL:
    """Let the app role read a tenant's rows of a protected table, but write none."""
    mine = f"tenant_id = {MINE}"
    return migrations.RunSQL(
        sql=f"""
            DROP POLICY tenant_wall ON {table};
            CREATE POLICY tenant_wall ON {table} FOR SELECT TO propius_app USING ({mine});
        """,
        reverse_sql=f"""
            DROP POLICY tenant_wall ON {table};
            CREATE POLICY tenant_wall ON {table} TO propius_app
                USING ({mine}) WITH CHECK ({mine});
        """,
    )
