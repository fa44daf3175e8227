import core.ids
import django.db.models.deletion
from django.db import migrations, models

from tenants.walls import protect


class Migration(migrations.Migration):

    dependencies = [
        ('tenants', '0005_invitations'),
    ]

    operations = [
        migrations.CreateModel(
            name='Webhook',
            fields=[
                ('id', models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('url', models.URLField(max_length=500)),
                ('kinds', models.JSONField(default=list)),
                ('secret', models.BinaryField(help_text='Encrypted')),
                ('created_by', models.CharField(max_length=150)),
                ('created_at', models.DateTimeField()),
                ('deleted_at', models.DateTimeField(blank=True, null=True)),
                ('read_up_to', models.BigIntegerField(help_text='Events up to this one are queued or too old')),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='webhooks', to='tenants.tenant')),
            ],
        ),
        migrations.CreateModel(
            name='Delivery',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('event', models.BigIntegerField(help_text="The event's number; 0 of a test")),
                ('kind', models.CharField(max_length=60)),
                ('body', models.JSONField()),
                ('status', models.CharField(choices=[('waiting', 'Waiting'), ('delivered', 'Delivered'), ('failed', 'Failed')], default='waiting', max_length=20)),
                ('attempts', models.PositiveSmallIntegerField(default=0)),
                ('next_at', models.DateTimeField()),
                ('answer', models.PositiveSmallIntegerField(null=True)),
                ('error', models.CharField(blank=True, max_length=200)),
                ('created_at', models.DateTimeField()),
                ('ended_at', models.DateTimeField(null=True)),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='tenants.tenant')),
                ('webhook', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='tenants.webhook')),
            ],
            options={
                'verbose_name_plural': 'deliveries',
                'indexes': [models.Index(condition=models.Q(('status', 'waiting')), fields=['next_at'], name='delivery_waiting')],
                'constraints': [models.UniqueConstraint(condition=models.Q(('event__gt', 0)), fields=('webhook', 'event'), name='delivery_once')],
            },
        ),
        protect('tenants_webhook'),
        protect('tenants_delivery'),
    ]
