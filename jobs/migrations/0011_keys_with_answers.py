"""Whether a POST was answered before is told by the answers that tenants keep, for jobs too.

The columns stay for processes of the version before, which fill them while this one is rolled out.
"""

from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('jobs', '0010_holdout_key'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    "ALTER TABLE jobs_job ALTER COLUMN request_digest SET DEFAULT ''",
                    "ALTER TABLE jobs_job ALTER COLUMN request_digest DROP DEFAULT",
                ),
            ],
            state_operations=[
                migrations.RemoveConstraint('job', 'job_once_per_idempotency_key'),
                migrations.RemoveField('job', 'idempotency_key'),
                migrations.RemoveField('job', 'request_digest'),
            ],
        ),
    ]
