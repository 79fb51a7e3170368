"""BATCH-018-02: its rows compared with COPY of the same rows, and its documents with bare typesetting of the same PDFs."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from functools import partial
from graphlib import TopologicalSorter
from pathlib import Path
from typing import LiteralString, TypeVar

import psycopg
from psycopg import sql

from benchmarks.billing import DOCUMENTS, MONTH, issued_invoices, run_billing_batch
from benchmarks.floors.comparison import Comparison, Site, require_equal
from benchmarks.measurement import measure, vacuum
from include.skillreport.billing.documents.archive import write_documents
from include.skillreport.billing.documents.invoice import Invoice
from include.skillreport.billing.documents.rendering import _TEMPLATE, _printed
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.typesetting import compile_pdf

T = TypeVar("T")

_SQL = Statements(Path(__file__).parent)
_BENCHMARKS_SQL = Statements(Path(__file__).parents[1])

# What records the run and not its result.
_BOOKKEEPING = frozenset({"execution_log", "tenant_outcome", "task_metric", "performance_metric"})
_LARGEST_ATTACHMENT = 10**7


def billing(site: Site) -> Iterator[Comparison]:
    """All invoices of a month, then the documents of the first of them."""
    with site.copied(site.planted) as dsn, site.copied(site.planted) as floor_dsn:
        for each in (dsn, floor_dsn):
            with psycopg.connect(each) as connection:
                _BENCHMARKS_SQL.execute(connection, "billing_month")
            vacuum(each)
        ours = measure(run_billing_batch, dsn, MONTH)
        rows, folder = _written_tables(floor_dsn, dsn), site.new_folder()
        assert "invoice" in rows, "no invoice was made"
        _export(dsn, rows, folder)
        floor = measure(partial(import_rows, tuple(rows), str(folder)), floor_dsn, MONTH)
        for table in rows:
            require_equal(table, _digest(floor_dsn, table), _digest(dsn, table))
        yield Comparison("BATCH-018-02 billing, without documents", site.amount, 3.0, [floor], [ours])
        yield _documents(site, dsn)


def import_rows(tables: Sequence[str], folder: str, dsn: str, _: date) -> None:
    """COPY the files of the tables into the empty tables."""
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        for table in tables:
            with cursor.copy(_named("COPY {} FROM STDIN (FORMAT binary)", table)) as copy:
                copy.write(Path(folder, table).read_bytes())


def _export(dsn: str, tables: Sequence[str], folder: Path) -> None:
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        for table in tables:
            statement = _named("COPY {} TO STDOUT (FORMAT binary)", table)
            with (folder / table).open("wb") as file, cursor.copy(statement) as copy:
                file.writelines(copy)


def _named(statement: LiteralString, table: str) -> sql.Composed:
    return sql.SQL(statement).format(sql.Identifier("batch", table))


def _written_tables(empty_dsn: str, dsn: str) -> list[str]:
    """The tables that the run has filled, in an order in which their foreign keys hold."""
    with psycopg.connect(empty_dsn) as empty, psycopg.connect(dsn) as full:
        references = {table: set(needed) for table, needed in _SQL.execute(full, "batch_tables").fetchall()}
        order = TopologicalSorter(references).static_order()
        return [
            table
            for table in order
            if table not in _BOOKKEEPING and _count(full, table) and not _count(empty, table)
        ]


def _count(connection: psycopg.Connection, table: str) -> int:
    row = connection.execute(_named("SELECT count(*) FROM {}", table)).fetchone()
    assert row is not None
    return int(row[0])


def _digest(dsn: str, table: str) -> object:
    query = _named("SELECT md5(string_agg(row::text, '' ORDER BY row::text)) FROM {} AS row", table)
    with psycopg.connect(dsn) as connection:
        return connection.execute(query).fetchone()


def _documents(site: Site, dsn: str) -> Comparison:
    store, pdfs = site.new_folder(), site.new_folder()
    tenants = [str(tenant_id) for tenant_id, *_ in issued_invoices(dsn)[:DOCUMENTS]]
    ours = measure(partial(write_in_shares, str(store), tuple(tenants)), dsn, MONTH)
    invoices = sorted(store.rglob("*.json"))
    inputs = site.new_folder() / "inputs.json"
    inputs.write_text(json.dumps([_input(path) for path in invoices]))
    floor = measure(partial(typeset_in_shares, str(inputs), str(pdfs)), dsn, MONTH)
    made, bare = ([path.read_bytes() for path in sorted(folder.rglob("*.pdf"))] for folder in (store, pdfs))
    assert made, "no document was written"
    require_equal("documents", bare, made)
    return Comparison("BATCH-018-02 documents, all cores", f"{len(made):,} PDFs", 1.2, [floor], [ours])


def _input(path: Path) -> tuple[str, str, str]:
    """The name of an invoice's PDF, the data of its template, and its date."""
    invoice = Invoice.model_validate_json(path.read_bytes())
    dated = invoice.issued_on or invoice.period_end
    data = json.dumps(_printed(invoice) | {"sample_mark": None}, ensure_ascii=False)
    return path.with_suffix(".pdf").name, data, dated.isoformat()


def write_in_shares(folder: str, tenant_ids: Sequence[str], dsn: str, month: date) -> None:
    """Write the tenants' documents with one process per core."""
    _in_shares(partial(_write_share, folder, dsn, month), tenant_ids)


def _write_share(folder: str, dsn: str, month: date, tenant_ids: Sequence[str]) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SET ROLE batch_tenant")
        for tenant_id in tenant_ids:
            write_documents(
                connection,
                tenant_id,
                month,
                ObjectStore(Path(folder)),
                largest_attachment=_LARGEST_ATTACHMENT,
            )


def typeset_in_shares(inputs: str, folder: str, dsn: str, _: date) -> None:  # noqa: ARG001 - the signature of Work
    """Typeset the documents with one process per core."""
    _in_shares(partial(_typeset_share, folder), json.loads(Path(inputs).read_text()))


def _typeset_share(folder: str, inputs: Sequence[tuple[str, str, str]]) -> None:
    for name, data, dated in inputs:
        pdf = compile_pdf(_TEMPLATE, "invoice", data, dated=date.fromisoformat(dated), standards="a-2a")
        Path(folder, name).write_bytes(pdf)


def _in_shares(work: Callable[[Sequence[T]], None], parts: Sequence[T]) -> None:
    """Each process works on every n-th part."""
    cores = os.cpu_count() or 1
    with ProcessPoolExecutor(cores, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(work, [parts[number::cores] for number in range(cores)]))
