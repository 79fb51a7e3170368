"""The text of a request, as Airflow shows it to users. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from include.skillreport.approvals.requests import ApprovalRequest, HeldItem, RequestKind, listed_items
from include.skillreport.billing.contract_kinds import KINDS
from include.skillreport.billing.ledger.contract_changes import WAITS
from include.skillreport.core.execution.digest import one_line
from include.skillreport.messaging.channels import CHANNELS
from include.skillreport.messaging.contract_letters import INACTIVITY_CRITICAL, INACTIVITY_WARNING
from include.skillreport.messaging.reminder_names import CERTIFICATE_EXPIRY, GOAL_DUE
from include.skillreport.schema.deletion import Rule, listed_tables

# Airflow renders the text as Markdown. The tenant's name is untrusted.
_MARKUP = re.compile(r"([\\`*_{}\[\]<>()#+!|~&-])")

_OF_SOME = "一部だけを承認するには、「テナントコード」にそのコードを 1 行に 1 件書いてください。ほかは保留のままです。"

_HEADS = {
    RequestKind.INVOICES: "| テナント | 名前 | 月 | 保留中の金額 | 前月の金額 | 理由 |\n|---|---|---|---:|---:|---|",
    RequestKind.DIRECTORY_CHANGES: "| テナント | 名前 | サービス | 連携の数 | 解除する連携 | 理由 |\n|---|---|---|---:|---:|---|",
    RequestKind.CONTRACTS: "| テナント | 名前 | 変える項目 | 件数 | 入力した人 | 変更の ID |\n|---|---|---|---:|---|---|",
    RequestKind.RESUMPTION: "| バッチ | 通知の種類 | テナント | 24 時間以内 | 3 日以内 | 7 日以内 | それより前 |\n"
    "|---|---|---:|---:|---:|---:|---:|",
    RequestKind.OFFBOARDING: "| テナント | 名前 | 表 | 行数 | すること | 内容と理由 |\n|---|---|---|---:|---|---|",
}

_RULES = {Rule.DELETE: "削除する", Rule.BLANK: "値を消す", Rule.KEEP: "残す"}

_KIND_NAMES = {
    "application": "アプリの通知",
    "other": "レポートなどのお知らせ",
    CERTIFICATE_EXPIRY: "資格の期限",
    GOAL_DUE: "目標の期限",
    INACTIVITY_WARNING: "利用がないテナントへの警告",
    INACTIVITY_CRITICAL: "利用がないテナントへの重大な警告",
}

_CONSEQUENCES = {
    RequestKind.INVOICES: "承認すると、下の金額で請求書を確定し、請求先に送ります。"
    "この承認依頼を出した後に金額の根拠が変わった請求書は、承認しても確定しません。",
    RequestKind.DIRECTORY_CHANGES: "承認すると、名簿をもう一度読み、理由が下と同じなら適用します"
    "（連携の解除、宛先のない通知設定の無効化）。"
    "アカウントかチャンネルが消えたその日には適用できないので、翌日以降に答えてください。"
    "この承認依頼を出した後に名簿が変わったテナントには、承認しても適用しません。",
    RequestKind.CONTRACTS: "承認すると、契約を変えます。入力した本人は承認できません"
    "（設定 billing.second_person が none なら、「1 人での確認」を入力して承認します）。"
    "新しい値は個人の情報なので、ここにはありません。"
    f"ボードの「請求」の「契約の変更」で確かめてから答えてください。入力から {WAITS.days} 日たつと期限が切れ、承認しても変わりません。",
    RequestKind.RESUMPTION: "停止していたバッチが動きましたが、次の通知はまだ送っていません。"
    "答えると、BATCH-019-02（毎時 30 分）が送ります。"
    "「新しいものだけ送る」は、予定からの時間が下の欄より短いものを送り、ほかを破棄します。破棄した通知は戻せません。\n\n"
    "請求書など契約の通知は、待たずに送っています。表は、この承認依頼を出した時のものです。答えるまでの次の実行の通知も加わり、同じ答えになります。",
    RequestKind.OFFBOARDING: "**承認すると、下のテナントの行を削除します。元に戻せません。** "
    "退会を始めた人と、承認を依頼した人は承認できません。"
    "削除の前に、もう一度すべてを書き出して照合します。",
}


_ABOUT_ENTRY = (
    "**承認すると、保存先の退会の記録を取り消します。** 下のテナントは退会していないものとして、バッチがまた動きます。行は何も消えません。"
    "記録が正しければ、承認しないでください（テナントは削除されないまま残ります）。取り消しを依頼した人は承認できません。"
)


def subject_of(request: ApprovalRequest, items: Sequence[HeldItem]) -> str:
    """The headline."""
    if request.kind is RequestKind.INVOICES:
        return f"保留中の請求書 {len(items)} 件の承認（{request.business_date:%Y-%m} 分）"
    if request.kind is RequestKind.CONTRACTS:
        return f"契約の変更 {len(items)} 件の承認"
    if request.kind is RequestKind.OFFBOARDING:
        what = "退会の記録の取り消し" if all(map(_is_about_entry, items)) else "退会したテナントの削除"
        return f"{what}の承認: {'、'.join(one_line(item.tenant_code) for item in items)}"
    if request.kind is RequestKind.RESUMPTION:
        batches = "、".join(item.item_id for item in items)
        return f"再開の承認: {batches}（通知 {sum(item.figures['messages'] for item in items):,} 件）"
    return f"保留中の名簿の変更 {len(items)} 件の承認（{request.business_date:%Y-%m-%d}）"


def body_of(request: ApprovalRequest, items: Sequence[HeldItem], board: str) -> str:
    """The items of a request with links to their pages of the board, and the effect of each answer, as Markdown.

    ``board`` is the address of the board, without a slash at its end.
    """
    row = _ROWS[request.kind]
    listed = listed_items(items)
    further = len(items) - len(listed)
    is_only_entries = bool(listed) and all(map(_is_about_entry, listed))
    lines = [
        *([] if is_only_entries else [_CONSEQUENCES[request.kind], ""]),
        *([_ABOUT_ENTRY, ""] if any(map(_is_about_entry, listed)) else []),
        *([_OF_SOME, ""] if request.kind is not RequestKind.RESUMPTION else []),
        _HEADS[request.kind],
        *(row(item) for item in listed),
        *([_about_further(request, further)] if further else []),
        "",
        *(
            f"{item.item_id}: {_plain(item.reason)}"
            for item in items
            if request.kind is RequestKind.RESUMPTION
        ),
        f"ボードで見る: {_links(request, listed, board)}",
        "",
        f"承認依頼の ID: {_plain(request.request_id)}",
    ]
    return "\n".join(lines)


def _about_further(request: ApprovalRequest, further: int) -> str:
    return (
        f"\nほか {further:,} 件は、この一覧にないので保留のままです。"
        f"この承認依頼に答えてから DAG {_plain(request.dag_id)} を手で実行すると、残りを確認できます。"
    )


def _invoice_row(item: HeldItem) -> str:
    figures = item.figures
    return _row(
        item.tenant_code,
        item.tenant_name,
        str(figures["month"]),
        _amount(figures, "total", "currency"),
        _amount(figures, "previous_total", "previous_currency"),
        item.reason,
    )


def _directory_row(item: HeldItem) -> str:
    return _row(
        item.tenant_code,
        item.tenant_name,
        CHANNELS[item.item_id].service,
        f"{item.figures.get('links', 0):,}",
        f"{item.figures.get('linksToEnd', 0):,}",
        item.reason,
    )


def _contract_row(item: HeldItem) -> str:
    figures = item.figures
    kind = KINDS.get(figures["kind"])
    labels = [kind.columns[name] for name in figures["changed"]] if kind else ["ファイルの取込み"]
    return _row(
        item.tenant_code,
        item.tenant_name,
        f"{kind.title}: {'、'.join(labels)}" if kind else labels[0],
        f"{figures['rows']:,}",
        figures["entered_by"],
        item.item_id,
    )


def _resumption_rows(item: HeldItem) -> str:
    """One row per kind of message."""
    rows = [
        _row(
            f"{item.item_id} {item.tenant_name}",
            _KIND_NAMES.get(each["kind"], each["kind"]),
            *(f"{count:,}" for count in (each["tenants"], *each["by_age"])),
        )
        for each in item.figures["kinds"]
    ]
    return "\n".join(rows)


def _is_about_entry(item: HeldItem) -> bool:
    """True if the item is a disputed entry in the register of deleted tenants."""
    return "disputed_by" in item.figures


def _offboarding_rows(item: HeldItem) -> str:
    """The tenant with its number of rows in all tables, then one row per table. A disputed entry has one row."""
    if _is_about_entry(item):
        asked = f"取り消しを依頼した人: {item.figures['disputed_by']}"
        name = f"{item.tenant_name}（ID {item.tenant_id}）"
        return _row(item.tenant_code, name, "退会の記録", "–", f"取り消す（{asked}）", item.reason)
    tables = [
        _row(
            item.tenant_code,
            "",
            table_name,
            f"{rows:,}",
            _RULES[Rule(rule)],
            listed_tables()[schema, name].reason if (schema, name) in listed_tables() else "",
        )
        for table_name, rule, rows in item.figures["tables"]
        for schema, _, name in [table_name.partition(".")]
    ]
    asked = f"退会を始めた人: {item.figures['begun_by']}、承認を依頼した人: {item.figures['asked_by']}"
    total = sum(rows for *_, rows in item.figures["tables"])
    head = _row(
        item.tenant_code,
        f"{item.tenant_name}（ID {item.tenant_id}）",
        "すべての表",
        f"{total:,}",
        asked,
        item.reason,
    )
    return "\n".join([head, *tables])


_ROWS: Mapping[RequestKind, Callable[[HeldItem], str]] = {
    RequestKind.INVOICES: _invoice_row,
    RequestKind.DIRECTORY_CHANGES: _directory_row,
    RequestKind.CONTRACTS: _contract_row,
    RequestKind.RESUMPTION: _resumption_rows,
    RequestKind.OFFBOARDING: _offboarding_rows,
}


# Pages of the board with lists.
_MESSAGES, _CONTRACTS = "messages?state=waiting", "contracts"


def _links(request: ApprovalRequest, listed: Sequence[HeldItem], board: str) -> str:
    """Links to the items' pages on the board, each once."""
    pages = {_page_of(request.kind, item): _plain(item.tenant_code) for item in listed}
    pages |= dict.fromkeys(pages.keys() & {_MESSAGES, _CONTRACTS}, "一覧")
    return "、".join(f"[{text}]({board}/{page})" for page, text in pages.items())


def _page_of(kind: RequestKind, item: HeldItem) -> str:
    if kind is RequestKind.INVOICES:
        return f"invoices/{quote(item.item_id, safe='')}"
    if kind is RequestKind.RESUMPTION:
        return _MESSAGES
    if item.tenant_id == item.item_id:  # the import of a file
        return _CONTRACTS
    page = f"tenants/{quote(item.tenant_id, safe='')}"
    return f"{page}/contract" if kind is RequestKind.CONTRACTS else page


def _row(*cells: str) -> str:
    return "| " + " | ".join(_plain(cell) for cell in cells) + " |"


def _amount(figures: Mapping[str, Any], amount: str, currency: str) -> str:
    if figures.get(amount) is None:
        return "なし"
    return f"{Decimal(figures[amount]):,f} {figures[currency]}"


def _plain(text: str) -> str:
    """The text in one line, without markup."""
    return _MARKUP.sub(r"\\\1", one_line(text))
