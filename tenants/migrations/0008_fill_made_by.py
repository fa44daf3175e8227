"""Whoever made a token or an invitation by hand is a member with that name, if one still is."""

from django.db import migrations

FILL = """
    UPDATE {table} t SET made_by_id = u.id
    FROM auth_user u JOIN tenants_member m ON m.user_id = u.id
    WHERE t.made_by_id IS NULL AND u.username = t.created_by AND m.tenant_id = t.tenant_id;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('tenants', '0007_made_by'),
    ]

    operations = [
        migrations.RunSQL(FILL.format(table=table), migrations.RunSQL.noop)
        for table in ('tenants_apitoken', 'tenants_invitation')
    ]
