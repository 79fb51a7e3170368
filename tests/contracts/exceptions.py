"""Where a run does not keep a promise of the contract, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto

from include.skillreport.operations.operate_contracts.form import FORM, ExportFiles


class Promise(Enum):
    """A promise that has exceptions.

    DRY: a dry run writes nothing. AGAIN: a new run with the same form changes nothing, or is refused. CLEAR: the clear of any step changes
    nothing; that of a person's operation is refused. KILL: a run that is killed before any act ends as an undisturbed one. COUNT: the
    execution log and the outcomes of such a run say the same, too. BROKEN: a tenant that fails stops no other, and is in exactly one
    alert; after it is mended, a clear ends the work.
    """

    DRY = auto()
    AGAIN = auto()
    CLEAR = auto()
    KILL = auto()
    COUNT = auto()
    BROKEN = auto()


_NEW_LETTER = "a letter that nobody has tried to send is replaced by one with the new figures"

_CHECKED = "the application shows when the settings of a channel were checked last"

_READ = "a directory names the run that has read it last"

_SECOND = "another run takes another backup, and so does a clear of open_run"

_NEW_DECISION = "the newest decision about a letter counts, with its person and reason"

# The operations on invoices that count what they have changed.
_COUNTING = (
    "send_letter",
    "stop_reminders",
    "allow_reminders",
    "record_payment",
    "record_refund",
    "import_payments",
)

# By the names of the cases.
EXCEPTIONS: Mapping[Promise, Mapping[str, str]] = {
    Promise.DRY: {"approve_contracts": "in a dry run, list_held asks nobody, and nothing is applied"},
    Promise.AGAIN: {
        "monthly_report": _NEW_LETTER,
        "notification_settings_check": _CHECKED,
        "external_sync": _READ,
        "operate_notifications-stop": "a new stop replaces the reason and the person",
        "data_backup": _SECOND,
        "offboard_tenant-export": "a new export replaces the earlier one, for example for another key",
        "offboard_tenant-ask": "a new question counts the rows again",
        "offboard_tenant-dispute": "a new dispute is a new question",
        "operate_invoices-reissue": "it replaces the invoice, whoever has issued it",
        "operate_invoices-stop_letter": _NEW_DECISION,
        "operate_invoices-send_letter": _NEW_DECISION,
    },
    Promise.CLEAR: {
        "monthly_report": _NEW_LETTER,
        "notification_settings_check": _CHECKED,
        "external_sync": _READ,
        "data_backup": _SECOND,
    },
    Promise.KILL: {},
    Promise.COUNT: dict.fromkeys(
        (
            "settings_sync",
            "undo_settings_sync-undo",
            "tenant_monitoring",
            "log_cleanup",
            "scheduled_notifications",
            "notification_retry",
            "notification_settings_check",
            "approve_resumption",
            "approve_contracts",
            "import_payments-import",
            *(f"operate_contracts-{each.name}" for each in FORM.operations if each is not ExportFiles),
            *(f"operate_invoices-{name}" for name in _COUNTING),
            *(f"restore_backup-{name}" for name in ("restore_deleted_rows", "merge", "new_database")),
            *(
                f"operate_notifications-{name}"
                for name in ("resend", "discard", "mark_sent", "reopen", "lift", "resume")
            ),
        ),
        "an attempt counts what it has changed itself, and the one after a kill finds the work done",
    ),
    Promise.BROKEN: {
        "data_backup": "no row breaks an export; test_backup_schema_changes makes one fail by its table",
        "import_payments-import": "not a clear, but the next run records what failed",
    },
}
