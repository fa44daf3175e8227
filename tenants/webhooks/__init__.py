"""Webhooks: a tenant's events, signed, sent to an address of its own, and tried again."""
