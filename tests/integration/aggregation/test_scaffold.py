"""SCAFFOLD on the platform: two groups of tensors in, the control variate kept and handed down."""

import numpy as np
import pytest

import jobs.selectors
from aggregation import closing, folding, services, tickets, uploads
from aggregation.models import ModelVersion
from gateway import details
from jobs.models import Job
from propius import arrays
from tenants.scopes import system_scope
from tests.integration.aggregation.worlds import make_world, path_of, upload
from tests.integration.factories import NOW

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world():
    one = make_world()
    with system_scope():
        spec = Job.objects.get(id=one.job.id).spec
        spec["strategy"] = {"name": "scaffold", "population": 12, "learning_rate": 1.0}
        # What the job's program would do; nothing is trained here.
        spec["workload"]["train"] = {"control_variates": True}
        Job.objects.filter(id=one.job.id).update(spec=spec)
        one.job.refresh_from_db()
    return one


def send(bound, **tensors):
    data = arrays.save({k: np.full((2, 2), v, np.float32) for k, v in tensors.items()})
    digest = upload(*bound, data)
    services.accept_update(
        assignment_id=bound[0], device_id=bound[1].id, digest=digest, size_bytes=len(data),
        weight=1.0, metrics={}, now=NOW,
    )  # fmt: skip


def told(bound):
    row = jobs.selectors.assignment_details([bound[0]])[bound[0]]
    return details.assignment(row, now=NOW)


def test_the_control_variate_of_a_version_goes_down_with_the_next_round(world):
    first = world.round()
    with system_scope():
        bound = world.bind(first)
        assert told(bound[0]).control is None
        for number, one in enumerate(bound):
            send(one, **{"weight": 1.0, "control.weight": float(number)})
        while folding.fold_next(round_id=first.id, now=NOW):
            pass
        assert closing.close_round(round_id=first.id, now=NOW)
        version = ModelVersion.objects.get(job=world.job, number=1)
        # 0 + (0 + 1 + 2 + 3 + 4 + 5)/12
        state = path_of(version.state_digest)
        assert arrays.load(state)["weight/control"].tolist() == [[1.25, 1.25]] * 2
        assert arrays.load(path_of(version.digest))["weight"].tolist() == [[1, 1]] * 2

        world.job.refresh_from_db()
        later = told(world.bind(world.round())[0])
    assert later.control is not None
    assert later.control.digest == version.state_digest
    assert later.control.size_bytes == state.stat().st_size
    assert later.control.digest in later.blobs()
    tickets.verify(later.ticket, now=NOW).check_download(version.state_digest)
    # Room for float32 changes of parameters half as wide.
    assert later.max_update_bytes == 3 * version.size_bytes + (1 << 20)


def test_an_update_without_its_second_group_is_refused(world):
    with system_scope():
        [bound, *_] = world.bind(world.round())
        with pytest.raises(uploads.UpdateRefused) as caught:
            send(bound, weight=1.0)
    assert caught.value.code == "tensor_mismatch"
    assert list(caught.value.errors) == ["tensors.control.weight"]
