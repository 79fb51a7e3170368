"""The stages of a tenant that leaves, as the tests do them, each in a measured process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict

from include.skillreport.operations.offboard_tenant import deletion
from tests.conftest import Database, Server
from tests.worlds.leaving_tenants import Leaving


def begin(folder: str, tenant: str, dsn: str, _: date) -> None:
    """The beginning."""
    assert _leaving(folder, dsn).begun(tenant).status == "completed"


def export(folder: str, tenant: str, dsn: str, _: date) -> None:
    """The tenant's data as files."""
    assert _leaving(folder, dsn).exported(tenant).status == "completed"


def delete(folder: str, tenant: str, dsn: str, _: date) -> float:
    """The question, its answer and the deletion; returns the longest transaction in seconds."""
    leaving, longest = _leaving(folder, dsn), _watch_transactions()
    assert leaving.answer(leaving.asked(tenant)).status == "completed"
    return max(longest)


def _leaving(folder: str, dsn: str) -> Leaving:
    about = conninfo_to_dict(dsn)
    return Leaving(
        Database(str(about["dbname"]), Server(dsn, "127.0.0.1", int(about["port"] or 0))), Path(folder)
    )


def _watch_transactions() -> list[float]:
    longest, entered = [0.0], vars(deletion)["tenant_transaction"]

    @contextmanager
    def timed(*given: Any) -> Iterator[Any]:
        start = time.perf_counter()
        with entered(*given) as transaction:
            yield transaction
        longest.append(time.perf_counter() - start)

    vars(deletion)["tenant_transaction"] = timed
    return longest
