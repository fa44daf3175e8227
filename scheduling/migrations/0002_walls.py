from django.db import migrations

from tenants.walls import MINE

TABLE = "scheduling_tenantshare"


class Migration(migrations.Migration):
    """A tenant may read its share; only the platform writes it."""

    dependencies = [("scheduling", "0001_initial"), ("tenants", "0002_walls")]
    operations = [
        migrations.RunSQL(
            sql=f"""
                ALTER TABLE {TABLE} ENABLE ROW LEVEL SECURITY;
                ALTER TABLE {TABLE} FORCE ROW LEVEL SECURITY;
                CREATE POLICY tenant_wall ON {TABLE} FOR SELECT TO propius_app
                    USING (tenant_id = {MINE});
                CREATE POLICY whole_platform ON {TABLE} TO propius_system, propius_owner
                    USING (true) WITH CHECK (true);
            """,
            reverse_sql=f"""
                DROP POLICY whole_platform ON {TABLE};
                DROP POLICY tenant_wall ON {TABLE};
                ALTER TABLE {TABLE} NO FORCE ROW LEVEL SECURITY;
                ALTER TABLE {TABLE} DISABLE ROW LEVEL SECURITY;
            """,
        )
    ]
