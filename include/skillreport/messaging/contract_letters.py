"""The letters that belong to a tenant's contract, by template key: documents, payment reminders, and notices about account and settings.

A contract letter offers no unsubscription, and is sent to an address that has unsubscribed, because the tenant must get it. It never
expires: it waits, and BATCH-019-02 reports it once a day. Tenants cannot switch it off. All other messages are notifications.
"""

from __future__ import annotations

INVOICE = "invoice"
CREDIT_NOTE = "credit_note"
INVOICE_VOID = "invoice_void"
PAYMENT_REMINDER = "payment_reminder"
RECIPIENT_CHANGED = "recipient_changed"
USAGE_WARNING = "usage_warning"
INACTIVITY_WARNING = "inactivity_warning"
INACTIVITY_CRITICAL = "inactivity_critical"
SETTINGS_BROKEN = "notification_settings_broken"
CHANNELS_GONE = "notification_channels_gone"

CONTRACT_LETTERS = frozenset(
    {
        INVOICE,
        CREDIT_NOTE,
        INVOICE_VOID,
        PAYMENT_REMINDER,
        RECIPIENT_CHANGED,
        USAGE_WARNING,
        INACTIVITY_WARNING,
        INACTIVITY_CRITICAL,
        SETTINGS_BROKEN,
        CHANNELS_GONE,
    }
)
