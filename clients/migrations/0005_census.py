import django.db.models.deletion
from django.db import migrations, models

from tenants.walls import protect


class Migration(migrations.Migration):

    dependencies = [
        ('clients', '0004_shared_pools'),
        ('tenants', '0006_webhooks'),
    ]

    operations = [
        migrations.CreateModel(
            name='PoolCensus',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('counted_at', models.DateTimeField()),
                ('attributes', models.JSONField(default=dict)),
                ('pool', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='census', to='clients.pool')),
                ('tenant', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, to='tenants.tenant')),
            ],
        ),
        protect('clients_poolcensus'),
    ]
