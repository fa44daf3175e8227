from django.db import migrations

from tenants.walls import MINE, show


class Migration(migrations.Migration):
    """Shared pools can be seen by all, and neither taken over nor deleted by a tenant."""

    dependencies = [("clients", "0003_attributes")]
    operations = [
        # Databases made before this let a tenant see, and so update and delete, shared pools.
        migrations.RunSQL(
            f"ALTER POLICY tenant_wall ON clients_pool USING (tenant_id = {MINE})",
            migrations.RunSQL.noop,
        ),
        show("clients_pool", name="shared_seen", condition="tenant_id IS NULL"),
    ]
