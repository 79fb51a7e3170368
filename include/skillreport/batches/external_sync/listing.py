"""Reads an entire directory, page by page, into staging rows. An interrupted listing continues at its last page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from include.skillreport.core.database import Statements, tenant_transaction
from include.skillreport.messaging.channels.channel import Channel
from include.skillreport.messaging.channels.directory import (
    REPEATED_CURSOR,
    Account,
    ListedChannel,
    ListingError,
    Page,
    Position,
    ServiceDirectory,
    StartOverError,
)

_SQL = Statements(Path(__file__).parent)

# The limit for endless listings: 10,000 pages are a million accounts.
_MOST_PAGES = 10_000


@dataclass(frozen=True)
class ListedDirectory:
    """One tenant's directory at one provider, in one run. ``run_date`` is the day of the run (Asia/Tokyo)."""

    tenant_id: str
    provider: Channel
    execution_id: str
    run_date: date

    @property
    def key(self) -> dict[str, Any]:
        """The key of its rows."""
        return {
            "tenant_id": self.tenant_id,
            "provider": self.provider,
            "execution_id": self.execution_id,
            "run_date": self.run_date,
        }


@dataclass(frozen=True)
class ListingProgress:
    """The state of a listing; it is complete when nothing is ``due``."""

    due: Position | None
    pages: int = 0
    delta_link: str = ""
    started_over: str = ""


async def read_listing(
    connection: psycopg.Connection, unit: ListedDirectory, directory: ServiceDirectory
) -> None:
    """Read the missing pages of the unit's listing, and save each page with the progress in one transaction.

    :raises ListingError: the listing is incomplete. Its pages stay for the run's next attempt.
    """
    progress = load_progress(connection, unit)
    if progress is None:
        progress = _begin(connection, unit, directory.start, directory.beginning)
    read: set[Position | None] = set()
    while progress.due is not None:
        if progress.pages >= _MOST_PAGES:
            raise ListingError(f"一覧が {_MOST_PAGES:,} ページを超えても終わりません")
        try:
            page = await directory.page(progress.due)
        except StartOverError as error:
            if progress.started_over:
                raise ListingError(f"{error}が、また中断されました", recoverable=True) from None
            progress = _begin(connection, unit, directory.beginning, directory.beginning, str(error))
            read.clear()
        else:
            read.add(progress.due)
            if page.next in read:
                # Not saved, so the next attempt reads this page again, and continues if the service has recovered.
                raise ListingError(REPEATED_CURSOR)
            progress = _store(connection, unit, progress, page)


def load_progress(connection: psycopg.Connection, unit: ListedDirectory) -> ListingProgress | None:
    """The state of the unit's listing; None: it has not begun."""
    with tenant_transaction(connection, [unit.tenant_id]):
        row = _SQL.execute(connection.cursor(row_factory=dict_row), "load_progress", **unit.key).fetchone()
    if row is None:
        return None
    due = Position(row["step"], row["cursor"]) if row["step"] is not None else None
    return ListingProgress(due, row["pages"], row["delta_link"], row["started_over"])


def _begin(
    connection: psycopg.Connection,
    unit: ListedDirectory,
    start: Position,
    beginning: Position,
    started_over: str = "",
) -> ListingProgress:
    with tenant_transaction(connection, [unit.tenant_id]):
        _SQL.execute(
            connection,
            "begin_listing",
            **unit.key,
            step=start.step,
            cursor=start.cursor,
            started_over=started_over,
        )
        if start != beginning:
            _SQL.execute(connection, "seed_accounts", **unit.key)
    return ListingProgress(start, started_over=started_over)


def _store(
    connection: psycopg.Connection, unit: ListedDirectory, progress: ListingProgress, page: Page
) -> ListingProgress:
    after = page.next
    with tenant_transaction(connection, [unit.tenant_id]):
        if page.accounts:
            rows = _rows(page.accounts)
            _SQL.execute(connection, "store_accounts", **unit.key, accounts=rows, is_changes=page.is_changes)
        if page.removed:
            _SQL.execute(connection, "remove_accounts", **unit.key, removed=list(page.removed))
        if page.channels:
            _SQL.execute(connection, "store_channels", **unit.key, channels=_rows(page.channels))
        _SQL.execute(
            connection,
            "store_progress",
            **unit.key,
            step=after.step if after else None,
            cursor=after.cursor if after else "",
            delta_link=page.delta_link,
        )
    return ListingProgress(
        after, progress.pages + 1, page.delta_link or progress.delta_link, progress.started_over
    )


def _rows(entries: Sequence[Account | ListedChannel]) -> Jsonb:
    return Jsonb([asdict(entry) | {"place": place} for place, entry in enumerate(entries)])
