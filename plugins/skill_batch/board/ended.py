"""The outcome of an operation, for the end of its dialog: the result of each tenant, or why nothing was done."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import psycopg

from skill_batch.board.actions import find_action
from skill_batch.board.statements import SQL as _SQL
from include.skillreport.billing.actions.hand_over import HandOver
from include.skillreport.core.operation_catalog import (
    APPROVE_INVOICES,
    IMPORT_PAYMENTS,
    OPERATE_CONTRACTS,
    OPERATE_INVOICES,
    OPERATIONS,
)

_MOST = 50

# The figures of a tenant's result or a run's notes: the words for them, and the reason if all are 0.
OF_TENANTS: Mapping[str, tuple[str, str]] = {
    "resend": ("送り直す通知", "送り直す通知はありませんでした。すでに決めたか、送信済みです。"),
    "discard": ("破棄した通知", "破棄する通知はありませんでした。すでに決めたか、送信済みです。"),
    "mark_sent": (
        "送信済みにした通知",
        "送信済みにする通知はありませんでした。すでに決めたか、送信済みです。",
    ),
    "reopened": ("再開したチャネル", "停止中のチャネルはありませんでした。"),
    "lifted": ("送信を再開した宛先", "送信を止めた宛先はありませんでした。"),
    "undone": (
        "元に戻した設定",
        "元に戻す設定はありませんでした。すでに戻したか、その後に変わっています。",
    ),
    "payments": ("記録した入金・返金", "記録する入金はありませんでした。すでに記録してあります。"),
    "transfers": ("入金にした振込", "入金にする振込はありませんでした。"),
}
OF_REMARKS: Mapping[str, tuple[str, str]] = {
    "applied": ("登録した変更", "入力した値は、今の登録と同じです。"),
    "waiting": ("承認を待つ変更（承認されるまで反映されません）", ""),
    "withdrawn": ("取り下げた変更", "承認を待つ変更はありませんでした。"),
    "files": ("読んだファイル", "新しいファイルはありませんでした。"),
    "knownFiles": ("前に読んだファイル", ""),
    "newTransfers": ("新しい振込", ""),
    "toConfirm": ("確定を待つ振込", ""),
}

RECORDS = "処理件数"

DRY = "ドライランのため、何も変えていません。"
READ_ONLY = "読み取りだけの操作です。結果は、実行のログにあります。"
NOTHING = "変わったものはありません。すでにその状態か、対象がありません。理由は、実行のログにあります。"
REASONS = (
    DRY,
    READ_ONLY,
    NOTHING,
    *(text for each in (OF_TENANTS, OF_REMARKS) for _, text in each.values() if text),
)

# The pages that show what a DAG's operations change. Only users who may start the DAG see the links.
PAGES: Mapping[str, tuple[str, str]] = {
    OPERATE_CONTRACTS.dag_id: ("contracts", "契約の変更"),
    IMPORT_PAYMENTS.dag_id: ("transfers", "入金消込"),
}

_OF_INVOICES = (OPERATE_INVOICES.id, APPROVE_INVOICES.id, IMPORT_PAYMENTS.id)


@dataclass(frozen=True)
class Ended:
    """The outcome of an operation. ``tenants``: the first tenants' results with their ``figures``. ``figures``: the run's. ``nothing``:
    why nothing was done; empty if something was. ``documents``, ``messages``: those that it issued, changed or decided about. ``files``:
    the accounting files of the months that it closed.
    """

    tenants: Sequence[Mapping[str, Any]]
    figures: Sequence[tuple[str, int]]
    nothing: Sequence[str]
    documents: Sequence[Mapping[str, Any]]
    messages: Sequence[Mapping[str, Any]]
    files: Sequence[Mapping[str, Any]]


def load_ended(
    connection: psycopg.Connection[Any], row: Mapping[str, Any], remarks: Sequence[Mapping[str, Any]]
) -> Ended | None:
    """The outcome of the run of ``row``. None: it is no operation; a nightly run has too many tenants."""
    if row["batch_id"] not in {spec.id for spec in OPERATIONS}:
        return None
    results = _SQL.rows(connection, "run_results", execution_id=row["execution_id"], most=_MOST)
    action = find_action(row["dag_id"], row["operation"] or "")
    ids = list(row["shown"] or ())[:_MOST] if action and "messages" in action.shows.ids else []
    documents = _documents(connection, row, results) if row["batch_id"] in _OF_INVOICES else []
    details = [remark["details"] for remark in remarks]
    figures = [_figures(OF_REMARKS, details), *(_figures(OF_TENANTS, [each["details"]]) for each in results)]
    if row["dry_run"]:
        nothing = [DRY]
    elif action and action.is_read_only:
        nothing = [READ_ONLY]
    else:
        nothing = _nothing(figures, results, remarks) if not documents else []
    said = [
        _done(own)
        or ([(RECORDS, each["records"])] if each["records"] and not (each["notes"] or documents) else [])
        for each, own in zip(results, figures[1:], strict=True)
    ]
    return Ended(
        [{**each, "figures": own} for each, own in zip(results, said, strict=True)],
        _done(figures[0]),
        nothing,
        documents,
        _SQL.rows(connection, "described_messages", ids=ids) if ids else [],
        _SQL.rows(
            connection,
            "accounting_files",
            since=date.min,
            month=None,
            execution_id=row["execution_id"],
        )
        if action and action.operation is HandOver
        else [],
    )


_Figures = Mapping[str, tuple[tuple[str, str], int]]


def _figures(words: Mapping[str, tuple[str, str]], details: Sequence[Mapping[str, Any]]) -> _Figures:
    return {
        name: (said, each[name])
        for each in details
        for name, said in words.items()
        if isinstance(each.get(name), int)
    }


def _done(figures: _Figures) -> list[tuple[str, int]]:
    return [(title, number) for (title, _), number in figures.values() if number]


def _nothing(
    figures: Sequence[_Figures], results: Sequence[Mapping[str, Any]], remarks: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Why nothing was done; empty if something was, the results say it, or a step did the work or failed."""
    if (
        not (results or remarks)
        or any(each["records"] or each["notes"] for each in results)
        or any(_done(each) for each in figures)
    ):
        return []
    reasons = [reason for each in figures for (_, reason), _ in each.values() if reason]
    # Other details name what was done.
    is_said = any(any(each["details"].values()) for each in (*results, *remarks))
    return list(dict.fromkeys(reasons)) or ([] if is_said else [NOTHING])


def _documents(
    connection: psycopg.Connection[Any], row: Mapping[str, Any], results: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    texts = [*(row["shown"] or ()), *(text for each in results for text in _texts(each["details"]))]
    return _SQL.rows(
        connection,
        "run_documents",
        execution_id=row["execution_id"],
        numbers=[number for text in texts for number in re.split("[\\s=,、]+", text) if number],
        tenant_ids=[each["tenant_id"] for each in results],
        most=_MOST,
    )


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for each in value.values() for text in _texts(each))
    elif isinstance(value, list):
        yield from (text for each in value for text in _texts(each))
