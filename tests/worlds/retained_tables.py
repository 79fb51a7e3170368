"""What bounds each table of schema batch: the classes of rows that a cleanup deletes, and what is kept."""

from __future__ import annotations

KEPT_FOR_YEARS = frozenset(
    (
        # Invoices, their documents and payments, and who approved them.
        "accounting_month",
        "adjustment",
        "approval_item",
        "approval_request",
        "bank_file",
        "bank_transfer",
        "extra_charge",
        "extra_charge_removal",
        "invoice",
        "invoice_counter",
        "invoice_document",
        "invoice_revision",
        "letter_copy",
        "letter_decision",
        "letter_file",
        "overdue_reminder",
        "payment",
        "reminder_stop",
        "waiting_write_off",
        # The inputs of their calculation.
        "billing_profile",
        "commitment",
        "contract_change",
        "discount",
        "exchange_rate",
        "metered_amount",
        "order_number",
        "plan_change",
        "plan_seen",
        "usage_day",
        # Tenants that have left: who decided what, and who is gone.
        "deleted_tenant",
        "disputed_entry",
        "offboarding",
        "offboarding_table",
        # One row per tenant and month with the content of its report, and one row per backup.
        "backup",
        "monthly_report",
        "monthly_report_file",
    )
)

_STAGING = "during a run"
_STATE = "the present state only"
BOUNDED = (
    dict.fromkeys(
        (
            "directory_listing",
            "entered_values",
            "former_mailbox",
            "inactivity_signal",
            "listed_account",
            "listed_channel",
            "monitoring_signal",
            "notification_signal",
            "old_notification",
            "report_person",
            "report_signal",
            "statistics_signal",
            "usage_signal",
        ),
        _STAGING,
    )
    | dict.fromkeys(
        (
            "account_link",
            "alembic_version",
            "applied_setting",
            "channel",
            "channel_circuit",
            "deployment",
            "directory_account",
            "directory_channel",
            "directory_sync",
            "host_index",
            "host_source",
            "known_key",
            "last_action",
            "last_action_state",
            "message_stop",
            "monitored_tenant",
            "payer",
            "people_state",
            "person_key",
            "platform_check",
            "reminder_hold",
            "setting_finding",
            "setting_plan",
            "tenant_inactivity",
            "transfer_choice",
        ),
        _STATE,
    )
    | {
        "activity_hour": "until no batch reads the hour",
        "activity_reading": "until no batch reads the hour",
        "deleted_row_archive": "as long as the archive",
        "frozen_chunk": "until the tenant is deleted",
        "frozen_person": "until the tenant is deleted",
        "hourly_measure": "five weeks",
        "limit_sender": "one day",
        "started_tick": "the last one of each batch, and a year of those whose runs hold messages",
        "provisional_file": "until the month is closed",
        "outbox": "90 days (`notification.retention_days`), then archived",
    }
)
