import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('tenants', '0002_walls'),
    ]

    operations = [
        migrations.CreateModel(
            name='SharingPolicy',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=40)),
                ('parameters', models.JSONField(blank=True, default=dict)),
                ('reason', models.CharField(max_length=300)),
                ('author', models.CharField(max_length=150)),
                ('created_at', models.DateTimeField()),
            ],
            options={
                'verbose_name_plural': 'sharing policies',
                'get_latest_by': 'id',
            },
        ),
        migrations.CreateModel(
            name='TenantShare',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('weight', models.FloatField(default=1)),
                ('guarantee', models.PositiveIntegerField(default=0)),
                ('ceiling', models.PositiveIntegerField(blank=True, null=True)),
                ('updated_by', models.CharField(max_length=150)),
                ('updated_at', models.DateTimeField()),
                ('tenant', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='share', to='tenants.tenant')),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('weight__gt', 0)), name='share_weight_above_zero'), models.CheckConstraint(condition=models.Q(('ceiling', None), ('ceiling__gte', models.F('guarantee')), _connector='OR'), name='share_guarantee_within_ceiling')],
            },
        ),
    ]
