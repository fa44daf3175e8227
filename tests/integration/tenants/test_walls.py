"""The second wall: without the application's own filter, still nothing of another tenant."""

import pytest
from django.core.exceptions import ObjectDoesNotExist
from django.db import DatabaseError, connection, transaction

from clients.models import Device, Pool
from core.models import Event
from jobs.models import Artifact, Assignment, Job, Round
from tenants import scopes
from tenants.models import ApiToken, AuditEntry, Member, Tenant
from tests.integration import factories


@pytest.fixture
def two_tenants():
    mine, theirs = factories.tenant("mine"), factories.tenant("theirs")
    for one in (mine, theirs):
        factories.member(one, "owner")
        factories.token(one)
        factories.device(factories.pool(one))
        factories.job(one)
    return mine, theirs


MODELS = [Job, Round, Artifact, ApiToken, AuditEntry, Member, Device, Event]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_it_shows_only_the_tenants_own_rows_without_a_filter(two_tenants, model):
    mine, _ = two_tenants
    with scopes.scope(mine.id):
        found = {str(row.tenant_id) for row in model.objects.all()}
    assert found == {str(mine.id)}


@pytest.mark.parametrize("model", [*MODELS, Tenant], ids=lambda model: model.__name__)
def test_it_shows_nothing_at_all_outside_a_scope(two_tenants, model):
    assert model.objects.count() == 0


def test_it_shows_shared_pools_and_no_devices_of_them(two_tenants):
    mine, _ = two_tenants
    shared = factories.pool(None, "everybody")
    factories.device(shared)
    with scopes.scope(mine.id):
        assert Pool.objects.filter(name="everybody").exists()
        assert not Device.objects.filter(pool=shared).exists()


def test_a_tenant_can_neither_take_over_nor_delete_a_shared_pool(two_tenants):
    mine, _ = two_tenants
    shared = factories.pool(None, "everybody")
    with scopes.scope(mine.id):
        assert Pool.objects.filter(id=shared.id).update(tenant_id=mine.id) == 0
        assert Pool.objects.filter(id=shared.id)._raw_delete("default") == 0
        assert Pool.objects.filter(tenant_id=mine.id).update(name="renamed") == 1
        with pytest.raises(DatabaseError, match="row-level security"), transaction.atomic():
            Pool.objects.filter(tenant_id=mine.id).update(tenant_id=None)


@pytest.mark.parametrize("model", [Event, AuditEntry], ids=lambda model: model.__name__)
def test_a_tenant_cannot_rewrite_what_happened(two_tenants, model):
    mine, _ = two_tenants
    with scopes.scope(mine.id):
        rows = model.objects.filter(tenant_id=mine.id)
        assert rows.exists()
        assert rows.update(tenant_id=mine.id) == 0
        assert rows._raw_delete("default") == 0


# From the catalogue, not from the models: tables of plain SQL and of many-to-many are in it too.
WITH_A_TENANT = """
    SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    AND EXISTS (
        SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND NOT a.attisdropped
        AND a.attname = 'tenant_id'
    )
"""
OF_THE_APP = """
    SELECT tablename, policyname, permissive, cmd, qual, with_check FROM pg_policies
    WHERE roles && ARRAY['propius_app', 'public']::name[]
"""
SEEN_BY_ALL = {("clients_pool", "shared_seen"): ("SELECT", "(tenant_id IS NULL)")}
"""Rows of no tenant's own, which everybody may read."""


def catalogue(query):
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def test_every_table_with_a_tenant_is_behind_a_forced_wall():
    tables = dict(catalogue(WITH_A_TENANT))
    assert len(tables) > 20
    assert [name for name, walled in tables.items() if not walled] == []
    assert tables.keys() - {policy[0] for policy in catalogue(OF_THE_APP)} == set()


def test_every_policy_lets_the_app_see_and_write_its_tenants_rows_alone():
    tables = dict(catalogue(WITH_A_TENANT))
    loose = {}
    for table, name, kind, command, using, check in catalogue(OF_THE_APP):
        if table not in tables:
            continue
        assert kind == "PERMISSIVE", (table, name)
        reads = using if command != "INSERT" else MINE
        # Without a check of its own a policy's writes are held to what it lets see.
        writes = MINE if command == "SELECT" else (check or using)
        if not (mine(reads) and mine(writes)):
            loose[table, name] = (command, reads)
    assert loose == SEEN_BY_ALL


MINE = """
    (tenant_id = ( SELECT (NULLIF(current_setting('propius.tenant'::text, true), ''::text))::uuid
    AS "nullif"))
"""


def mine(expression):
    """Whether it is the comparison with the transaction's tenant, or lets nothing through."""
    return " ".join(expression.split()) in (" ".join(MINE.split()), "false")


def test_it_refuses_to_write_a_row_of_another_tenant(two_tenants):
    mine, theirs = two_tenants
    with (
        pytest.raises(DatabaseError, match="row-level security"),
        scopes.scope(mine.id),
    ):
        Event.objects.create(kind="forged", tenant_id=theirs.id, at=factories.NOW)


def test_it_changes_nothing_of_another_tenant(two_tenants):
    mine, theirs = two_tenants
    with scopes.scope(mine.id):
        assert Job.objects.filter(tenant_id=theirs.id).update(name="taken over") == 0
        assert Job.objects.filter(tenant_id=theirs.id).delete()[0] == 0
    with scopes.system_scope():
        assert Job.objects.get(tenant_id=theirs.id).name == "linear"


def test_it_restores_the_outer_scope_after_an_inner_one(two_tenants):
    mine, theirs = two_tenants
    with scopes.scope(mine.id):
        with scopes.scope(theirs.id):
            assert Tenant.objects.get().slug == "theirs"
        with scopes.system_scope():
            assert Tenant.objects.count() == 2
        assert Tenant.objects.get().slug == "mine"
        with pytest.raises(ObjectDoesNotExist), scopes.scope(theirs.id):
            Tenant.objects.get(slug="mine")
        assert Tenant.objects.get().slug == "mine"
    assert Tenant.objects.count() == 0


def test_it_enters_a_tenant_only_inside_a_transaction(two_tenants):
    with transaction.atomic():
        scopes.enter(two_tenants[0].id)
        assert Tenant.objects.get().slug == "mine"


def test_the_app_role_can_neither_bypass_nor_truncate():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_user, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user"
        )
        assert cursor.fetchone() == ("propius_app", False, False)
    with (
        pytest.raises(DatabaseError, match="permission denied"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(f"TRUNCATE {Assignment._meta.db_table} CASCADE")
