from django.db import migrations, models
from django.db.models import Q

from tenants.walls import protect, show

TABLE = "jobs_quarantine"


class Migration(migrations.Migration):
    """The operator may keep jobs, workloads and versions of the software from all devices.

    A tenant reads why on its own jobs; of software, which is nobody's, all may read it.
    """

    dependencies = [("jobs", "0008_set_aside"), ("tenants", "0002_walls")]

    operations = [
        migrations.CreateModel(
            name="Quarantine",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("job", "A job, by its id"),
                            (
                                "workload",
                                "A workload, by a program's digest or a function's name",
                            ),
                            ("sdk", "A version of the devices' software"),
                        ],
                        max_length=10,
                    ),
                ),
                ("target", models.CharField(max_length=100)),
                ("reason", models.CharField(max_length=300)),
                ("author", models.CharField(max_length=150)),
                ("created_at", models.DateTimeField()),
                ("lifted_by", models.CharField(blank=True, max_length=150)),
                ("lifted_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.AddConstraint(
            model_name="quarantine",
            constraint=models.UniqueConstraint(
                fields=["kind", "target"],
                condition=Q(lifted_at=None),
                name="quarantine_once_at_a_time",
            ),
        ),
        migrations.AddField(
            model_name="job",
            name="held",
            field=models.CharField(
                blank=True,
                default="",
                help_text="Why the operator keeps it from all devices",
                max_length=500,
            ),
            preserve_default=False,
        ),
        protect(TABLE, condition="false"),
        show(TABLE, name="software_is_seen", condition="kind = 'sdk' AND lifted_at IS NULL"),
    ]
