from django.db import migrations

from tenants.walls import protect


class Migration(migrations.Migration):
    """Blobs, versions, updates and what folding makes of them are their tenant's."""

    dependencies = [("aggregation", "0001_initial"), ("tenants", "0002_walls")]
    operations = [
        protect("aggregation_blob"),
        protect("aggregation_modelversion"),
        protect("aggregation_batch"),
        protect("aggregation_closing"),
        protect("aggregation_partial"),
        protect("aggregation_update"),
    ]
