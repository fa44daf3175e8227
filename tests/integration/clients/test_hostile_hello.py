"""Control frames of a device whose text could not be kept in a row."""

import pytest
from django.contrib.auth.models import Permission, User

from clients.models import Device
from propius import wire
from tenants.scopes import system_scope
from tests.integration import factories

HELLO = (
    '{"type": "hello", "protocol": 1, "device": "d", "signature": "' + "0" * 128 + '", '
    '"sdk": "SDK", "attributes": {"NAME": 1}, "workloads": {"handler": ["HANDLER"]}}'
)


def test_a_plain_hello_is_read():
    assert isinstance(wire.decode_from_device(HELLO), wire.Hello)


@pytest.mark.parametrize("field", ["SDK", "NAME", "HANDLER"])
@pytest.mark.parametrize("text", ["\\u0000", "\\n", "a\\n", "\\ud800", "\\udc00", ""])
def test_a_name_with_control_characters_is_refused(field, text):
    with pytest.raises(wire.ProtocolError):
        wire.decode_from_device(HELLO.replace(field, text))


@pytest.mark.parametrize("frame", [b'{"type": "\xed\xa0\x80"}', '{"type": "\ud800"}', b"\xff"])
def test_what_is_no_utf_8_is_a_bad_frame(frame):
    with pytest.raises(wire.ProtocolError) as caught:
        wire.decode_from_device(frame)
    assert caught.value.code == "bad_frame"


@pytest.mark.parametrize(
    ("codename", "status"), [("view_device", "active"), ("change_device", "revoked")]
)
def test_only_staff_who_may_change_devices_revoke_them(client, codename, status):
    device = factories.device(factories.pool())
    staff = User.objects.create_user("staff", is_staff=True)
    for name in {"view_device", codename}:
        staff.user_permissions.add(Permission.objects.get(codename=name))
    client.force_login(staff)
    chosen = {"action": "revoke", "_selected_action": [str(device.id)], "reason": "it was stolen"}
    client.post("/admin/clients/device/", chosen)
    with system_scope():
        assert Device.objects.get(id=device.id).status == status
