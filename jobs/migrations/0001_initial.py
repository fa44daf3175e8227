import core.ids
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('clients', '0003_attributes'),
        ('tenants', '0002_walls'),
    ]

    operations = [
        migrations.CreateModel(
            name='Job',
            fields=[
                ('id', models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=100)),
                ('status', models.CharField(choices=[('submitted', 'Submitted'), ('running', 'Running'), ('paused', 'Paused'), ('finished', 'Finished')], default='submitted', max_length=12)),
                ('outcome', models.CharField(blank=True, choices=[('completed', 'Completed'), ('failed', 'Failed'), ('cancelled', 'Cancelled'), ('rejected', 'Rejected'), ('expired', 'Expired')], max_length=12)),
                ('reason', models.JSONField(default=dict, help_text='Why it ended or waits: code and message')),
                ('spec', models.JSONField(help_text='Normalised')),
                ('spec_raw', models.JSONField(help_text='As submitted')),
                ('priority', models.SmallIntegerField(default=0)),
                ('constraint_group', models.CharField(max_length=16)),
                ('version', models.PositiveIntegerField(default=0, help_text='Number of the newest model version')),
                ('parameters_digest', models.CharField(max_length=64)),
                ('parameters_size', models.PositiveBigIntegerField()),
                ('submitted_by', models.CharField(max_length=150)),
                ('idempotency_key', models.CharField(max_length=100, null=True)),
                ('request_digest', models.CharField(max_length=64)),
                ('submitted_at', models.DateTimeField()),
                ('started_at', models.DateTimeField(null=True)),
                ('finished_at', models.DateTimeField(null=True)),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='tenants.tenant')),
            ],
        ),
        migrations.CreateModel(
            name='Round',
            fields=[
                ('id', models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('number', models.PositiveIntegerField()),
                ('attempt', models.PositiveIntegerField(default=1)),
                ('kind', models.CharField(choices=[('train', 'Train'), ('evaluate', 'Evaluate')], max_length=10)),
                ('status', models.CharField(choices=[('selecting', 'Selecting'), ('executing', 'Executing'), ('aggregating', 'Aggregating'), ('finished', 'Finished')], default='selecting', max_length=12)),
                ('outcome', models.CharField(blank=True, choices=[('completed', 'Completed'), ('failed', 'Failed'), ('abandoned', 'Abandoned')], max_length=12)),
                ('reason', models.JSONField(default=dict)),
                ('demand', models.PositiveIntegerField()),
                ('target', models.PositiveIntegerField()),
                ('quorum', models.PositiveIntegerField()),
                ('assigned', models.PositiveIntegerField(default=0)),
                ('reported', models.PositiveIntegerField(default=0)),
                ('lost', models.PositiveIntegerField(default=0, help_text='Declined, failed or expired')),
                ('extensions', models.PositiveIntegerField(default=0)),
                ('base_version', models.PositiveIntegerField()),
                ('base_digest', models.CharField(max_length=64)),
                ('base_size', models.PositiveBigIntegerField()),
                ('seed', models.BigIntegerField()),
                ('metrics', models.JSONField(default=dict)),
                ('selection_s', models.FloatField()),
                ('deadline_s', models.FloatField()),
                ('opened_at', models.DateTimeField()),
                ('selection_ends_at', models.DateTimeField()),
                ('executing_at', models.DateTimeField(null=True)),
                ('deadline_at', models.DateTimeField(null=True)),
                ('closed_at', models.DateTimeField(null=True)),
                ('finished_at', models.DateTimeField(null=True)),
                ('job', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='rounds', to='jobs.job')),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='tenants.tenant')),
            ],
        ),
        migrations.CreateModel(
            name='Assignment',
            fields=[
                ('id', models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('status', models.CharField(choices=[('bound', 'Bound'), ('reported', 'Reported'), ('declined', 'Declined'), ('failed', 'Failed'), ('expired', 'Expired'), ('cancelled', 'Cancelled')], default='bound', max_length=10)),
                ('code', models.CharField(blank=True, max_length=60)),
                ('message', models.CharField(blank=True, max_length=500)),
                ('phase', models.CharField(blank=True, help_text='Last told by the device', max_length=12)),
                ('fraction', models.FloatField(default=0)),
                ('plan_version', models.BigIntegerField(default=0)),
                ('bound_at', models.DateTimeField()),
                ('accepted_at', models.DateTimeField(null=True)),
                ('lease_expires_at', models.DateTimeField()),
                ('ended_at', models.DateTimeField(null=True)),
                ('device', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='clients.device')),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='tenants.tenant')),
                ('job', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='jobs.job')),
                ('round', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='assignments', to='jobs.round')),
            ],
        ),
        migrations.CreateModel(
            name='Artifact',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('program', 'Program'), ('parameters', 'Parameters')], max_length=12)),
                ('digest', models.CharField(max_length=64)),
                ('size_bytes', models.PositiveBigIntegerField()),
                ('status', models.CharField(choices=[('checking', 'Checking'), ('valid', 'Valid'), ('invalid', 'Invalid')], max_length=10)),
                ('tensors', models.JSONField(default=dict, help_text='Name to shape and dtype: of the parameters, or that it expects')),
                ('errors', models.JSONField(default=dict)),
                ('created_at', models.DateTimeField()),
                ('checked_at', models.DateTimeField(null=True)),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='tenants.tenant')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('tenant', 'kind', 'digest'), name='artifact_once')],
            },
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(fields=['tenant', '-id'], name='job_by_tenant'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(condition=models.Q(('status', 'finished'), _negated=True), fields=['id'], name='job_unfinished'),
        ),
        migrations.AddConstraint(
            model_name='job',
            constraint=models.UniqueConstraint(fields=('tenant', 'idempotency_key'), name='job_once_per_idempotency_key'),
        ),
        migrations.AddConstraint(
            model_name='job',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('finished_at__isnull', False), ('status', 'finished'), models.Q(('outcome', ''), _negated=True)), models.Q(models.Q(('status', 'finished'), _negated=True), ('finished_at__isnull', True), ('outcome', '')), _connector='OR'), name='job_outcome_when_finished'),
        ),
        migrations.AddIndex(
            model_name='round',
            index=models.Index(condition=models.Q(('status', 'finished'), _negated=True), fields=['status'], name='round_open'),
        ),
        migrations.AddConstraint(
            model_name='round',
            constraint=models.UniqueConstraint(fields=('job', 'kind', 'number', 'attempt'), name='round_once'),
        ),
        migrations.AddConstraint(
            model_name='round',
            constraint=models.UniqueConstraint(condition=models.Q(('kind', 'train'), models.Q(('status', 'finished'), _negated=True)), fields=('job',), name='round_one_train_open'),
        ),
        migrations.AddConstraint(
            model_name='round',
            constraint=models.CheckConstraint(condition=models.Q(('assigned__lte', models.F('target'))), name='round_assigned_within_target'),
        ),
        migrations.AddConstraint(
            model_name='round',
            constraint=models.CheckConstraint(condition=models.Q(('reported__lte', models.F('assigned'))), name='round_reported_within_assigned'),
        ),
        migrations.AddIndex(
            model_name='assignment',
            index=models.Index(condition=models.Q(('status', 'bound')), fields=['lease_expires_at'], name='assignment_leases'),
        ),
        migrations.AddConstraint(
            model_name='assignment',
            constraint=models.UniqueConstraint(fields=('round', 'device'), name='assignment_once_per_round'),
        ),
        migrations.AddConstraint(
            model_name='assignment',
            constraint=models.UniqueConstraint(condition=models.Q(('status', 'bound')), fields=('device',), name='assignment_one_per_device'),
        ),
    ]
