"""Which Postgres role tests and processes work as."""

import threading

import pytest
from django.db import ProgrammingError, connection, transaction

from tenants import scopes


def _role() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        return str(cursor.fetchone()[0])


def test_integration_tests_work_as_the_app_role() -> None:
    assert _role() == "propius_app"


def test_the_system_role_lasts_as_long_as_its_scope() -> None:
    with scopes.system_scope():
        assert _role() == "propius_system"
    assert _role() == "propius_app"


@pytest.mark.django_db(transaction=True)
def test_threads_of_a_test_work_as_the_app_role_too() -> None:
    found = []

    def work() -> None:
        found.append(_role())
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["propius_app"] * 3
    assert _role() == "propius_app"


def test_the_app_role_cannot_change_the_schema() -> None:
    with (
        pytest.raises(ProgrammingError, match="permission denied"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("CREATE TABLE mine (id int)")


def test_the_app_role_has_none_of_the_system_roles_rights_by_itself() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT rolinherit, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = %s",
            ["propius_app"],
        )
        assert cursor.fetchone() == (False, False, False)
        cursor.execute("SELECT pg_has_role('propius_app', 'propius_system', 'USAGE')")
        assert cursor.fetchone() == (False,)
