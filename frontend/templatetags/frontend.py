"""How figures and times are written on every page."""

from __future__ import annotations

from datetime import UTC, datetime

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from frontend import words

register = template.Library()
PAGES = {
    "quota_used_up": "frontend:usage",
    "quota_near_end": "frontend:usage",
    "webhook_fails": "frontend:settings-webhooks",
    "token_expires": "frontend:settings-tokens",
}


@register.filter
def page_of(code: str) -> str:
    """Return the page, by its URL's name, on which to do something about a note of this code."""
    return PAGES.get(code, "")


@register.filter
def when(at: datetime | None, style: str = "relative") -> str:
    """Return a time element; a module rewrites it in the viewer's zone and keeps it true."""
    if at is None:
        return ""
    utc = at.astimezone(UTC)
    seconds = ":%S" if style == "full" else ""
    return format_html(
        '<time datetime="{}" data-when="{}">{}</time>',
        utc.isoformat(timespec="seconds"),
        style,
        utc.strftime(f"%-d %b %Y, %H:%M{seconds} UTC"),
    )


@register.filter
def percent(share: float | str | None) -> str:
    """Return 0.9312 as 93.1 %; what a template found nothing for as a dash."""
    return "–" if share is None or isinstance(share, str) else f"{100 * share:.1f}\u202f%"


@register.filter
def measure(value: float | str | None) -> str:
    """Return a loss to three places that matter."""
    if value is None or isinstance(value, str):
        return "–"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.3g}"


@register.filter
def size(number_bytes: int) -> str:
    """Return bytes in decimal units."""
    return words.size(number_bytes)


@register.filter
def number(value: float) -> str:
    """Return a count with thin spaces between thousands."""
    return f"{value:,.0f}".replace(",", "\u202f")


@register.filter
def decimals(value: float, places: int) -> str:
    """Return a figure to so many places, with thin spaces between thousands.

    Below zero: to as many, but a whole number to none.
    """
    whole = places < 0 and value == int(value)
    return f"{value:,.{0 if whole else abs(places)}f}".replace(",", "\u202f")


@register.simple_tag(takes_context=True)
def pushed(context: template.Context) -> SafeString:
    """Mark a section that replaces its older self on the page."""
    return mark_safe(' hx-swap-oob="true"' if context.get("is_push") else "")  # nosec B308 B703 - ours
