from django.db import migrations

GRANT = """
    GRANT USAGE ON SCHEMA public TO propius_app, propius_system;
    ALTER DEFAULT PRIVILEGES IN SCHEMA public
        GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO propius_app, propius_system;
    ALTER DEFAULT PRIVILEGES IN SCHEMA public
        GRANT USAGE ON SEQUENCES TO propius_app, propius_system;
    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public
        TO propius_app, propius_system;
    GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO propius_app, propius_system;
"""
REVOKE = """
    ALTER DEFAULT PRIVILEGES IN SCHEMA public
        REVOKE ALL ON TABLES FROM propius_app, propius_system;
    ALTER DEFAULT PRIVILEGES IN SCHEMA public
        REVOKE ALL ON SEQUENCES FROM propius_app, propius_system;
    REVOKE ALL ON ALL TABLES IN SCHEMA public FROM propius_app, propius_system;
"""


class Migration(migrations.Migration):
    """The app and system roles may use what the owner makes, now and later; never truncate it."""

    dependencies = [("core", "0001_initial")]
    operations = [migrations.RunSQL(GRANT, REVOKE)]
