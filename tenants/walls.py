"""Migration operations that raise the wall between tenants: forced row-level security."""

from __future__ import annotations

from django.db import migrations

MINE = "(SELECT NULLIF(current_setting('propius.tenant', true), '')::uuid)"


def protect(
    table: str, *, condition: str = f"tenant_id = {MINE}", writable: str = ""
) -> migrations.RunSQL:
    """Show rows of ``table`` to the app role only where ``condition`` holds.

    ``writable`` narrows what may be written (default: the same condition). Owner and system
    roles see all; the owner is under the policies too, so nothing escapes by ownership.
    """
    return migrations.RunSQL(
        sql=f"""
            ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
            ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
            CREATE POLICY tenant_wall ON {table} TO propius_app
                USING ({condition}) WITH CHECK ({writable or condition});
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
