from django.db import migrations

from tenants.walls import protect


class Migration(migrations.Migration):
    """Pools, tokens and devices are their tenant's; shared ones the operator's."""

    dependencies = [("clients", "0001_initial"), ("tenants", "0002_walls")]
    operations = [
        protect("clients_pool"),
        protect("clients_enrolmenttoken"),
        protect("clients_device"),
    ]
