"""Every text of the board has its English form."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from skill_batch.board import (
    actions,
    choosing,
    contract_words,
    ended,
    invoice_words,
    message_words,
    rendering,
)
from skill_batch.board.pages import documents, durations, invoice, receivables, tenants, transfers
from include.skillreport.batches.inactive_tenants.digest import STAGE_NAMES
from include.skillreport.batches.tenant_monitoring.checks import TEXTS
from include.skillreport.billing.actions.fields import ADJUSTMENTS, BAD_DEBT_FACTS, TAX_CATEGORIES
from include.skillreport.billing.contract_kinds import KINDS
from include.skillreport.billing.foreseen import TITLES, WORDS
from include.skillreport.billing.second_person import CONFIRMATION, WAITING_KINDS
from include.skillreport.core.failure_kinds import CLEAR_FAILED, CLEAR_TASK, failure_kinds, kind_of
from include.skillreport.core.operation_catalog import RUN_SPECS
from include.skillreport.operations.forms import FORMS
from include.skillreport.operations.offboard_tenant.form import STAGES
from include.skillreport.operations.operate_contracts.fields import DATED, KIND_TITLES
from tests.board.conftest import Board

_HERE = Path(rendering.__file__).parent
_JAPANESE = re.compile("[\u3041-\u30ff\u4e00-\u9fff]")


def _texts_of_templates() -> set[str]:
    found: set[str] = set()
    for file in (_HERE / "templates").glob("*.html"):
        source = file.read_text(encoding="utf-8")
        found |= set(re.findall(r'_\(\s*"((?:[^"\\]|\\.)*)"', source))
        # A choice by a value: _({"bounce": "不達", …}[…]), and the states in parts.html.
        for choice in re.findall(r"_\(\{(.*?)\}\[", source):
            found |= set(re.findall(r':\s*"([^"]+)"', choice))
        found |= set(re.findall(r'\[(?:"[^"]", )?"([^"]+)", "(?:good|warn|bad|busy|due|missed)"\]', source))
    return found


def _texts_of_pages() -> set[str]:
    named = (
        message_words.LETTER_STATES,
        message_words.FILTERS,
        message_words.KINDS,
        invoice.RESULTS,
        documents.KINDS,
        contract_words.STATES,
        contract_words.RESULTS,
        *contract_words.WORDS.values(),
        *(kind.columns for kind in KINDS.values()),
        KIND_TITLES,
        DATED,
        STAGES,
        tenants.PROBLEMS,
        tenants.SORTS,
        durations.SORTS,
    )
    found = {text for texts in named for text in texts.values()} | {*ended.REASONS, ended.RECORDS}
    found |= {title for _, title in ended.PAGES.values()}
    found |= {words for texts in (ended.OF_TENANTS, ended.OF_REMARKS) for words, _ in texts.values()}
    found |= {label for label in message_words.channel_labels().values() if _JAPANESE.search(label)}
    return (
        found
        | {title for _, title, _ in invoice_words.LISTED.values()}
        | {
            *receivables.AGES.values(),
            *(doubt.label for doubt in transfers.DOUBTS.values()),
        }
    )


def _texts_of_actions() -> set[str]:
    found: set[str] = (
        {text for texts in (TAX_CATEGORIES, BAD_DEBT_FACTS, ADJUSTMENTS) for text in texts.values()}
        | {CONFIRMATION, *TITLES, *WORDS}
        | {kind.label for kind in WAITING_KINDS.values()}
    )
    for dag_id, form in FORMS.items():
        for operation in form.operations:
            action = actions.find_action(dag_id, operation.name)
            assert action is not None
            found |= {
                action.title,
                operation.button,
                action.effect,
                action.unchanged or action.title,
                action.mail,
                *(field.title for field in action.fields.values()),
            }
    dry_run = actions.find_action("batch_003_statistics", "dry_run")
    assert dry_run is not None
    return found | {dry_run.title, dry_run.effect, *(field.title for field in dry_run.fields.values())}


def _texts_of_modules() -> set[str]:
    """The problems in application.py, and the titles and units of charts."""
    found: set[str] = set()
    for name in ("application.py", "charts.py", "pages/tenant.py", "pages/batches.py"):
        tree = ast.parse((_HERE / name).read_text(encoding="utf-8"))
        constants = {str(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        found |= {text for text in constants if _JAPANESE.search(text)}
    return found


def _texts_of_refusals() -> set[str]:
    """The reasons why a request is refused, the names of what waits for a person, and titles of charts."""
    return {
        text
        for path in _HERE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("http_error", "Limits", "Decision", "Series")
        for text in (str(each.value) for each in node.args if isinstance(each, ast.Constant))
        if _JAPANESE.search(text)
    }


def _texts_of_values() -> set[str]:
    """The words for values of the data."""
    source = (_HERE / "templates" / "words.html").read_text(encoding="utf-8")
    words = {text for text in re.findall(r'"([^"]+)"', source) if _JAPANESE.search(text)}
    return {
        *words,
        *choosing.REFUSALS,
        *STAGE_NAMES.values(),
        *(text.name for text in TEXTS.values()),
    }


def _texts_of_failures() -> set[str]:
    """The names of batches and operations, and the advice about failures."""
    kinds = failure_kinds()
    return {
        CLEAR_FAILED,
        CLEAR_TASK,
        *(text for kind in kinds for text in (kind.meaning, kind.change, kind.action, kind.waits) if text),
        *(kind_of(spec, None).again for spec in RUN_SPECS.values() if kind_of(spec, None).again),
        *(text for spec in RUN_SPECS.values() for text in (spec.name, spec.can_wait)),
    }


def test_every_text_has_an_english_form_and_none_is_left_over() -> None:
    used = (
        _texts_of_templates()
        | _texts_of_actions()
        | {title for title, _, _ in (*rendering.MENU, *rendering.BILLING_PAGES)}
    )
    used |= (
        _texts_of_modules()
        | _texts_of_refusals()
        | _texts_of_values()
        | _texts_of_pages()
        | _texts_of_failures()
    )
    english = rendering.english()
    assert used - english.keys() == set()
    assert english.keys() - used == set()
    assert [text for text in english.values() if _JAPANESE.search(text)] == []
    for japanese, shown in english.items():
        assert set(re.findall(r"{(\w+)}", japanese)) == set(re.findall(r"{(\w+)}", shown)), japanese


def test_no_text_has_two_english_forms() -> None:
    lines = (_HERE / "texts" / "en.yaml").read_text(encoding="utf-8").splitlines()
    entries = [line for line in lines if line and not line.startswith("#")]
    assert len(entries) == len(rendering.english())


def test_a_reader_without_japanese_gets_english(board: Board) -> None:
    chosen = {"skill_batch_language": "en"}
    for arguments in ({"headers": {"Accept-Language": "en-US,en"}}, {"cookies": chosen}):
        text = board.get("/", **arguments).text
        assert '<html lang="en">' in text
        assert "No batch has failed." in text
    assert (
        "失敗したままのバッチはありません" in board.get("/", headers={"Accept-Language": "ja,en;q=0.5"}).text
    )
