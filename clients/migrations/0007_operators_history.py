import django.db.models.deletion
from django.db import migrations, models

from tenants.walls import protect

TYPES = [("number", "Number"), ("string", "String"), ("boolean", "Boolean")]


def _identifier():
    return (
        "id",
        models.BigAutoField(
            auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
        ),
    )


def _stamps():
    return [
        ("reason", models.CharField(max_length=300)),
        ("author", models.CharField(max_length=150)),
        ("created_at", models.DateTimeField()),
    ]


class Migration(migrations.Migration):
    """What the operator asks of the devices' software, and the history of the attribute schema.

    No tenant's business. The schema as it is becomes the first lines of its history.
    """

    dependencies = [("clients", "0006_network_rate"), ("tenants", "0002_walls")]

    operations = [
        migrations.CreateModel(
            name="SdkRequirement",
            fields=[
                _identifier(),
                ("software", models.CharField(default="propius-python", max_length=60)),
                ("minimum", models.CharField(max_length=40)),
                ("steps", models.JSONField(default=list)),
                (
                    "grace_days",
                    models.FloatField(
                        default=7,
                        help_text="How long devices have from when a step comes to them",
                    ),
                ),
                ("paused", models.BooleanField(default=False)),
                *_stamps(),
                (
                    "pool",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="sdk_requirements",
                        to="clients.pool",
                    ),
                ),
            ],
            options={
                "verbose_name": "required software",
                "verbose_name_plural": "required software",
            },
        ),
        migrations.CreateModel(
            name="AttributeChange",
            fields=[
                _identifier(),
                ("name", models.CharField(max_length=60)),
                ("type", models.CharField(choices=TYPES, max_length=10)),
                ("unit", models.CharField(blank=True, max_length=20)),
                ("description", models.CharField(max_length=200)),
                ("removed", models.BooleanField(default=False)),
                *_stamps(),
            ],
        ),
        migrations.RunSQL(
            """
            INSERT INTO clients_attributechange
                (name, type, unit, description, removed, reason, author, created_at)
            SELECT name, type, unit, description, false, 'as it was when the history began',
                'platform', now()
            FROM clients_attributedefinition ORDER BY name
            """,
            migrations.RunSQL.noop,
        ),
        protect("clients_sdkrequirement", condition="false"),
        protect("clients_attributechange", condition="false"),
    ]
