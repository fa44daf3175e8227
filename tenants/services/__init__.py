"""Every write to tenants, members, invitations, tokens, webhooks and the audit."""

from tenants.services.auditing import OPERATOR, audit
from tenants.services.invitations import (
    InvitationOver,
    InvitationUnknown,
    accept_invitation,
    create_invitation,
    invitation_of,
    join,
    revoke_invitation,
)
from tenants.services.members import (
    LastOwner,
    MemberUnknown,
    OwnersOnly,
    add_member,
    change_role,
    remove_member,
)
from tenants.services.organisations import SlugTaken, create_tenant, rename_tenant
from tenants.services.tokens import (
    TOKEN_START,
    TokenUnknown,
    UnknownScope,
    create_token,
    digest_of,
    revoke_token,
)
from tenants.services.webhooks import (
    TooManyWebhooks,
    WebhookUnknown,
    create_webhook,
    delete_webhook,
    try_webhook,
)

__all__ = [
    "OPERATOR",
    "TOKEN_START",
    "InvitationOver",
    "InvitationUnknown",
    "LastOwner",
    "MemberUnknown",
    "OwnersOnly",
    "SlugTaken",
    "TokenUnknown",
    "TooManyWebhooks",
    "UnknownScope",
    "WebhookUnknown",
    "accept_invitation",
    "add_member",
    "audit",
    "change_role",
    "create_invitation",
    "create_tenant",
    "create_token",
    "create_webhook",
    "delete_webhook",
    "digest_of",
    "invitation_of",
    "join",
    "remove_member",
    "rename_tenant",
    "revoke_invitation",
    "revoke_token",
    "try_webhook",
]
