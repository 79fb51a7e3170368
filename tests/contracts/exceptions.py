"""Where a run does not keep a promise of the contract, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from include.skillreport.operations.operate_contracts.form import FORM, ExportFiles


class Promise(Enum):
    """A promise that has exceptions.

    OTHERS: a run changes nothing of a tenant that is not its matter. DRY: a dry run writes nothing. AGAIN: a new run with the same form
    changes nothing, or is refused. CLEAR: the clear of any step changes nothing; that of a person's operation is refused. KILL: a run that
    is killed before two of its acts ends as an undisturbed one. ANYWHERE: so does one that is killed before any act, and (OPEN) in
    ``open_run``. COUNT: the execution log and the outcomes of such a run say the same, too. BREAKABLE: a tenant can fail. It stops no
    other, and is in exactly one alert; REPAIRED: after its repair, a clear ends the work.
    """

    OTHERS = auto()
    DRY = auto()
    AGAIN = auto()
    CLEAR = auto()
    KILL = auto()
    ANYWHERE = auto()
    OPEN = auto()
    COUNT = auto()
    BREAKABLE = auto()
    REPAIRED = auto()


@dataclass(frozen=True)
class Changes:
    """These tables, "files" or "messages" change nevertheless, and nothing else. ``may_fail``: a cleared step may also refuse."""

    reason: str
    names: frozenset[str]
    may_fail: bool = False


def _changes(reason: str, *names: str, may_fail: bool = False) -> Changes:
    return Changes(reason, frozenset(names), may_fail)


_NEW_LETTER = _changes(
    "a letter that nobody has tried to send is replaced by one with the new figures", "batch.outbox"
)

_CHECKED = _changes(
    "the application shows when the settings of a channel were checked last", "public.SYS_IntegrationConfig"
)

_READ = _changes("a directory names the run that has read it last", "batch.directory_sync")

_SECOND = _changes(
    "another run takes another backup, and so does a clear of open_run; the other steps refuse to change a complete one",
    "batch.backup",
    "public.SYS_BackupHistory",
    "files",
    may_fail=True,
)

_EXPORTED_AGAIN = dict.fromkeys(
    ("offboard_tenant-export", "approve_offboarding"),
    "the next attempt exports again, with what the killed one has recorded about the export",
)

_NEW_DECISION = _changes(
    "the newest decision about a letter counts, with its person and reason",
    "batch.letter_decision",
    "public.HIS_NotificationLog",
)

# The operations on invoices that count what they have changed.
_COUNTING = (
    "send_letter",
    "stop_reminders",
    "allow_reminders",
    "record_payment",
    "record_refund",
    "import_payments",
)

# By the names of the cases, with the reason. What is excepted must be so: a case with a text breaks the promise.
EXCEPTIONS: Mapping[Promise, Mapping[str, str | Changes]] = {
    Promise.OTHERS: {"data_backup": _changes("a backup exports each tenant", "files")},
    Promise.DRY: {"approve_contracts": "in a dry run, list_held asks nobody, and nothing is applied"},
    Promise.AGAIN: {
        "monthly_report": _NEW_LETTER,
        "notification_settings_check": _CHECKED,
        "external_sync": _READ,
        "operate_notifications-stop": _changes(
            "a new stop replaces the reason and the person", "batch.message_stop"
        ),
        "data_backup": _SECOND,
        "offboard_tenant-export": _changes(
            "a new export replaces the earlier one, for example for another key",
            "batch.offboarding",
            "batch.offboarding_table",
            "files",
        ),
        "offboard_tenant-ask": _changes(
            "a new question counts the rows again", "batch.offboarding", "batch.offboarding_table"
        ),
        "offboard_tenant-dispute": _changes("a new dispute is a new question", "batch.disputed_entry"),
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
    Promise.KILL: _EXPORTED_AGAIN,
    Promise.ANYWHERE: _EXPORTED_AGAIN,
    Promise.OPEN: dict.fromkeys(
        ("offboard_tenant-export", "offboard_tenant-ask", "approve_offboarding", "data_backup"),
        "the row of a killed attempt of open_run is one of the tenant's rows, which are counted and exported",
    ),
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
            "offboard_tenant-cancel",
            *(f"operate_contracts-{each.name}" for each in FORM.operations if each is not ExportFiles),
            *(f"operate_invoices-{name}" for name in _COUNTING),
            *(
                f"restore_backup-{name}"
                for name in ("compare", "restore_deleted_rows", "merge", "new_database")
            ),
            *(
                f"operate_notifications-{name}"
                for name in ("resend", "discard", "mark_sent", "reopen", "lift", "resume")
            ),
        ),
        "an attempt counts what it has changed itself, and the one after a kill finds the work done",
    ),
    Promise.BREAKABLE: {
        "data_backup": "no row breaks an export; test_backup_schema_changes makes one fail by its table"
    },
    Promise.REPAIRED: {"import_payments-import": "not a clear, but the next run records what failed"},
}
