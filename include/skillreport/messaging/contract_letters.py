"""The kinds of e-mails, by template key. Contract letters are documents, payment reminders, and notices about account and settings.

The tenant must get a contract letter: it offers no unsubscription, is sent to unsubscribed addresses, and cannot be switched off. It never
expires: it waits, and BATCH-019-02 reports it once a day. All other messages are notifications.
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

MONTHLY_REPORT = "monthly_report"

# The issuer signs them.
BILLING_LETTERS = frozenset({INVOICE, CREDIT_NOTE, INVOICE_VOID, PAYMENT_REMINDER, RECIPIENT_CHANGED})

CONTRACT_LETTERS = BILLING_LETTERS | {
    USAGE_WARNING,
    INACTIVITY_WARNING,
    INACTIVITY_CRITICAL,
    SETTINGS_BROKEN,
    CHANNELS_GONE,
}

# They are sent even if the tenant has switched off the channel.
NEVER_SWITCHED_OFF = CONTRACT_LETTERS | {MONTHLY_REPORT}

# The kind of all other messages, such as the application's.
GENERAL = "general"
