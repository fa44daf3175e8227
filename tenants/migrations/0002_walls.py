from django.db import migrations

from tenants.walls import MINE, protect


class Migration(migrations.Migration):
    """A tenant's own rows, and nothing else, from the first migration on."""

    dependencies = [("tenants", "0001_initial"), ("core", "0002_grants")]
    operations = [
        protect("tenants_tenant", condition=f"id = {MINE}"),
        protect("tenants_member"),
        protect("tenants_apitoken"),
        protect("tenants_auditentry"),
        protect("core_event"),
    ]
