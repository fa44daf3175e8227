import django.db.models.deletion
from django.db import migrations, models

from tenants.walls import protect, read_only


class Migration(migrations.Migration):

    dependencies = [
        ('aggregation', '0005_round_sums'),
        ('jobs', '0006_driven_rounds'),
        ('tenants', '0006_webhooks'),
    ]

    operations = [
        migrations.CreateModel(
            name='UsageDay',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('day', models.DateField()),
                ('rounds', models.PositiveIntegerField()),
                ('assignments', models.PositiveIntegerField()),
                ('reported', models.PositiveIntegerField()),
                ('device_seconds', models.FloatField()),
                ('down_bytes', models.PositiveBigIntegerField()),
                ('up_bytes', models.PositiveBigIntegerField()),
                ('job', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='jobs.job')),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='tenants.tenant')),
            ],
            options={
                'indexes': [models.Index(fields=['tenant', 'day'], name='usage_by_tenant')],
                'constraints': [models.UniqueConstraint(fields=('job', 'day'), name='usage_once_a_day')],
            },
        ),
        protect('aggregation_usageday'),
        read_only('aggregation_usageday'),
    ]
