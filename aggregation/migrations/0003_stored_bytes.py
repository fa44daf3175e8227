from django.db import migrations


class Migration(migrations.Migration):
    """Lets the layers below ask how much a tenant stores; under the asker's own walls."""

    dependencies = [("aggregation", "0002_walls")]
    operations = [
        migrations.RunSQL(
            sql="""
                CREATE VIEW tenants_stored_bytes WITH (security_invoker = true) AS
                SELECT tenant_id, sum(size_bytes)::bigint AS size_bytes
                FROM aggregation_blob GROUP BY tenant_id
            """,
            reverse_sql="DROP VIEW tenants_stored_bytes",
        )
    ]
