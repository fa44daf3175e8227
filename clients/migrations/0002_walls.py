from django.db import migrations

from tenants.walls import MINE, protect


class Migration(migrations.Migration):
    """Shared pools can be seen by all; shared devices by none but the operator."""

    dependencies = [("clients", "0001_initial"), ("tenants", "0002_walls")]
    operations = [
        protect(
            "clients_pool",
            condition=f"tenant_id IS NULL OR tenant_id = {MINE}",
            writable=f"tenant_id = {MINE}",
        ),
        protect("clients_enrolmenttoken"),
        protect("clients_device"),
    ]
