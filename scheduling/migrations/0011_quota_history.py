import django.db.models.deletion
from django.db import migrations, models

from tenants.walls import protect, read_only

TABLE = "scheduling_quotachange"


class Migration(migrations.Migration):
    """Every quota as it was set, with author and reason; the one in force is the first line."""

    dependencies = [("scheduling", "0010_pool_minutes")]

    operations = [
        migrations.CreateModel(
            name="QuotaChange",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("jobs", models.PositiveIntegerField(null=True)),
                ("devices", models.PositiveIntegerField(null=True)),
                ("device_hours", models.FloatField(null=True)),
                ("stored_bytes", models.PositiveBigIntegerField(null=True)),
                ("reason", models.CharField(max_length=300)),
                ("author", models.CharField(max_length=150)),
                ("created_at", models.DateTimeField()),
                (
                    "tenant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="quota_changes",
                        to="tenants.tenant",
                    ),
                ),
            ],
        ),
        migrations.RunSQL(
            """
            INSERT INTO scheduling_quotachange (tenant_id, jobs, devices, device_hours, stored_bytes, reason,
                author, created_at)
            SELECT tenant_id, jobs, devices, device_hours, stored_bytes, reason, updated_by,
                updated_at
            FROM scheduling_tenantquota
            """,
            migrations.RunSQL.noop,
        ),
        protect(TABLE),
        read_only(TABLE),
    ]
