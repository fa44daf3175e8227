import core.ids
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('jobs', '0002_walls'),
        ('tenants', '0002_walls'),
    ]

    operations = [
        migrations.CreateModel(
            name='Batch',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('token', models.UUIDField(null=True)),
                ('claimed_until', models.DateTimeField(null=True)),
                ('failures', models.PositiveSmallIntegerField(default=0)),
                ('done_at', models.DateTimeField(null=True)),
                ('number', models.PositiveIntegerField()),
                ('first', models.PositiveIntegerField()),
                ('last', models.PositiveIntegerField()),
                ('round', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='batches', to='jobs.round')),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='tenants.tenant')),
            ],
            options={
                'verbose_name_plural': 'batches',
            },
        ),
        migrations.CreateModel(
            name='Blob',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('digest', models.CharField(max_length=64)),
                ('size_bytes', models.PositiveBigIntegerField()),
                ('created_at', models.DateTimeField()),
                ('marked_at', models.DateTimeField(null=True)),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='tenants.tenant')),
            ],
        ),
        migrations.CreateModel(
            name='Closing',
            fields=[
                ('token', models.UUIDField(null=True)),
                ('claimed_until', models.DateTimeField(null=True)),
                ('failures', models.PositiveSmallIntegerField(default=0)),
                ('done_at', models.DateTimeField(null=True)),
                ('round', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='closing', serialize=False, to='jobs.round')),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='tenants.tenant')),
            ],
            options={
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='ModelVersion',
            fields=[
                ('id', models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('number', models.PositiveIntegerField()),
                ('digest', models.CharField(max_length=64)),
                ('size_bytes', models.PositiveBigIntegerField()),
                ('state_digest', models.CharField(blank=True, help_text="The strategy's own tensors after this round", max_length=64)),
                ('reports', models.PositiveIntegerField(default=0)),
                ('metrics', models.JSONField(default=dict, help_text="Weighted means over the round's reports")),
                ('evaluation', models.JSONField(default=dict, help_text='The same, of its evaluation round')),
                ('pinned', models.BooleanField(default=False)),
                ('created_at', models.DateTimeField()),
                ('released_at', models.DateTimeField(help_text='When retention let its tensors go', null=True)),
                ('job', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='versions', to='jobs.job')),
                ('round', models.OneToOneField(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='version', to='jobs.round')),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='tenants.tenant')),
            ],
        ),
        migrations.CreateModel(
            name='Partial',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField()),
                ('digest', models.CharField(max_length=64)),
                ('size_bytes', models.PositiveBigIntegerField()),
                ('count', models.PositiveIntegerField()),
                ('weight', models.FloatField()),
                ('metrics', models.JSONField(default=dict, help_text='Name to weighted sum, sum of weights and count')),
                ('created_at', models.DateTimeField()),
                ('round', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='partials', to='jobs.round')),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='tenants.tenant')),
            ],
        ),
        migrations.CreateModel(
            name='Update',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('sequence', models.PositiveIntegerField()),
                ('digest', models.CharField(blank=True, max_length=64)),
                ('size_bytes', models.PositiveBigIntegerField(default=0)),
                ('weight', models.FloatField()),
                ('metrics', models.JSONField(default=dict)),
                ('accepted_at', models.DateTimeField()),
                ('assignment', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, to='jobs.assignment')),
                ('batch', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='updates', to='aggregation.batch')),
                ('partial', models.ForeignKey(null=True, on_delete=django.db.models.deletion.RESTRICT, related_name='updates', to='aggregation.partial')),
                ('round', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='updates', to='jobs.round')),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='tenants.tenant')),
            ],
        ),
        migrations.AddIndex(
            model_name='batch',
            index=models.Index(condition=models.Q(('done_at', None)), fields=['round'], name='batch_waiting'),
        ),
        migrations.AddConstraint(
            model_name='batch',
            constraint=models.UniqueConstraint(fields=('round', 'number'), name='batch_once'),
        ),
        migrations.AddIndex(
            model_name='blob',
            index=models.Index(fields=['digest'], name='blob_by_digest'),
        ),
        migrations.AddIndex(
            model_name='blob',
            index=models.Index(condition=models.Q(('marked_at__isnull', False)), fields=['marked_at'], name='blob_marked'),
        ),
        migrations.AddConstraint(
            model_name='blob',
            constraint=models.UniqueConstraint(fields=('tenant', 'digest'), name='blob_once_per_tenant'),
        ),
        migrations.AddIndex(
            model_name='modelversion',
            index=models.Index(condition=models.Q(('released_at', None)), fields=['digest'], name='version_names_blob'),
        ),
        migrations.AddConstraint(
            model_name='modelversion',
            constraint=models.UniqueConstraint(fields=('job', 'number'), name='version_once'),
        ),
        migrations.AddIndex(
            model_name='partial',
            index=models.Index(fields=['digest'], name='partial_names_blob'),
        ),
        migrations.AddConstraint(
            model_name='partial',
            constraint=models.UniqueConstraint(fields=('round', 'number'), name='partial_once'),
        ),
        migrations.AddIndex(
            model_name='update',
            index=models.Index(fields=['digest'], name='update_names_blob'),
        ),
        migrations.AddConstraint(
            model_name='update',
            constraint=models.UniqueConstraint(fields=('round', 'sequence'), name='update_once'),
        ),
        migrations.AddConstraint(
            model_name='update',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('digest', ''), ('batch', None)), models.Q(models.Q(('digest', ''), _negated=True), ('batch__isnull', False)), _connector='OR'), name='update_has_batch_if_tensors'),
        ),
    ]
