"""What a job's constraints and pools come to."""

import pytest

from core.ids import uuid7
from jobs import selectors, services
from jobs.models import Assignment
from tenants.scopes import scope, system_scope
from tests.integration import factories
from tests.integration.factories import NOW


def submit(tenant, **changes):
    factories.parameters(tenant)
    with scope(tenant.id):
        return services.submit(
            tenant_id=tenant.id, raw=factories.spec(**changes), submitted_by="x",
            now=NOW,
        )  # fmt: skip


def test_an_own_pool_hides_a_shared_one_by_name_only():
    mine = factories.tenant()
    own, shared = factories.pool(mine, "wards"), factories.pool(None, "wards")
    assert submit(mine).spec["effective"]["pools"] == sorted([str(own.id), str(shared.id)])
    assert submit(mine, pools=["wards"]).spec["effective"]["pools"] == [str(own.id)]


def test_a_pool_named_twice_is_one_pool_and_one_group():
    mine = factories.tenant()
    factories.pool(mine, "wards")
    once = submit(mine, pools=["wards"])
    assert submit(mine, pools=["wards", "wards"]).constraint_group == once.constraint_group


@pytest.mark.parametrize(
    ("name", "value"), [("os", 3), ("os", True), ("torch", 1), ("torch", "yes"), ("cores", "4")]
)
def test_a_value_of_another_type_than_the_attribute_is_named(name, value):
    with pytest.raises(services.SpecInvalid) as caught:
        submit(factories.tenant(), constraints__public={name: {"in": [value]}})
    assert f"in holds {value!r}; {name} is a " in caught.value.errors[f"constraints.public.{name}"]


def test_it_counts_bound_devices_by_tenant():
    first, second = factories.tenant(), factories.tenant()
    pool = factories.pool()
    with system_scope():
        for tenant, count in ((first, 2), (second, 3)):
            round_ = factories.open_round(factories.job(tenant))
            bindings = [
                services.Binding(uuid7(), round_.id, factories.device(pool).id, 1)
                for _ in range(count)
            ]
            services.assign(bindings=bindings, now=NOW)
        assert selectors.bound_by_tenant() == {first.id: 2, second.id: 3}


def test_it_keeps_a_devices_words_without_what_postgres_cannot_hold():
    device = factories.device(factories.pool())
    round_ = factories.open_round(factories.job(factories.tenant()))
    with system_scope():
        binding = services.Binding(uuid7(), round_.id, device.id, 1)
        services.assign(bindings=[binding], now=NOW)
        services.give_back(
            assignment_id=binding.assignment_id, device_id=device.id, status="failed",
            code="crashed", message="bad \0 byte", now=NOW,
        )  # fmt: skip
        assert Assignment.objects.get().message == "bad \ufffd byte"


def artifact(tenant, kind, digest, names):
    tensors = {name: {"shape": [2], "dtype": "F32"} for name in names}
    with system_scope():
        services.register_artifact(
            tenant_id=tenant.id, kind=kind, digest=digest, size_bytes=10, status="valid",
            tensors=tensors, errors={}, now=NOW,
        )  # fmt: skip


def adapted(mine, frozen, digest="f" * 64):
    """Submit a job whose program has a base and an adapter; ``frozen`` are the base's tensors."""
    artifact(mine, "program", "e" * 64, ["adapter", "base"])
    artifact(mine, "parameters", "d" * 64, ["adapter"])
    if frozen:
        artifact(mine, "parameters", "f" * 64, frozen)
    workload = {"kind": "program", "program": "e" * 64, "dataset": "digits"}
    return submit(mine, workload=workload, parameters="d" * 64, frozen=digest)


def test_frozen_tensors_fill_up_what_the_program_expects():
    job = adapted(factories.tenant(), ["base"])
    # Only to devices that know what to do with them.
    assert job.spec["effective"]["workload"] == ["program", "1+frozen"]


@pytest.mark.parametrize(
    ("frozen", "field", "words"),
    [
        (["adapter", "base"], "frozen.adapter", "it is in parameters too"),
        (["other"], "parameters.base", "missing"),
        ([], "frozen", "was not uploaded"),
    ],
)
def test_frozen_tensors_that_do_not_fit_are_named(frozen, field, words):
    with pytest.raises((services.ParametersMismatch, services.UnknownArtifact)) as caught:
        adapted(factories.tenant(), frozen)
    assert words in caught.value.errors[field]


def controlled(mine, names):
    artifact(mine, "program", "e" * 64, names)
    artifact(mine, "parameters", "d" * 64, names)
    workload = {"kind": "program", "program": "e" * 64, "dataset": "digits"}
    strategy = {"name": "scaffold", "population": 100}
    return submit(mine, workload=workload, parameters="d" * 64, strategy=strategy)


def test_scaffold_goes_to_devices_that_keep_control_variates():
    job = controlled(factories.tenant(), ["weight"])
    assert job.spec["effective"]["workload"] == ["program", "1+control"]


def test_a_name_that_control_variates_have_is_refused():
    with pytest.raises(services.ParametersMismatch) as caught:
        controlled(factories.tenant(), ["weight", "control.weight"])
    assert list(caught.value.errors) == ["parameters.control.weight"]
    assert "rename the tensor" in caught.value.errors["parameters.control.weight"]


def test_frozen_tensors_need_a_program():
    with pytest.raises(services.SpecInvalid, match="it needs workload"):
        submit(factories.tenant(), frozen="f" * 64)
