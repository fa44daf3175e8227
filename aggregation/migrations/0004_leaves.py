import core.ids
import django.db.models.deletion
from django.db import migrations, models

from tenants.walls import protect


class Migration(migrations.Migration):
    """Leaves are the operator's; what they hold is its tenant's."""

    dependencies = [
        ('aggregation', '0003_stored_bytes'),
        ('clients', '0004_shared_pools'),
        ('jobs', '0003_granted_demand'),
        ('tenants', '0004_stored_answers'),
    ]

    operations = [
        migrations.CreateModel(
            name='Leaf',
            fields=[
                ('id', models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('name', models.SlugField(max_length=60, unique=True)),
                ('url', models.URLField(help_text='Where devices reach it, as in https://leaf.example.org')),
                ('digest', models.CharField(help_text='SHA-256 of its token', max_length=64, unique=True)),
                ('start', models.CharField(help_text='How its token begins', max_length=8)),
                ('created_at', models.DateTimeField()),
                ('revoked_at', models.DateTimeField(null=True)),
                ('heard_at', models.DateTimeField(help_text='Its last heartbeat', null=True)),
                ('load', models.JSONField(default=dict, help_text='What it told of itself then')),
                ('pools', models.ManyToManyField(blank=True, to='clients.pool')),
            ],
            options={
                'verbose_name_plural': 'leaves',
            },
        ),
        migrations.CreateModel(
            name='Hold',
            fields=[
                ('assignment', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, serialize=False, to='jobs.assignment')),
                ('digest', models.CharField(max_length=64)),
                ('size_bytes', models.PositiveBigIntegerField()),
                ('weight', models.FloatField()),
                ('metrics', models.JSONField(default=dict)),
                ('held_at', models.DateTimeField()),
                ('round', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='holds', to='jobs.round')),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='tenants.tenant')),
                ('leaf', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='holds', to='aggregation.leaf')),
            ],
        ),
        protect("aggregation_leaf", condition="false"),
        protect("aggregation_leaf_pools", condition="false"),
        protect("aggregation_hold"),
    ]
