"""Every write to pools, devices and enrolment tokens."""

from clients.services.attributes import BadAttributes, check_attributes
from clients.services.census import EXACT_VALUES, take_census
from clients.services.devices import (
    BadSignature,
    Connected,
    DeviceRevoked,
    DeviceUnknown,
    Hello,
    connect,
    connect_many,
    leave,
    revoke_device,
    seen,
)
from clients.services.enrolment import (
    BadPublicKey,
    EnrolmentExpired,
    EnrolmentRefused,
    EnrolmentUsedUp,
    KeyInUse,
    create_enrolment_token,
    enrol,
    revoke_enrolment_token,
)
from clients.services.pools import (
    PoolInUse,
    PoolNameTaken,
    create_pool,
    delete_pool,
    rename_pool,
)

__all__ = [
    "EXACT_VALUES",
    "BadAttributes",
    "BadPublicKey",
    "BadSignature",
    "Connected",
    "DeviceRevoked",
    "DeviceUnknown",
    "EnrolmentExpired",
    "EnrolmentRefused",
    "EnrolmentUsedUp",
    "Hello",
    "KeyInUse",
    "PoolInUse",
    "PoolNameTaken",
    "check_attributes",
    "connect",
    "connect_many",
    "create_enrolment_token",
    "create_pool",
    "delete_pool",
    "enrol",
    "leave",
    "rename_pool",
    "revoke_device",
    "revoke_enrolment_token",
    "seen",
    "take_census",
]
