"""The comparison notices what a kill may do wrong, and overlooks only what it lists."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb
from pypdf import PdfWriter
from pypdf.generic import DictionaryObject, NameObject, StreamObject

from include.skillreport.messaging.channels.line_works import LINE_WORKS
from include.skillreport.messaging.channels.slack import SLACK
from include.skillreport.messaging.channels.teams import TEAMS
from include.skillreport.messaging.message import Message
from include.skillreport.messaging.templates import literal
from local_stack.stand_ins import Arrived, StandIns
from tests.chaos.__main__ import exit_code
from tests.chaos.end_state import LATER_RUN, EndState, InFlight, differences, end_state_of, with_later_alerts
from tests.chaos.normalisation import IGNORED_COLUMNS, Names
from tests.conftest import Database
from tests.messaging.sending import DESTINATIONS, Tenant, key_pair
from tests.worlds import host_rows
from tests.worlds.shared_database import database, shared_copy, shared_database

__all__ = ["database", "shared_copy", "shared_database"]

STARTED = datetime(2026, 11, 27, tzinfo=UTC)
LETTER = Arrived("email", "hanako@example.jp", "本文", "お知らせ", headers={"Message-ID": "<1@example.jp>"})
POST = Arrived("slack", "C1", "本文")
ALERT = Arrived("slack", "#batch-alerts", "バッチ実行失敗: BATCH-003")
DOUBT = Arrived("slack", "#batch-alerts", "バッチ実行失敗: BATCH-019-02\n届いたか分かりません")
IN_FLIGHT = InFlight("T001", "host:1", None, POST)


class World:
    """A small installation: an invoice, two messages and a file."""

    def __init__(self, host: psycopg.Connection, folder: Path) -> None:
        self.host = host
        self.folder = folder
        self.messages = [LETTER, POST]
        self.storage.mkdir()
        self.temporary.mkdir()
        for name in ("invoices/2026-10", "accounting/2026-10"):
            (self.storage / name).mkdir(parents=True)
        (self.storage / "invoice.pdf").write_bytes(b"PDF")
        closed_run(host)
        for tenant_id, number in {"T001": "INV-2026-10-001", "T002": "INV-2026-10-002"}.items():
            host_rows.tenant(host, tenant_id)
            self.invoice(tenant_id, number)
        self.write_lists()

    @property
    def storage(self) -> Path:
        return self.folder / "storage"

    @property
    def temporary(self) -> Path:
        return self.folder / "temporary"

    def invoice(self, tenant_id: str, number: str, total: int = 1000) -> None:
        """A finalised invoice with its files, and a letter about it."""
        invoice(self.host, tenant_id, number, total)
        folder = self.storage / "invoices/2026-10"
        (folder / f"{number}.json").write_text(
            json.dumps({"number": number, "tenant": tenant_id, "total": total})
        )
        # Of another length for each number, as the streams of a real one.
        (folder / f"{number}.pdf").write_bytes(pdf(f"{number} {tenant_id} {total}") + b"%" * int(number[-3:]))
        for format_ in ("pdf", "json"):
            content = (folder / f"{number}.{format_}").read_bytes()
            self.host.execute(
                """
                INSERT INTO batch.invoice_document (invoice_id, tenant_id, format, location, sha256, bytes)
                SELECT invoice_id, tenant_id, %s, 'file:///invoices/2026-10/' || number, %s, %s FROM batch.invoice
                WHERE number = %s AND tenant_id = %s
                """,
                [format_, sha256(content).hexdigest(), len(content), number, tenant_id],
            )
        self.messages.append(Arrived("email", f"{tenant_id}@example.jp", f"請求書 {number}"))

    def write_lists(self) -> None:
        """The lists that are sorted by number."""
        query = """
            SELECT number, tenant_id, total::int, sha256 FROM batch.invoice INNER JOIN batch.invoice_document AS document
                USING (invoice_id, tenant_id)
            WHERE format = 'pdf' ORDER BY number
        """
        rows = self.host.execute(query).fetchall()
        index, entries = [("番号", "テナント", "合計", "PDF")], [("取引No", "取引日", "金額", "番号")]
        index += [(number, tenant_id, str(total), digest) for number, tenant_id, total, digest in rows]
        entries += [
            (str(position), "2026/11/01", str(total), number)
            for position, (number, _, total, _) in enumerate(rows, 1)
        ]
        for name, lines in (
            ("invoices/2026-10/index.csv", index),
            ("accounting/2026-10/moneyforward-2026-10-未確定.csv", entries),
        ):
            with (self.storage / name).open("w", newline="") as file:
                csv.writer(file).writerows(lines)

    def bill_again(self, invoices: Mapping[str, tuple[str, int]]) -> None:
        """Numbers and totals by tenant, instead of the others, as if they had been the run's."""
        self.host.execute("SET session_replication_role = replica")
        self.host.execute("DELETE FROM batch.invoice_document")
        self.host.execute("DELETE FROM batch.invoice")
        self.host.execute("ALTER TABLE batch.invoice DROP CONSTRAINT IF EXISTS invoice_number_key")
        self.messages = [LETTER, POST]
        for path in (self.storage / "invoices/2026-10").iterdir():
            path.unlink()
        for tenant_id, (number, total) in invoices.items():
            self.invoice(tenant_id, number, total)
        self.write_lists()

    def end_state(self, *in_flight: InFlight) -> EndState:
        folders = {"storage": self.storage}
        return end_state_of(
            self.host, folders, self.temporary, self.messages, STARTED, in_flight=list(in_flight)
        )


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Iterator[World]:
    with database.connect() as host:
        yield World(host, tmp_path)


@pytest.fixture
def reference(world: World) -> EndState:
    return world.end_state()


def closed_run(host: psycopg.Connection) -> None:
    """A run that has ended."""
    host.execute(
        """
        INSERT INTO batch.execution_log (
            execution_id, batch_id, dag_id, run_id, business_date, dry_run, parameters, execution_host, status, ended_at,
            total_tenants
        )
        VALUES ('run', 'BATCH-018-02', 'billing', 'r', '2026-10-31', false, '{}', 'host', 'completed', now(), 1)
        """
    )


def invoice(host: psycopg.Connection, tenant_id: str, number: str, total: int) -> None:
    """A finalised invoice of the run."""
    host.execute(
        """
        INSERT INTO batch.invoice (
            invoice_id, tenant_id, kind, period_start, period_end, status, number, issued_on, accrued_on, booked_on, currency,
            total, content, inputs, input_hash, execution_id, finalized_at
        )
        VALUES (
            gen_random_uuid(), %s, 'invoice', '2026-10-01', '2026-10-31', 'finalized', %s, '2026-11-01', '2026-10-31',
            '2026-10-31', 'JPY', %s, '{}', '{}', '', 'run', %s
        )
        """,
        [tenant_id, number, total, STARTED + timedelta(minutes=1)],
    )


def outbox_message(host: psycopg.Connection, dedupe_key: str) -> None:
    """A message of T001 that waits to be sent."""
    host.execute(
        """
        INSERT INTO batch.outbox (
            message_id, tenant_id, dedupe_key, channel, destination, subject, body, due_at, next_attempt_at, created_by
        )
        VALUES (gen_random_uuid(), 'T001', %s, 'slack', 'C1', '', '本文', now(), now(), 'run')
        """,
        [dedupe_key],
    )


def pdf(text: str) -> bytes:
    """A page with this text."""
    writer = PdfWriter()
    page = writer.add_blank_page(595, 842)
    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
        }
    )
    page[NameObject("/Resources")] = DictionaryObject(
        {NameObject("/Font"): DictionaryObject({NameObject("/F"): font})}
    )
    content = StreamObject()
    content.set_data(f"BT /F 12 Tf 72 720 Td ({text}) Tj ET".encode())
    page[NameObject("/Contents")] = writer._add_object(content)
    stream = io.BytesIO()
    writer.write(stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("2026-11-27T00:00:00.700000", "2026-11-27T00:00:00.700000"),
        ("2026-11-27 00:00:00.700+00", "2026-11-27 00:00:00.700+00"),
        ("2026-11-27T00:00:00.800000", "<now>"),
        ("2026-11-27 09:00:00 +09:00", "<now>"),
        ("2026-11-26T23:59:59", "2026-11-26T23:59:59"),
    ],
)
def test_a_time_of_the_run_that_prepares_the_trial_stays(text: str, normalised: str) -> None:
    # The undisturbed run may begin in the second in which its preparation ended; the trial begins later.
    assert Names(STARTED + timedelta(milliseconds=800)).normalise(text) == normalised


def test_an_equal_state_has_no_differences(world: World, reference: EndState) -> None:
    assert differences(reference, world.end_state()) == []


def test_a_doubled_message_is_noticed(world: World, reference: EndState) -> None:
    world.messages.append(POST)

    assert differences(reference, world.end_state()) == ["message: 1 too many", "  + slack C1: : 本文"]


def test_a_lost_message_is_noticed(world: World, reference: EndState) -> None:
    world.messages.remove(LETTER)

    assert differences(reference, world.end_state())[0] == "message: 1 missing"


def test_a_message_in_flight_may_be_lost_and_never_comes_twice(world: World, reference: EndState) -> None:
    world.messages.append(DOUBT)
    assert differences(reference, world.end_state(IN_FLIGHT)) == []

    world.messages.remove(POST)
    assert differences(reference, world.end_state(IN_FLIGHT)) == []

    world.messages += [POST, POST]
    assert differences(reference, world.end_state(IN_FLIGHT)) == [
        "message: 1 too many",
        "  + slack C1: : 本文",
    ]


def test_an_attempt_of_open_run_that_was_killed_is_no_difference(world: World, reference: EndState) -> None:
    insert = """
        INSERT INTO batch.execution_log (
            execution_id, batch_id, dag_id, run_id, business_date, dry_run, parameters, execution_host, status, ended_at,
            started_at, error_message, total_tenants
        )
        VALUES ('killed', 'BATCH-018-02', 'billing', %s, '2026-10-31', false, '{}', 'host', 'failed', now(),
            now() - interval '1 minute', '孤立した実行として失敗にしました: 終わる前に同じ実行がやり直されました', 1)
    """
    world.host.execute(insert, ["r"])
    world.host.execute(
        "INSERT INTO batch.tenant_outcome (execution_id, tenant_id, status) VALUES ('killed', 'T001', 'pending')"
    )
    assert differences(reference, world.end_state()) == []

    world.host.execute("UPDATE batch.execution_log SET run_id = 'another' WHERE execution_id = 'killed'")
    assert "batch.execution_log: 1 too many" in differences(reference, world.end_state())


def test_a_cleared_run_keeps_what_its_first_closing_has_measured(world: World) -> None:
    world.host.execute(
        """
        INSERT INTO batch.performance_metric (
            execution_id, batch_id, run_id, business_date, execution_seconds, cpu_seconds, peak_memory_bytes,
            records_processed, is_comparable
        )
        VALUES ('run', 'BATCH-018-02', 'r', '2026-10-31', 1, 1, 1, 31, true)
        """
    )
    reference = world.end_state()
    world.host.execute("UPDATE batch.performance_metric SET is_comparable = false, execution_seconds = 2")
    assert differences(reference, world.end_state()) == []

    world.host.execute("UPDATE batch.performance_metric SET records_processed = 0")
    assert "batch.performance_metric: 1 missing" in differences(reference, world.end_state())


def test_rows_are_json_whatever_is_replaced_in_them(world: World) -> None:
    """A message in flight is searched for in all rows, and a row that differs is shown by its fields."""
    result = "UPDATE batch.execution_log SET result = %s"
    world.host.execute(result, [Jsonb({"scans": {"TRN_Skill": {"read": 7, "used": 5}}})])
    outbox_message(world.host, 'host:"1"')
    reference = world.end_state(IN_FLIGHT)
    world.host.execute(result, [Jsonb({"scans": {"TRN_Skill": {"read": 9, "used": 6}}})])
    world.messages.append(DOUBT)

    assert differences(reference, world.end_state(IN_FLIGHT)) == []
    (shown,) = (line for line in differences(reference, world.end_state()) if line.startswith("    "))
    assert "'read': '<rows>', 'used': 5" in shown
    assert "'read': '<rows>', 'used': 6" in shown


def test_a_message_in_flight_is_found_although_its_key_has_an_id(world: World) -> None:
    key = "fallback:11111111-1111-4111-8111-111111111111"
    outbox_message(world.host, key)
    reference = world.end_state()
    world.host.execute("UPDATE batch.outbox SET attempts = 2")
    world.messages.append(DOUBT)

    assert differences(reference, world.end_state(replace(IN_FLIGHT, dedupe_key=key))) == []


def test_a_message_that_was_not_in_flight_may_not_be_lost(world: World) -> None:
    world.messages.append(Arrived("slack", "C2", "本文"))
    reference = world.end_state()
    world.messages[-1] = DOUBT

    assert differences(reference, world.end_state(IN_FLIGHT)) == [
        "message: 1 missing",
        "  - slack C2: : 本文",
    ]


def test_an_email_in_flight_arrives(world: World, reference: EndState) -> None:
    in_flight = InFlight("T001", "host:1", None, replace(LETTER, headers={}))
    assert differences(reference, world.end_state(in_flight)) == []

    world.messages.remove(LETTER)

    assert differences(reference, world.end_state(in_flight))[0] == "message: 1 missing"


def test_a_row_of_the_outbox_tells_how_its_message_arrives() -> None:
    with StandIns(line_works_public_key=key_pair()[1]) as services:
        tenant = Tenant(services)
        for channel in (SLACK, TEAMS, LINE_WORKS):
            text = literal(channel, "お知らせ *1*", "1行目\n<2行目>")
            message = Message(
                "m1", "T001", channel, DESTINATIONS[channel], text.subject, text.text, text.rich
            )
            tenant.send(tenant.config(channel), message)
            row = {
                "tenant_id": "T001",
                "dedupe_key": "host:1",
                "host_log_id": None,
                "channel": str(channel),
                "destination": message.destination,
                "subject": message.subject,
                "body": message.text,
                "rich": message.rich,
            }

            expected = InFlight.from_outbox(row).message
            arrived = services.messages[-1]

            assert (arrived.channel, arrived.destination, arrived.subject, arrived.text) == (
                expected.channel,
                expected.destination,
                expected.subject,
                expected.text,
            )


def test_a_letter_that_came_twice_under_one_message_id_is_one_letter(
    world: World, reference: EndState
) -> None:
    world.messages.append(LETTER)

    assert differences(reference, world.end_state()) == []


def test_a_missing_invoice_is_noticed(world: World, reference: EndState) -> None:
    # A finalised invoice cannot be deleted past its triggers.
    world.host.execute("SET session_replication_role = replica")
    world.host.execute("DELETE FROM batch.invoice WHERE tenant_id = 'T002'")

    assert "batch.invoice: 1 missing" in differences(reference, world.end_state())


def test_swapped_numbers_are_no_difference(world: World, reference: EndState) -> None:
    world.bill_again({"T002": ("INV-2026-10-001", 1000), "T001": ("INV-2026-10-002", 1000)})

    assert differences(reference, world.end_state()) == []


@pytest.mark.parametrize("second", ["INV-2026-10-001", "INV-2026-10-003"], ids=["a double", "a gap"])
def test_a_double_and_a_gap_in_the_numbers_are_noticed(
    world: World, reference: EndState, second: str
) -> None:
    world.bill_again({"T001": ("INV-2026-10-001", 1000), "T002": (second, 1000)})

    found = differences(reference, world.end_state())

    start = found.index("number: 1 missing")
    assert found[start : start + 4] == [
        "number: 1 missing",
        "  - INV-2026-10-002",
        "number: 1 too many",
        f"  + {second}",
    ]


def test_another_amount_of_a_swapped_invoice_is_noticed(world: World, reference: EndState) -> None:
    world.bill_again({"T002": ("INV-2026-10-001", 1000), "T001": ("INV-2026-10-002", 1001)})

    found = differences(reference, world.end_state())

    assert "batch.invoice: 1 missing" in found
    # The PDF, the JSON and the two lists.
    assert "file: 4 missing" in found
    assert not any(line.startswith("number") for line in found)


def test_a_number_of_another_tenant_in_a_letter_is_noticed(world: World, reference: EndState) -> None:
    world.bill_again({"T002": ("INV-2026-10-001", 1000), "T001": ("INV-2026-10-002", 1000)})
    world.messages[-1] = replace(world.messages[-1], text="請求書 INV-2026-10-001")

    assert differences(reference, world.end_state())[0] == "message: 1 missing"


def test_a_digest_of_another_file_is_noticed(world: World, reference: EndState) -> None:
    world.bill_again({"T002": ("INV-2026-10-001", 1000), "T001": ("INV-2026-10-002", 1000)})
    path = world.storage / "invoices/2026-10/INV-2026-10-001.pdf"
    # The text is the same, and the recorded digest is not that of the file.
    path.write_bytes(path.read_bytes() + b"%")

    assert "batch.invoice_document: 1 missing" in differences(reference, world.end_state())


def test_lost_and_doubled_lines_of_sorted_files_are_found(world: World, reference: EndState) -> None:
    path = world.storage / "accounting/2026-10/moneyforward-2026-10-未確定.csv"
    content = path.read_bytes()
    for wrong in (content[: content.rindex(b"2,2026")], content.replace(b"2,2026", b"1,2026")):
        path.write_bytes(wrong)

        assert differences(reference, world.end_state())[0] == "file: 1 missing"


def test_a_stranded_lock_is_noticed(world: World, reference: EndState, database: Database) -> None:
    with database.connect("batch_platform") as platform:
        platform.execute("SELECT pg_advisory_lock(1, 2)")

        found = differences(reference, world.end_state())

    assert len(found) == 1
    assert found[0].startswith("left behind: advisory lock of")


def test_a_run_that_is_still_open_is_noticed(world: World, reference: EndState) -> None:
    world.host.execute("UPDATE batch.execution_log SET status = 'running', ended_at = NULL")

    assert "left behind: run still open: BATCH-018-02" in differences(reference, world.end_state())


@pytest.mark.parametrize("name", ["temporary/backup-x/part", "storage/.invoice.pdf.1234.part"])
def test_a_left_temporary_file_is_noticed(world: World, reference: EndState, name: str) -> None:
    path = world.folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")

    assert len(differences(reference, world.end_state())) > 0


def test_another_content_of_a_file_is_noticed(world: World, reference: EndState) -> None:
    (world.storage / "invoice.pdf").write_bytes(b"PD")

    assert [line for line in differences(reference, world.end_state()) if line.startswith("file")] == [
        "file: 1 missing",
        "file: 1 too many",
    ]


def test_a_second_file_whose_name_differs_only_in_ids_is_noticed(world: World) -> None:
    (world.storage / "11111111-1111-4111-8111-111111111111.pdf").write_bytes(b"PDF")
    reference = world.end_state()
    (world.storage / "22222222-2222-4222-8222-222222222222.pdf").write_bytes(b"PDF")

    assert differences(reference, world.end_state())[0] == "file: 1 too many"


def test_a_failed_run_without_an_alert_is_noticed(world: World, reference: EndState) -> None:
    assert differences(reference, world.end_state(), more_failures=1) == [
        "a run has failed, and no alert came"
    ]
    world.messages.append(ALERT)

    assert differences(reference, world.end_state(), more_failures=1) == []


def test_an_alert_without_a_failure_is_noticed(world: World, reference: EndState) -> None:
    world.messages.append(ALERT)

    assert differences(reference, world.end_state()) == [
        "alert although nothing has failed: slack: : バッチ実行失敗: BATCH-003"
    ]


def test_an_alert_to_the_triggering_person_is_no_message_to_tenants(
    world: World, reference: EndState
) -> None:
    text = "バッチ実行失敗: APPROVE-INVOICES"
    world.messages.append(Arrived("email", "operator@cloud-service.example", text, f"[MEDIUM] {text}"))

    assert differences(reference, world.end_state(), more_failures=1) == []


def alerted(*alerts: Arrived, in_doubt: str = "") -> EndState:
    """An end state of which only the alerts are of interest. ``in_doubt`` is a message that was in flight."""
    return EndState(
        alerts=[f"{each.channel}: {each.subject}: {each.text}" for each in alerts],
        in_flight=[IN_FLIGHT] if in_doubt else [],
        in_doubt=Counter([in_doubt] if in_doubt else []),
    )


def test_more_alerts_than_failures_are_noticed() -> None:
    trial = alerted(ALERT, ALERT, Arrived("alerts", "", "バッチ実行失敗: BATCH-003"))

    assert differences(alerted(), trial, more_failures=2) == []
    assert differences(alerted(), trial, more_failures=1) == [
        "more alerts than failures: slack: : バッチ実行失敗: BATCH-003"
    ]


def test_a_marked_alert_comes_once_for_each_unmarked_one() -> None:
    marked = replace(ALERT, text=f"（再送）{ALERT.text}")

    assert differences(alerted(ALERT), alerted(ALERT, marked)) == []
    assert differences(alerted(), alerted(ALERT, marked), more_failures=1) == []
    assert differences(alerted(ALERT), alerted(ALERT, marked, marked)) != []
    assert differences(alerted(), alerted(ALERT, marked, marked), more_failures=1) != []


def test_a_failed_attempt_sends_result_and_digest_and_nothing_else() -> None:
    digest = Arrived("slack", "#batch-alerts", "請求の確認事項（3 件）\n1\n2\n3")
    shorter = replace(digest, text="請求の確認事項（1 件）\n1")
    result = Arrived("alerts", "", "バッチ実行結果: BATCH-003 failed（1 件中 0 件成功）")
    other = Arrived("slack", "#batch-alerts", "バッチ未開始: BATCH-003")

    assert differences(alerted(digest), alerted(digest, ALERT, result, shorter), more_failures=1) == []
    assert differences(alerted(digest), alerted(digest, digest, ALERT, other), more_failures=1) == [
        "more alerts than failures: slack: : バッチ未開始: BATCH-003",
        "alert repeated: slack: : 請求の確認事項（3 件）\n1\n2\n3",
    ]


def test_repeated_alerts_are_noticed_with_messages_in_flight() -> None:
    reference = alerted(ALERT)

    assert differences(reference, alerted(ALERT, DOUBT, in_doubt="m")) == []
    assert differences(reference, alerted(ALERT, ALERT, ALERT, DOUBT, in_doubt="m")) == [
        "alert repeated: slack: : バッチ実行失敗: BATCH-003",
        "alert repeated: slack: : バッチ実行失敗: BATCH-003",
    ]
    assert len(differences(reference, alerted(ALERT, DOUBT, DOUBT, DOUBT, in_doubt="m"))) == 2


def test_with_messages_in_flight_only_alerts_of_their_batch_have_another_text() -> None:
    retry = Arrived("slack", "#batch-alerts", "バッチ実行失敗: BATCH-019-02\n2 件")

    assert differences(alerted(ALERT, retry), alerted(ALERT, DOUBT, in_doubt="m")) == []
    assert differences(alerted(ALERT, retry), alerted(DOUBT, in_doubt="m")) == [
        "alert missing: slack: : バッチ実行失敗: BATCH-003"
    ]


def test_a_message_in_doubt_without_an_alert_is_noticed() -> None:
    assert differences(alerted(ALERT), alerted(ALERT, in_doubt="m")) == [
        "messages are in doubt, and no alert came"
    ]


def test_only_alerts_of_the_run_that_sends_waiting_ones_are_excluded(
    world: World, reference: EndState
) -> None:
    link = f"http://127.0.0.1/dags/batch_019_02/runs/{LATER_RUN}"
    result = Arrived("alerts", "", "バッチ実行結果: BATCH-019-02 completed", rich={"run_id": LATER_RUN})
    world.messages += [replace(DOUBT, text=f"{DOUBT.text}\n{link}"), result, DOUBT]

    later = with_later_alerts(reference, world.host, world.messages, STARTED)

    assert later.alerts == [f"slack: : {DOUBT.text}"]


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ({}, 1),
        ({("task", "missed"): 3}, 1),
        ({("task", "missed"): 3, ("nothing", "same"): 1}, 1),
        ({("task", "same"): 1, ("nothing", "DIFFERENT"): 1}, 1),
        ({("nothing", "same"): 1}, 0),
        ({("task", "missed"): 3, ("worker", "same"): 1}, 0),
        ({("task", "same"): 3, ("worker", "DIFFERENT"): 1}, 1),
    ],
)
def test_only_trials_that_were_compared_make_a_success(
    outcomes: dict[tuple[str, str], int], expected: int
) -> None:
    assert exit_code(Counter(outcomes)) == expected


@pytest.mark.parametrize("table", IGNORED_COLUMNS)
def test_columns_that_are_not_compared_exist(world: World, table: str) -> None:
    """A misspelled rule would be found only by a trial of that batch."""
    row = world.host.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(sql.Identifier(*table.split("."))))

    assert IGNORED_COLUMNS[table].keys() <= {column.name for column in row.description or ()}
