from django.db import migrations, models

from tenants.walls import protect, show

TABLE = "jobs_maintenance"


class Migration(migrations.Migration):
    """The operator may hold the whole fleet. No tenant owns a row, and all may read why they wait."""

    dependencies = [("jobs", "0006_driven_rounds"), ("tenants", "0002_walls")]

    operations = [
        migrations.CreateModel(
            name="Maintenance",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "mode",
                    models.CharField(
                        choices=[
                            ("normal", "Normal: devices are bound to rounds"),
                            ("paused", "Pause: no new device is bound; those at work go on"),
                            ("stopped", "Stop: those at work are called back, too"),
                        ],
                        max_length=10,
                    ),
                ),
                ("reason", models.CharField(max_length=300)),
                ("author", models.CharField(max_length=150)),
                ("created_at", models.DateTimeField()),
            ],
            options={"verbose_name_plural": "maintenance", "get_latest_by": "id"},
        ),
        protect(TABLE, condition="false"),
        show(TABLE, name="everybody_reads", condition="true"),
    ]
