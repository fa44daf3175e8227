from django.db import migrations, models

from tenants.walls import protect

TABLE = "scheduling_gatewaydrain"


class Migration(migrations.Migration):
    """Gateways that the operator drained: no business of any tenant."""

    dependencies = [("scheduling", "0008_lending_limit"), ("tenants", "0002_walls")]

    operations = [
        migrations.CreateModel(
            name="GatewayDrain",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("gateway", models.CharField(max_length=36)),
                ("reason", models.CharField(max_length=300)),
                ("author", models.CharField(max_length=150)),
                ("created_at", models.DateTimeField()),
            ],
        ),
        protect(TABLE, condition="false"),
    ]
