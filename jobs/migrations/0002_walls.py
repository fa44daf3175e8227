from django.db import migrations

from tenants.walls import protect


class Migration(migrations.Migration):
    """Jobs, rounds, assignments and artifacts are their tenant's."""

    dependencies = [("jobs", "0001_initial"), ("tenants", "0002_walls")]
    operations = [
        protect("jobs_artifact"),
        protect("jobs_job"),
        protect("jobs_round"),
        protect("jobs_assignment"),
    ]
