"""A linter for the words of the pages (``make lint``): private words, and Japanese words that the glossary has replaced.

Code, links and quotations in backticks are not read.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.airflow_installation import PROJECT

PAGES = (
    *(PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md")),
    *sorted((PROJECT / "docs").rglob("*.md")),
)

# What stands on the pages instead of a private word. Each word is a regular expression.
ENGLISH = {
    r"mend(s|ed|ing)?": "fix",
    r"anew": "again",
    r"told": "notified, reported",
    r"remark(s|ed|ing)?": "note, warning",
    r"dearest": "slowest",
    r"doubt\w*": "say what is uncertain",
    r"lanes?": "say what stops or waits",
    r"(?<!capital\s)(?<!small\s)letters?": "e-mail",
    r"people": "users, operators, accountants",
    r"(a|another|one|every|each|same|wrong) person|persons": "a user, an operator",
    r"leaves? (behind |the |a |its |no )?(files?|rows?|index(es)?)": "write, keep",
    r"the whole": "entire",
    r"whoever|whatever|whichever": "name the subject",
    r"(that|those) of the": "repeat the noun",
    r"ones? that|those (which|that)": "name the thing",
}
JAPANESE = {
    r"(?<!適格)返還請求書": "返還",
    r"会計月の引き渡し|引き渡し(?=た|て|を|は|後|前|済)": "会計データの確定",
    r"未締め日を許す": "未集計の日があっても請求する",
    r"もう一度請求": "請求のやり直し（新番号）",
    r"入金の照合|振込の確認": "入金消込、消込の確定",
    r"名義を忘れる|覚えている名義": "登録名義の削除、登録済み名義",
    r"発送(を止め|する|し|済|の停止)": "送付",
    r"証拠の書類": "貸倒れの事実を証する書類",
    r"売上に係る対価": "売上げに係る対価の返還等",
    r"払える額に": "通貨の最小単位に合わせてください",
    r"理由を直し": "原因を取り除き",
    r"日続けてない": "日連続で存在しない",
    r"もう一度尋ねて": "承認依頼を出し直して",
    r"開いている異常|「進み」|速さ|「残す」|「やめる」": "未解消の異常、進捗、処理速度、保存、閉じる",
    r"(?<![必重主不])要(る|りません|らな|ります)": "必要、不要",
    r"客先": "取引先、お客様",
    r"警報": "アラート",
    r"警戒": "警告",
    r"(?<!「)取引日(?!」)": "計上日",
}

# The pages on which a word is a term that the page defines.
TERMS = {
    "people": ("docs/develop/people.md", "docs/develop/architecture.md"),
    "letter": ("docs/admin/mail.md", "docs/develop/delivery.md"),
    "lane": ("docs/develop/delivery.md",),
    "取引日": ("docs/accounting/files.md",),
}

_NOT_READ = re.compile(
    r"^````.*?^````$|^```.*?^```$|<!-- generated: .*?<!-- end -->|<!--.*?-->|``.+?``|`[^`\n]*`"
    r"|\[[^\]]*\]\([^)]*people\.md[^)]*\)|\]\([^)]*\)|<[^>\n]*>",
    re.MULTILINE | re.DOTALL,
)


def found_words(page: Path) -> Iterator[str]:
    """``path:line: word → replacement`` for each word that must not stand on the page."""
    path = page.relative_to(PROJECT).as_posix() if page.is_relative_to(PROJECT) else page.name
    text = _NOT_READ.sub(lambda skipped: re.sub(r"[^\n]", " ", skipped[0]), page.read_text(encoding="utf-8"))
    allowed = [term for term, pages in TERMS.items() if path in pages]
    # A phrase may stand on two lines.
    words = {rf"\b(?:{word})\b".replace(" ", r"\s+"): better for word, better in ENGLISH.items()} | JAPANESE
    for word, better in words.items():
        for found in re.finditer(word, text, re.IGNORECASE):
            if not any(found[0].lower().startswith(term) for term in allowed):
                line = text.count("\n", 0, found.start()) + 1
                yield f"{path}:{line}: {' '.join(found[0].split())} → {better}"


if __name__ == "__main__":
    hits = [hit for page in PAGES if page.exists() for hit in found_words(page)]
    print(*hits, sep="\n", end="\n" if hits else "")
    sys.exit(bool(hits))
