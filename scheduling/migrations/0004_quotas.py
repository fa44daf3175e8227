import django.db.models.deletion
from django.db import migrations, models

from tenants.walls import protect, read_only

TABLE = "scheduling_tenantquota"


class Migration(migrations.Migration):
    """A tenant may read its quota; only the platform writes it."""

    dependencies = [("scheduling", "0003_first_policy"), ("tenants", "0003_append_only")]

    operations = [
        migrations.CreateModel(
            name="TenantQuota",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("jobs", models.PositiveIntegerField(blank=True, help_text="Jobs that are admitted and have not finished", null=True)),
                ("devices", models.PositiveIntegerField(blank=True, help_text="Devices at once", null=True)),
                ("device_hours", models.FloatField(blank=True, help_text="Hours of devices in a calendar month (UTC)", null=True)),
                ("stored_bytes", models.PositiveBigIntegerField(blank=True, help_text="Bytes of programs, parameters and model versions", null=True)),
                ("reason", models.CharField(max_length=300)),
                ("updated_by", models.CharField(max_length=150)),
                ("updated_at", models.DateTimeField()),
                ("tenant", models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name="quota", to="tenants.tenant")),
            ],
            options={
                "constraints": [models.CheckConstraint(condition=models.Q(("device_hours", None), ("device_hours__gte", 0), _connector="OR"), name="quota_hours_from_zero")],
            },
        ),
        protect(TABLE),
        read_only(TABLE),
    ]
