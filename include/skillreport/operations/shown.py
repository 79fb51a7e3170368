"""The items that the board's dialog shows for an operation, and the check that its run works on the same items.

A run's conf contains these lines as ``SHOWN``. Between the dialog and the run, another run may reissue the invoice. Without the lines, as
from Airflow's own form or API, nothing is compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, ClassVar

from include.skillreport.core.database import Statements
from include.skillreport.core.entered import SHOWN
from include.skillreport.core.execution.batch import Batch, Work
from include.skillreport.core.execution.digest import listed
from include.skillreport.core.form import OperationForm, Shows

_SQL = Statements(Path(__file__).parent)

# The statement of each kind of rows.
_ROWS = {
    "invoices": "shown_invoices",
    "lines": "shown_lines",
    "channels": "shown_channels",
    "stops": "shown_stops",
    "offboardings": "shown_offboardings",
    "contracts": "shown_contracts",
    "rates": "shown_rates",
}

# A step of the entire run changes these rows, and compares them under its own lock.
_OF_A_STEP = ("contracts", "rates")

# The values of the form that the statements use.
_VALUES = ("line_text", "line_date", "currency", "rate_date")

# Shown for a tenant without rows.
NOTHING = "なし"

# A sentence lists this many items and counts the others.
_NAMED = 5


def has_rows(shows: Shows, values: Mapping[str, Any]) -> bool:
    """True if the operation works on rows of its tenants, not on entire tenants. ``values`` are the conf's."""
    return bool(shows.rows) and not values.get(shows.unless)


def parameters_of(
    shows: Shows, values: Mapping[str, Any], tenant_ids: Sequence[str], month: date, execution_id: str = ""
) -> dict[str, Any]:
    """The parameters of the statement that finds the rows. ``month`` is any day of the month."""
    return {name: values.get(name) for name in _VALUES} | {
        "tenant_ids": list(tenant_ids),
        "period_start": month.replace(day=1),
        "also": shows.also,
        "execution_id": execution_id,
    }


def lines_of(
    shows: Shows, values: Mapping[str, Any], tenant_ids: Iterable[str], rows: Iterable[Mapping[str, Any]]
) -> list[str]:
    """The items as sorted texts: each tenant's rows, or that it has none, and the values that are ids."""
    things: dict[str, list[str]] = {tenant_id: [] for tenant_id in tenant_ids}
    for row in rows:
        if row["thing"]:
            things.setdefault(row["tenant_id"], []).append(_thing(row))
    nothing = [NOTHING] if has_rows(shows, values) else [""]
    lines = [
        f"{tenant_line(tenant_id)}: {thing}" if tenant_id and thing else thing or tenant_line(tenant_id)
        for tenant_id, own in things.items()
        for thing in own or nothing
    ]
    for name in shows.ids:
        value = values.get(name) or []
        lines += [value] if isinstance(value, str) else value
    return sorted(lines)


def difference(shown: Sequence[str], present: Sequence[str]) -> str:
    """A sentence about the difference."""
    return f"画面に出ていた対象は「{_named(shown)}」ですが、今の対象は「{_named(present)}」です。"


class ChecksShown(Batch):
    """A batch of an operation that rejects items other than those shown."""

    own_form: ClassVar[OperationForm]

    def changed(self, work: Work, *, again: bool = False) -> Mapping[str, str]:
        """Compare the dialog's items with the run's."""
        options, shown = work.run.options, list(work.run.options[SHOWN])
        shows = self.own_form.chosen(options).shows
        if again and shows.rows in _OF_A_STEP:
            return {}
        # A run for all tenants names none.
        tenant_ids = work.tenant_ids if shows.tenants and options.get("tenants") else ()
        parameters = parameters_of(shows, options, tenant_ids, work.run.business_date, work.run.execution_id)
        rows = _SQL.rows(work.connection, _ROWS[shows.rows], **parameters) if has_rows(shows, options) else ()
        present = lines_of(shows, options, tenant_ids, rows)
        pairs = (
            {each: (_lines(shown, each), _lines(present, each)) for each in tenant_ids}
            if again
            else {"": (_without(shown, present), _without(present, shown))}
        )
        return {
            tenant_id: f"{difference(before, now)}何もしていません。ボードで画面を開き直し、対象を確かめてから実行してください。"
            for tenant_id, (before, now) in pairs.items()
            if before != now
        }


def _without(lines: Iterable[str], others: Iterable[str]) -> list[str]:
    """The lines that are missing in ``others``, with their counts."""
    return sorted((Counter(lines) - Counter(others)).elements())


def _lines(lines: Iterable[str], tenant_id: str) -> list[str]:
    """The lines about the tenant."""
    own = tenant_line(tenant_id)
    return sorted(each for each in lines if each == own or each.startswith(f"{own}: "))


def tenant_line(tenant_id: str) -> str:
    """The line of a tenant without rows, and the prefix of its other lines."""
    return f"テナント {tenant_id}"


def _thing(row: Mapping[str, Any]) -> str:
    thing, total = str(row["thing"]), row.get("total")
    return thing if total is None else f"{thing} {total:,f} {row['currency']}"


def _named(lines: Sequence[str]) -> str:
    return "、".join(listed(lines, str, "ほか {:,} 件", _NAMED)) or "なし"
