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
from clients.services.requirements import (
    RequirementInvalid,
    next_step,
    pause_requirement,
    raise_requirement,
    require_sdk,
    revert_requirement,
    roll_back_requirement,
)
from clients.services.schema import (
    AttributeInvalid,
    define_attribute,
    remove_attribute,
    revert_attribute,
)

__all__ = [
    "EXACT_VALUES",
    "AttributeInvalid",
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
    "RequirementInvalid",
    "check_attributes",
    "connect",
    "connect_many",
    "create_enrolment_token",
    "create_pool",
    "define_attribute",
    "delete_pool",
    "enrol",
    "leave",
    "next_step",
    "pause_requirement",
    "raise_requirement",
    "remove_attribute",
    "rename_pool",
    "require_sdk",
    "revert_attribute",
    "revert_requirement",
    "revoke_device",
    "revoke_enrolment_token",
    "roll_back_requirement",
    "seen",
    "take_census",
]
