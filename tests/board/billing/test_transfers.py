"""入金消込: what waits for a person, with its candidates, only for those who may confirm it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from skill_batch.board.pages.transfers import TransferFilters, load_transfers
from skill_batch.object_storage import object_store
from include.skillreport.billing import bank_inbox
from tests.board.billing.conftest import EVIL, number_of
from tests.board.conftest import Board, shown_in
from tests.worlds.own_settings import change_billing

RIGHT = "T261127-000000000001"


@pytest.fixture(autouse=True)
def transfers(host: psycopg.Connection, ids: dict[str, str]) -> Iterator[dict[str, str]]:
    """A transfer of a known payer with two candidates, one of a stranger, one that was set aside, and a known payer."""
    numbers = {tenant_id: number_of(host, ids[tenant_id]) for tenant_id in ("PARTLY", "PART")}
    host.execute(
        """
        INSERT INTO batch.bank_file (
            sha256, name, form, transfers, new_transfers, total, run_on, imported_by, execution_id
        )
        VALUES ('f', %(name)s, 'zengin', 3, 3, 30000, '2026-11-27', 'keiri', 'run');
        INSERT INTO batch.bank_transfer (
            transfer_id, sha256, line, account, booked_on, amount, payer_name, payer_key, payer_code, reference, details,
            is_cancellation, doubt
        )
        VALUES
        (%(right)s, 'f', 1, '0005-123-1-1234567', '2026-11-27', 10000, %(name)s, 'k', '12', '7', '', false, 'several_invoices'),
        ('T261127-000000000002', 'f', 2, '0005-123-1-1234567', '2026-11-28', 500, 'ｼﾗﾅｲ', 's', '', '', '', false, 'unknown_payer'),
        ('T261127-000000000003', 'f', 3, '0005-123-1-1234567', '2026-11-28', 12, 'ﾘｿｸ', 'i', '', '', '', false, null);
        UPDATE batch.bank_transfer
        SET set_aside_reason = '預金利息', set_aside_by = 'keiri', set_aside_at = now()
        WHERE transfer_id = 'T261127-000000000003';
        INSERT INTO batch.transfer_choice (
            transfer_id, choice, part, tenant_id, number, paid_on, amount, fee, is_automatic
        )
        VALUES
        (%(right)s, 1, 1, 'PARTLY', %(partly)s, '2026-11-27', 10000, 0, false),
        (%(right)s, 2, 1, 'PART', %(part)s, '2026-11-27', 10000, 440, false);
        INSERT INTO batch.payer (tenant_id, payer_key, payer_code, payer_name, confirmed_by, execution_id)
        VALUES ('PARTLY', 'k', '12', %(name)s, 'keiri', 'run')
        """.replace("%(name)s", f"'{EVIL}'")
        .replace("%(right)s", f"'{RIGHT}'")
        .replace("%(partly)s", f"'{numbers['PARTLY']}'")
        .replace("%(part)s", f"'{numbers['PART']}'")
    )
    yield numbers
    host.execute(
        "DELETE FROM batch.transfer_choice; DELETE FROM batch.payer; DELETE FROM batch.bank_transfer; DELETE FROM batch.bank_file"
    )


def test_the_page_has_each_candidate_as_a_line_of_the_form(
    reader: psycopg.Connection, transfers: dict[str, str]
) -> None:
    page = load_transfers(reader, TransferFilters())
    assert [row["transfer_id"] for row in page.waiting] == [RIGHT, "T261127-000000000002"]
    assert [choice.line for choice in page.choices[RIGHT]] == [
        f"{RIGHT}={transfers['PARTLY']}",
        f"{RIGHT}={transfers['PART']},手数料",
    ]
    assert {row["doubt"]: row["transfers"] for row in page.sums} == {
        "several_invoices": 1,
        "unknown_payer": 1,
    }
    assert [row["payer_code"] for row in page.payers] == ["12"]
    assert [row["set_aside_reason"] for row in page.set_aside] == ["預金利息"]


def test_the_filters_of_doubt_and_payer(reader: psycopg.Connection) -> None:
    assert len(load_transfers(reader, TransferFilters(doubt="unknown_payer")).waiting) == 1
    assert len(load_transfers(reader, TransferFilters(payer="PARTLY")).payers) == 1
    assert load_transfers(reader, TransferFilters(payer="nobody")).payers == []


@pytest.mark.parametrize(("role", "status"), [("viewer", 403), ("user", 200), ("admin", 200), (None, 401)])
def test_only_those_who_may_confirm_see_the_page(board: Board, role: Any, status: int) -> None:
    assert board.as_role(role).get("/transfers").status_code == status


def test_hostile_names_are_text_and_viewers_see_no_link(board: Board, transfers: dict[str, str]) -> None:
    text = board.get("/transfers").text
    assert "<script>alert(1)" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert f'value="{RIGHT}={transfers["PART"]},手数料"' in text
    assert "import_payments/set_aside?transfer_ids=T261127-000000000002" in text
    assert "/transfers" not in board.as_role("viewer").get("/receivables").text
    receivables = board.get("/receivables").text
    assert "まだ入金になっていない振込が 2 件" in receivables
    assert "消込の確定待ち" in receivables


def test_the_folder_is_listed_and_read_only_if_payments_are_recorded_here(
    board: Board, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store = object_store()
    store.write(f"{bank_inbox.INCOMING}/<b>.csv", b"")
    store.write(f"{bank_inbox.INCOMING}/folder/a.csv", b"")
    button = "operations/import_payments/import"
    without = board.get("/transfers").text
    change_billing(monkeypatch, tmp_path, payment_source="operations")
    text = board.get("/transfers").text
    monkeypatch.setenv("AIRFLOW_VAR_SKILL_BATCH_STORAGE_URL", "s3://")
    broken = board.get("/transfers").text
    store.delete(f"{bank_inbox.INCOMING}/<b>.csv")
    shutil.rmtree(store.location(f"{bank_inbox.INCOMING}/folder").removeprefix("file://"))

    assert "銀行のファイルは取り込みません" in without
    assert "operations/operate_invoices/import_payments" in without
    assert button not in without
    assert button in text
    assert "まだ取り込んでいないファイルが 1 件あります。" in text
    # Only what no import can read needs somebody.
    assert re.findall(r'<p class="warn-text">! <bdi>([^<]+)', text) == ["folder"]
    assert "&lt;b&gt;.csv" in text
    assert "skill_batch_storage_url" in broken


def test_the_dialog_of_a_confirmation_has_the_selected_lines(board: Board, transfers: dict[str, str]) -> None:
    line = f"{RIGHT}={transfers['PARTLY']}"
    several = [line, f"T261127-000000000002={transfers['PART']}"]
    dialog = board.get("/operations/import_payments/confirm", params={"transfers": several}).text
    assert "\n".join(several) + "</textarea>" in dialog
    refused = board.post("/operations/import_payments/confirm", {"transfers": "nonsense"})
    assert refused.status_code == 422
    assert "が読めません" in refused.text


def test_the_invoices_of_a_transfer_are_chosen_from_the_unpaid_ones(
    board: Board, transfers: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    change_billing(monkeypatch, tmp_path, payment_source="operations", fee_tolerance=880)
    path, partly = "/operations/import_payments/confirm", transfers["PARTLY"]
    opened = board.get(path, params={"transfers": f"{RIGHT}="}).text
    assert "が読めません" not in opened
    assert "textarea" not in opened
    boxes = re.findall(rf'<input type="checkbox" name="transfers={RIGHT}" value="([^"]+)"', opened)
    # The known payer's invoice of this amount comes first. Paid, void and foreign ones are not offered.
    assert boxes[0] == partly
    assert boxes[-1] == "手数料"
    assert transfers["PART"] in boxes
    assert "振込手数料が引かれている" in opened
    assert "880 円まで" in opened
    chosen = board.get(path, params={"transfers": f"{RIGHT}={partly},手数料"}).text
    assert re.findall(r'value="([^"]+)"[^>]* checked', chosen) == [partly, "手数料"]

    begun = {"transfers": f"{RIGHT}=", "shown": shown_in(opened)}
    nothing = board.post(path, begun)
    assert nothing.status_code == 422
    assert "請求書がありません。" in nothing.text
    assert board.post(path, begun | {f"transfers={RIGHT}": ["", partly]}).status_code == 200
    newest = board.api("GET", "/dags/import_payments/dagRuns", params={"order_by": "-run_after"})
    assert newest.json()["dag_runs"][0]["conf"]["transfers"] == [f"{RIGHT}={partly}"]


def test_the_dialog_of_a_confirmation_says_what_is_left_to_pay(
    board: Board, host: psycopg.Connection, transfers: dict[str, str]
) -> None:
    def said(line: str) -> str:
        answer = board.post("/operations/import_payments/confirm/changes", {"transfers": line})
        return " ".join(re.sub("<[^>]+>", "", answer.text).split())

    partly, part = transfers["PARTLY"], transfers["PART"]
    assert f"PARTLY {partly} 未入金: 10,000 JPY → 0 JPY" in said(f"{RIGHT}={partly}")
    # 9,900 yen are open: the transfer pays them and 100 more.
    assert f"PART {part} 未入金（マイナスは過入金）: 9,900 JPY → -100 JPY" in said(f"{RIGHT}={part}")
    assert "取引先にメールは送りません。" in said(f"{RIGHT}={part}")
    assert "はありません" in said(f"T261127-000000000009={part}")
    assert "存在しません" in said(f"{RIGHT}=INV-2026-10-999")
    assert "すでに入金" not in said(f"{RIGHT}={part}")

    write_off = "UPDATE batch.invoice SET written_off_total = %s WHERE number = %s"
    host.execute(write_off, [9_000, part])
    try:
        # The surplus of 9,100 yen recovers the write-off first.
        assert f"PART {part} 未入金（マイナスは過入金）: 900 JPY → -100 JPY" in said(f"{RIGHT}={part}")
    finally:
        host.execute(write_off, [0, part])


def test_lists_that_are_cut_say_how_many_there_are(
    board: Board, host: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skill_batch.board.pages.transfers._MOST_LISTED", 1)
    host.execute(
        """
        INSERT INTO batch.bank_file (
            sha256, name, form, transfers, new_transfers, total, run_on, imported_by, execution_id
        )
        VALUES ('g', 'g.txt', 'zengin', 0, 0, 0, '2026-11-28', 'keiri', 'run');
        UPDATE batch.bank_transfer
        SET set_aside_reason = '預金利息', set_aside_by = 'keiri', set_aside_at = now()
        WHERE transfer_id = 'T261127-000000000002'
        """
    )
    text = board.get("/transfers").text
    for title in ("対象外にした振込", "取り込んだファイル"):
        assert "2 件のうち 1 件を表示しています。" in text.split(f"<h2>{title}")[1].split("</section>")[0], (
            title
        )
