from django.db import migrations

from tenants.walls import append_only


class Migration(migrations.Migration):
    """What happened and who did it cannot be rewritten by a tenant's request."""

    dependencies = [("tenants", "0002_walls")]
    operations = [append_only("core_event"), append_only("tenants_auditentry")]
