"""A dialog works on what it names: what its button has set is fixed, and what it shows is what the run gets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from skill_batch.board.actions import Action, find_action
from include.skillreport.core.catalog import BATCHES
from include.skillreport.core.form import NOTHING_YET
from include.skillreport.operations.forms import FORMS
from tests.board.conftest import Board, shown_in
from tests.conftest import Database
from tests.worlds.billing_rows import customer, run_billing
from tests.worlds.board_entries import example_texts
from tests.worlds.board_messages import message
from tests.worlds.host_rows import tenant
from tests.worlds.own_settings import change_billing

MONTH = "2026-10-01"
FORGED = "テナント Z: INV-2026-10-999 1 JPY"


def _actions() -> Iterator[Action]:
    """What buttons start: all operations, and the dry runs of a batch that takes tenants and of one that does not."""
    names = [(dag_id, each.name) for dag_id, form in FORMS.items() for each in form.operations]
    batches = {spec.takes_tenants: spec for spec in BATCHES}.values()
    for dag_id, name in (*names, *((spec.dag_id, "dry_run") for spec in batches)):
        action = find_action(dag_id, name)
        assert action is not None
        yield action


def _runs(board: Board) -> int:
    return int(board.api("GET", "/dags/~/dagRuns", params={"limit": 1}).json()["total_entries"])


def _inputs(dialog: str, name: str) -> list[str]:
    """The fields of a dialog with this name that a person can change."""
    return [
        each
        for each in re.findall(rf'<(?:input|textarea|select)[^>]* name="{name}"[^>]*>', dialog)
        if 'type="hidden"' not in each
    ]


@pytest.fixture
def october(database: Database, host: psycopg.Connection) -> None:
    """Two tenants with an invoice each: INV-2026-10-001 of A and -002 of B."""
    for tenant_id in ("A", "B"):
        customer(host, tenant_id, tenant_code=f"CODE-{tenant_id}")
    run_billing(database)


@pytest.mark.usefixtures("october")
def test_a_dialog_that_names_one_invoice_never_voids_another(board: Board) -> None:
    path = "/operations/operate_invoices/void"
    dialog = board.get(path, params={"tenants": "CODE-A", "business_date": MONTH}).text
    (shown,) = shown_in(dialog)
    assert shown == "テナント A: INV-2026-10-001 11,000 JPY"
    assert not _inputs(dialog, "tenants")
    assert not _inputs(dialog, "business_date")
    assert 'name="reason" value="" required autofocus' in dialog

    before = _runs(board)
    typed = {"tenants": "CODE-B", "business_date": MONTH, "reason": "誤り", "shown": shown}
    again = board.post(path, typed)
    assert again.status_code == 422
    assert (
        f"画面に出ていた対象は「{shown}」ですが、今の対象は「テナント B: INV-2026-10-002 11,000 JPY」です。"
        in again.text
    )
    assert shown_in(again.text) == ["テナント B: INV-2026-10-002 11,000 JPY"]
    assert _runs(board) == before

    assert board.post(path, typed | {"tenants": "CODE-A"}).status_code == 200
    newest = board.api("GET", "/dags/operate_invoices/dagRuns", params={"order_by": "-run_after"})
    conf = newest.json()["dag_runs"][0]["conf"]
    assert (conf["tenants"], conf["shown"]) == (["CODE-A"], [shown])


@pytest.mark.usefixtures("october")
@pytest.mark.parametrize("setting", ["required", "none"])
def test_the_confirmation_of_an_author_is_asked_only_where_it_counts(
    board: Board, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, setting: str
) -> None:
    change_billing(monkeypatch, tmp_path, second_person=setting)
    for name in ("approve", "send_letter"):
        query = {"tenants": "CODE-A", "business_date": MONTH, "reason": "確認済み"}
        dialog = board.get(f"/operations/operate_invoices/{name}", params=query).text
        (shown,) = shown_in(dialog)
        fields = _inputs(dialog, "confirmed")
        assert len(fields) == (setting == "none")
        assert "autofocus" not in "".join(fields)
        values = {**query, "shown": shown, "confirmed": "11000"}
        assert board.post(f"/operations/operate_invoices/{name}", values).status_code == 200


@pytest.fixture
def examples(host: psycopg.Connection) -> None:
    """The rows that the examples of the fields name."""
    tenant(host, "A", tenant_code="TKH-DSN")
    message(host, "4f0c7d1e-2b7a-4c55")
    host.execute(
        "INSERT INTO batch.exchange_rate (currency, rate_date, yen_per_unit) VALUES ('USD', '2026-10-31', 150)"
    )


@pytest.mark.slow("opens every page or dialog")
@pytest.mark.usefixtures("examples")
def test_every_dialog_works_only_on_what_it_has_shown(board: Board) -> None:
    before = _runs(board)
    for action in _actions():
        path = f"/operations/{action.spec.dag_id}/{action.name}"
        # The due date of the example is past one day.
        texts = {name: text for name, (text,) in example_texts(action).items() if text and name != "due_on"}
        empty, dialog = board.get(path).text, board.get(path, params=texts).text
        kept = {"tenants", "business_date"} if action.is_personal else texts.keys()
        for name in kept & {name for name, field in action.fields.items() if field.is_target}:
            assert f'type="hidden" name="{name}"' in dialog, (path, name)
            assert not _inputs(dialog, name), (path, name)
        for opened in (empty, dialog):
            assert opened.count(" autofocus") == 1, path
            assert "autofocus" not in "".join(_inputs(opened, "business_date")), path
        # An action that shows nothing declares it: all that it is about is typed into its dialog.
        assert bool(shown_in(dialog)) == (action.shows != NOTHING_YET), path

        forged = board.post(path, texts | {"shown": FORGED})
        assert forged.status_code == 422, path
        assert f"画面に出ていた対象は「{FORGED}」ですが、今の対象は「" in forged.text, path
    assert _runs(board) == before


# What these say of "all" is about the one thing.
ALL_OF_ONE = {"drop_credit", "take_back_adjustment"}


@pytest.mark.usefixtures("examples")
def test_no_dialog_about_one_thing_speaks_of_all(board: Board) -> None:
    for action in _actions():
        targets = {
            name: example_texts(action)[name] for name, field in action.fields.items() if field.is_target
        }
        one = {name: texts for name, texts in targets.items() if name != action.shows.unless and any(texts)}
        dialog = board.get(f"/operations/{action.spec.dag_id}/{action.name}", params=one).text
        if 'name="fixed"' in dialog and action.name not in ALL_OF_ONE:
            assert not re.search("すべて|全テナント", re.sub("<[^>]+>", "", dialog)), action.name
        # The board finds the tenants of what has an id.
        assert "tenants" not in action.fields or action.shows.tenants, action.name
