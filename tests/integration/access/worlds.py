"""A tenant with one of everything, and the sessions and secrets of all who ask for it."""

from datetime import timedelta
from pathlib import Path

from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

import jobs.services
from clients import services as client_services
from clients.models import Device
from jobs.models import Artifact
from propius import arrays
from scheduling import previews
from tenants import services
from tenants.authentication import SESSION_TENANT
from tenants.scopes import system_scope
from tests.integration import factories
from tests.integration.access.callers import KEYS, World
from tests.integration.access.matrix import ROLES
from tests.integration.aggregation import test_driven
from tests.integration.aggregation.test_rounds import finish
from tests.integration.aggregation.worlds import make_world, send

PROGRAM = Path(__file__).parents[2] / "golden" / "programs" / "torch-2.13.0" / "lora.program"


def world() -> World:
    trained = make_world()
    for bound in trained.bind(trained.round()):
        send(*bound, 2.0, loss=0.5)
    tenant, now = trained.tenant, timezone.now()
    pool = factories.pool(tenant)
    device = factories.device(pool)
    with system_scope():
        assert finish(trained.round().id)
        Device.objects.filter(id=device.id).update(public_key=KEYS[0])
        token, _ = services.create_token(
            tenant_id=tenant.id, name="a", scopes=None, created_by="x", now=now
        )
        revoked, revoked_secret = services.create_token(
            tenant_id=tenant.id, name="b", scopes=None, created_by="x", now=now
        )
        services.revoke_token(tenant_id=tenant.id, token_id=revoked.id, actor="x", now=now)
        enrolment, enrolment_secret = client_services.create_enrolment_token(
            pool=pool, name="x", max_uses=9, created_by="x", now=now,
            expires_at=now + timedelta(hours=1),
        )  # fmt: skip
        invitation, invitation_secret = services.create_invitation(
            tenant_id=tenant.id, name="Eve", role="submitter", by_role="owner", actor="x",
            expires_at=now + timedelta(hours=1), now=now,
        )  # fmt: skip
        webhook, _ = services.create_webhook(
            tenant_id=tenant.id, url="https://example.org/", kinds=None, actor="x", now=now
        )
        member_id = tenant.members.get(user=factories.member(tenant, "viewer")).id
        made = World(
            tenant,
            pool,
            factories.spec(parameters=trained.job.parameters_digest),
            {
                "<uuid:job_id>": trained.job.id, "<uuid:pool_id>": pool.id,
                "<uuid:device_id>": device.id, "<int:number>": 1,
                "<str:digest>": trained.job.parameters_digest,
                "<uuid:invitation_id>": invitation.id, "<int:member_id>": member_id,
                "<uuid:webhook_id>": webhook.id,
                "<uuid:preview_id>": previews.ask(previews.Proposal(), now=now),
                "<uuid:assignment_id>": trained.job.assignment_set.first().id,
            },
            invitation=invitation_secret,
            secrets={
                "device": KEYS[0], "enrolment": enrolment_secret, "revoked": revoked_secret
            },
        )  # fmt: skip
    _add_others(made)
    made.tokens = {
        "api/v1/tokens/": token.id, "settings/tokens/": token.id, "": enrolment.id,
    }  # fmt: skip
    people = {role: factories.member(tenant, role) for role in ROLES}
    people["stranger"] = factories.member(factories.tenant(), "owner")
    people["operator"] = User.objects.create_superuser("operator", password="x")
    for persona, user in people.items():
        client = Client()
        client.force_login(user)
        session = client.session
        with system_scope():
            for member in user.memberships.all():
                session[SESSION_TENANT] = str(member.tenant_id)
        session.save()
        made.sessions[persona] = client.cookies["sessionid"].value
    return made


def _add_others(made: World) -> None:
    """Add a driven job with a sum, a paused job and a program."""
    driven = make_world(made.tenant, driven=True)
    test_driven.run_round(driven, 1, 10.0)
    paused = make_world(made.tenant)
    with system_scope():
        jobs.services.pause(job_id=paused.job.id, actor="x", now=timezone.now())
        jobs.services.register_artifact(
            tenant_id=made.tenant.id, kind=Artifact.Kind.PROGRAM, digest="e" * 64, size_bytes=9,
            status=Artifact.Status.VALID, tensors={}, errors={}, now=timezone.now(),
        )  # fmt: skip
    made.others = {
        "driven": ("<uuid:job_id>", driven.job.id), "paused": ("<uuid:job_id>", paused.job.id),
        "program": ("<str:digest>", "e" * 64),
    }  # fmt: skip
    made.new_program = PROGRAM.read_bytes()
    made.round_parameters = arrays.save(test_driven.given(2.0))
    made.round_digest = test_driven.upload(driven, test_driven.given(3.0))
