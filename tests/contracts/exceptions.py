"""Where a run does not keep a promise of the contract, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto


class Promise(Enum):
    """A promise that has exceptions.

    OTHERS: a run changes nothing of a tenant that is not its matter. DRY: a dry run writes nothing. AGAIN: a new run with the same form
    changes nothing, or is refused. CLEAR: the clear of any step changes nothing; that of a person's operation is refused. KILL: a run that
    is killed before two of its acts ends as an undisturbed one. ANYWHERE: so does one that is killed before any act, and (OPEN) in
    ``open_run``. STATES: neither a clear nor a kill changes a figure of the run. COUNT: the execution log and the outcomes of a killed run
    say the same as an undisturbed one's, and (NEWEST) so do those of a run whose failed tenant was cleared. BREAKABLE: a tenant can fail.
    It stops no other, and is in exactly one alert; REPAIRED: after its repair, a clear ends the work.
    """

    OTHERS = auto()
    DRY = auto()
    AGAIN = auto()
    CLEAR = auto()
    KILL = auto()
    ANYWHERE = auto()
    OPEN = auto()
    STATES = auto()
    COUNT = auto()
    NEWEST = auto()
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
    Promise.STATES: {
        "settings_sync": _changes("the run has mended what it found", "missing", "planned"),
        "external_sync": _changes("the run has made links", "links"),
    },
    Promise.COUNT: dict.fromkeys(
        ("approve_contracts", "import_payments-import"),
        "the note of a step counts what its attempts have recorded; a kill between the work and its note loses the count",
    ),
    Promise.NEWEST: {
        "settings_sync": "the cleared attempt finds less to mend in the tenant beside the failed one",
        "tenant_monitoring": "its note names what the newest attempt has opened",
    },
    Promise.BREAKABLE: {
        "data_backup": "no row breaks an export; test_backup_schema_changes makes one fail by its table"
    },
    Promise.REPAIRED: {"import_payments-import": "not a clear, but the next run records what failed"},
}
