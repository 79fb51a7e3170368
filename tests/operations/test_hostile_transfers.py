"""Hostile and clumsy input of the bank import: names, files, ids and many lines. It is text, or it is refused; nothing else breaks."""

from __future__ import annotations

import csv
import random
from decimal import Decimal
from io import StringIO
from typing import Any

import psycopg
import pytest

from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.object_store import ObjectStore
from tests.conftest import Database
from tests.worlds.bank_files import (
    BIZSTATION,
    confirm,
    open_amounts,
    payments,
    put,
    remark,
    run,
    transfer,
    waiting,
)
from tests.worlds.billing_rows import (
    everything_written,
    files,
)
from tests.worlds.zengin_files import OWN_ACCOUNT

pytestmark = [
    pytest.mark.usefixtures("billed"),
    pytest.mark.billed(payment_source="operations", own_accounts=[OWN_ACCOUNT]),
]

A1 = "INV-2026-10-001"

HOSTILE_NAMES = [
    '=HYPERLINK("http://evil.example/","ｶ)ｱｵﾊﾞ")',
    "+81-3-0000-0000",
    "-1+1",
    "@SUM(A1:A9)",
    "<script>alert(1)</script>",
    "'; DROP TABLE batch.payment; --",
    "%s%(name)s{name}{{ name }}$(id)`id`",
    "\\N\\x00",
    "\U0001f600社",
]

HOSTILE_IDS = [
    "T261127-ffffffffffff",
    "T261127-%",
    "%",
    "*",
    "' OR 1=1 --",
    "<script>alert(1)</script>",
    "x" * 100_000,
    "Ｔ２６",
]


def csv_file(*names: str, code: str = "") -> bytes:
    """A file of 三菱UFJ銀行 with a transfer of ¥1,000 of each of these payers on 27 November."""
    text = StringIO()
    writer = csv.writer(text)
    writer.writerow(BIZSTATION.split(","))
    for name in names:
        account = ("0005", "ﾐﾂﾋﾞｼ", "123", "ﾄｳｷﾖ", "1", "1234567", "ｶ)ﾜﾚﾜﾚ")
        writer.writerow([*account, "081127", "1", "11", "1000", "0", "", "", code, name, "", "", "", ""])
    return text.getvalue().encode()


def test_formulas_and_markup_in_names_are_text(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    put(store, name="=1+1.csv", content=csv_file(*HOSTILE_NAMES))

    assert run(database, store).status == "completed"

    rows = host.execute("SELECT payer_name, transfer_id FROM batch.bank_transfer ORDER BY line").fetchall()
    assert [name for name, _ in rows] == HOSTILE_NAMES
    assert set(waiting(host).values()) == {"unknown_payer"}
    result = confirm(database, store, *(f"{transfer_id}={A1}" for _, transfer_id in rows))
    assert result.status == "completed"
    assert open_amounts(host) == {A1: 11_000 - 1_000 * len(HOSTILE_NAMES)}
    known = host.execute("SELECT payer_name FROM batch.payer").fetchall()
    assert sorted(name for (name,) in known) == sorted(HOSTILE_NAMES)
    for key, content in files(store).items():
        if key.startswith("accounting/") and key.endswith(".csv"):
            cells = [cell for row in csv.reader(StringIO(content.decode("utf-8-sig"))) for cell in row]
            assert not [cell for cell in cells if cell.startswith(("=", "+", "@")) or "evil" in cell], key


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("ｱｵ\x07ﾊﾞ", ""),
        ("ｱｵ\u202eﾊﾞ", ""),
        ("ｱｵ\u200bﾊﾞ", ""),
        ("ｱｵﾊﾞ", "\x00"),
        ("".join(random.Random(1).choices("ｱｲｳｴｵｶｷｸｹｺ0123456789", k=20_000)), ""),  # noqa: S311
        ("ｱｵﾊﾞ", "1" * 20_000),
    ],
    ids=["bell", "direction", "zero width", "NUL", "long name", "long code"],
)
def test_a_file_with_impossible_cells_is_refused_as_a_whole(
    database: Database, host: psycopg.Connection, store: ObjectStore, name: str, code: str
) -> None:
    put(store, name="bad.csv", content=csv_file("ﾐﾄﾞﾘ", name, code=code))
    put(store, transfer(500), name="good.txt")

    result = run(database, store)

    assert result.status == "partial"
    assert store.names("bank-files/incoming") == ["bad.csv"]
    problem = remark(host, result)["problem"]
    assert "3 行目" in problem
    assert problem.isprintable()
    assert len(problem) < 1_000
    assert len(waiting(host)) == 1


def test_names_of_files_are_text(database: Database, host: psycopg.Connection, store: ObjectStore) -> None:
    names = ["=cmd|' C'!A0.csv", "<b>&'\"%s{}.csv", f"{'ｶ' * 70}.csv", "a..csv"]
    for number, name in enumerate(names):
        put(store, name=name, content=csv_file(f"ｱｵﾊﾞ{number}"))

    assert run(database, store).status == "completed"

    stored = host.execute("SELECT name FROM batch.bank_file").fetchall()
    assert sorted(name for (name,) in stored) == sorted(names)
    assert store.names("bank-files/incoming") == []
    assert len(store.names("bank-files/imported/2026-12")) == len(names)


@pytest.mark.parametrize("operation", ["confirm", "same_payment", "set_aside", "reopen", "forget_payers"])
def test_a_text_that_is_no_id_is_refused_without_effect(
    database: Database, host: psycopg.Connection, store: ObjectStore, operation: str
) -> None:
    put(store, transfer(500))
    run(database, store)
    before = everything_written(host), waiting(host), payments(host)
    for hostile in HOSTILE_IDS:
        of_operations: dict[str, dict[str, Any]] = {
            "confirm": {"transfers": [f"{hostile}={A1}"]},
            "same_payment": {"same_transfers": [hostile]},
            "set_aside": {"transfer_ids": [hostile], "reason": "利息"},
            "reopen": {"transfer_ids": [hostile]},
            "forget_payers": {"payers": [hostile]},
        }
        try:
            message = str(run(database, store, operation, values=of_operations[operation]).error)
        except ParameterError as error:
            message = str(error)
        assert message, hostile[:40]
        assert len(message) < 500, operation
    assert (everything_written(host), waiting(host), payments(host)) == before


@pytest.mark.parametrize("hostile", ["\x00", "T261127\x07", "\u200b"])
@pytest.mark.parametrize("field", ["transfers", "same_transfers", "transfer_ids"])
def test_control_characters_in_the_form_are_refused(
    database: Database, store: ObjectStore, field: str, hostile: str
) -> None:
    operation = {"transfers": "confirm", "same_transfers": "same_payment", "transfer_ids": "reopen"}[field]
    with pytest.raises(ParameterError, match="制御文字"):
        run(database, store, operation, values={field: [f"T1{hostile}={A1}"]})


def test_two_hundred_lines_are_confirmed_at_once(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    put(store, *(transfer(50 + number, f"ｱｵﾊﾞ{number}", reference=f"{number}") for number in range(200)))
    run(database, store)
    lines = [f"{transfer_id}={A1}" for transfer_id in waiting(host)]
    assert len(lines) == 200

    assert confirm(database, store, *lines).status == "completed"

    assert waiting(host) == {}
    paid = Decimal(sum(50 + number for number in range(200)))
    assert open_amounts(host) == {A1: 11_000 - paid}
    assert len(payments(host)) == 200


def test_two_hundred_transfers_are_set_aside_at_once(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    put(store, *(transfer(1, "ﾘｿｸ", reference=f"{number}") for number in range(200)))
    run(database, store)
    values = {"transfer_ids": list(waiting(host)), "reason": "預金利息"}
    assert run(database, store, "set_aside", values=values).status == "completed"
    assert waiting(host) == {}
