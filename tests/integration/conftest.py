"""Every integration test works as the app role, as the web process does, on a clean Valkey."""

import pytest


@pytest.fixture(autouse=True, scope="package")
def quick_passwords():  # type: ignore[no-untyped-def]
    """Hash passwords fast: a member made as in production costs a quarter of a second each."""
    from django.test import override_settings

    with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"]):
        yield


@pytest.fixture(autouse=True)
def app_role(db, redis):  # type: ignore[no-untyped-def]
    """Work as propius_app, threads of the test too; the flush afterwards is the owner's."""
    from django.db import connection
    from django.db.backends.signals import connection_created

    def become(connection, **_):  # type: ignore[no-untyped-def]
        with connection.cursor() as cursor:
            cursor.execute("SET ROLE propius_app")

    become(connection)
    connection_created.connect(become, weak=False, dispatch_uid="tests.app_role")
    yield
    connection_created.disconnect(dispatch_uid="tests.app_role")
    # Within a transaction its rollback undoes SET ROLE; a broken one would refuse a statement.
    if not connection.in_atomic_block:
        with connection.cursor() as cursor:
            cursor.execute("RESET ROLE")
