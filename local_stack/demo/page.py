"""The page of the demo: one file with what came out, to be opened from disk. It needs no network and no scripts."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.header import decode_header, make_header
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pypdfium2
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from include.skillreport.core.execution.business_date import JAPAN
from local_stack.demo.summary import EndedRun
from local_stack.stack import PROJECT
from local_stack.stand_ins.recorder import Arrived, MessageLog

_HERE = Path(__file__).parent
_BOARD_STYLE = PROJECT / "plugins" / "skill_batch" / "board" / "static" / "board.css"

# Links and buttons lead nowhere without Airflow.
_BOARD_WITHOUT_AIRFLOW = (
    ".top, .skip, .button, .buttons, button { display: none } a { text-decoration: none }"
)
_LINKED_FILE = re.compile(r"<link\b[^>]*>|<script\b[^>]*>.*?</script>", re.DOTALL)
_HREF = re.compile(r'\shref="[^"]*"')

_SLACK_LINK = re.compile(r"<[^|>]*\|([^>]*)>")

# The first words of an alert about a failed run, see skill_batch.notifiers.
_FAILED_RUN = "バッチ実行失敗"

_SHOWN_HEADERS = ("From", "To", "Subject", "Date", "Message-ID", "List-Unsubscribe", "Auto-Submitted")

_PIXELS_WIDE = 1_000
_KILOBYTE = 1_024


@dataclass(frozen=True)
class FileLink:
    """A file and the address that leads to it from the page."""

    href: str
    name: str
    size: str


@dataclass(frozen=True)
class FirstPage:
    """The first page of a PDF as a picture."""

    source: str
    link: FileLink


@dataclass(frozen=True)
class ShownAlert:
    """A message in the operators' Slack: its heading, sections, and the line below."""

    channel: str
    time: str
    heading: str
    sections: Sequence[str]
    context: str


@dataclass(frozen=True)
class Mail:
    """A mail with its headers as a mail program shows them."""

    headers: Mapping[str, str]
    html: str
    attachments: Sequence[str]


@dataclass(frozen=True)
class PageContent:
    """What the page shows. None: the demo has not made it."""

    board: str
    invoice: FirstPage | None
    report: FirstPage | None
    alert: ShownAlert | None
    mail: Mail | None
    files: Mapping[str, Sequence[FileLink]]
    runs: Sequence[EndedRun] = field(default_factory=list)


def write_page(folder: Path, storage: Path, arrived: Path, board: Path, runs: Sequence[EndedRun]) -> Path:
    """Write ``index.html`` into the folder, and return its path. ``board`` is the HTML of the operators' board."""
    messages = MessageLog(arrived).messages
    invoice = _largest(storage / "invoices", "*.pdf")
    content = PageContent(
        board=standalone_board(board.read_text(encoding="utf-8")),
        invoice=_sheet(folder, invoice),
        report=_sheet(folder, _largest(storage / "reports", "*.pdf")),
        alert=find_alert(messages),
        mail=find_mail(messages, invoice.stem if invoice else ""),
        files=_files(folder, storage, arrived),
        runs=runs,
    )
    page = folder / "index.html"
    page.write_text(render(content), encoding="utf-8")
    return page


def render(content: PageContent) -> str:
    """The page as HTML. All values are escaped."""
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.jinja").render(page=content)


def standalone_board(html: str) -> str:
    """The board's page with its style inside, and without scripts, links and buttons."""
    style = f"<style>{_BOARD_STYLE.read_text(encoding='utf-8')}\n{_BOARD_WITHOUT_AIRFLOW}</style>"
    return _HREF.sub("", _LINKED_FILE.sub("", html)).replace("</head>", f"{style}</head>", 1)


def find_alert(messages: Sequence[Arrived]) -> ShownAlert | None:
    """The newest alert about a failed run in Slack."""
    for message in reversed(messages):
        if message.channel == "slack" and message.text.startswith(_FAILED_RUN) and message.rich:
            return _alert(message)
    return None


def _alert(message: Arrived) -> ShownAlert:
    texts: dict[str, list[str]] = {"header": [], "rich_text": [], "context": []}
    for block in message.rich:
        if block["type"] == "rich_text":
            texts["rich_text"] += rich_texts(block)
            continue
        for element in block.get("elements") or [block.get("text")]:
            if element and block["type"] in texts:
                texts[block["type"]].append(_SLACK_LINK.sub(r"[\1]", element["text"]))
    return ShownAlert(
        message.destination,
        f"{message.arrived_at.astimezone(JAPAN):%Y-%m-%d %H:%M:%S}",
        " ".join(texts["header"]),
        texts["rich_text"],
        " ".join(texts["context"]),
    )


def rich_texts(block: Mapping[str, Any]) -> list[str]:
    """The text of each section of Slack's block ``rich_text``."""
    return ["".join(element["text"] for element in part["elements"]) for part in block["elements"]]


def find_mail(messages: Sequence[Arrived], invoice: str) -> Mail | None:
    """The mail with this invoice attached, or else the newest mail with an attachment.

    A second demo does not send an invoice again, so the mail may be that of an earlier one.
    """
    mails = [message for message in reversed(messages) if message.channel == "email" and message.files]
    mails.sort(key=lambda mail: not any(invoice in file["name"] for file in mail.files))
    return _mail(mails[0]) if mails else None


def _mail(message: Arrived) -> Mail:
    return Mail(
        {
            name: str(make_header(decode_header(message.headers[name].strip())))
            for name in _SHOWN_HEADERS
            if name in message.headers
        },
        message.rich or message.text,
        [f"{file['name']}（{_size(file['bytes'])}）" for file in message.files],
    )


def _files(folder: Path, storage: Path, arrived: Path) -> Mapping[str, Sequence[FileLink]]:
    """The files that the demo has made, under their headings."""
    found = {
        "請求書（PDF、JSON、一覧）": _below(storage / "invoices", "*"),
        "月次レポート（Excel）": _below(storage / "reports", "*.xlsx"),
        "月次レポート（PDF）": _below(storage / "reports", "*.pdf"),
        "会計用ファイル": _below(storage / "accounting", "*"),
        "バックアップの目録": sorted((storage / "backups").glob("*/manifest.json")),
        "保管した通知ログとログファイル": [
            *_below(storage / "notification_log", "*.gz"),
            *_below(storage / "log_archive", "*"),
        ],
        "バッチごとの詳細（テキスト）": sorted(folder.glob("*.txt")),
        "届いたメッセージの記録": [arrived] if arrived.exists() else [],
    }
    return {title: [_link(folder, file) for file in files] for title, files in found.items() if files}


def _below(folder: Path, pattern: str) -> list[Path]:
    return sorted(path for path in folder.rglob(pattern) if path.is_file())


def _largest(folder: Path, pattern: str) -> Path | None:
    """The file that shows most."""
    return max(_below(folder, pattern), key=lambda path: path.stat().st_size, default=None)


def _link(folder: Path, file: Path) -> FileLink:
    return FileLink(quote(os.path.relpath(file, folder)), file.name, _size(file.stat().st_size))


def _size(size: int) -> str:
    return f"{size / _KILOBYTE:,.0f} KB" if size >= _KILOBYTE else f"{size} B"


def _sheet(folder: Path, pdf: Path | None) -> FirstPage | None:
    if pdf is None:
        return None
    document = pypdfium2.PdfDocument(pdf)  # type: ignore[no-untyped-call]
    try:
        first = document[0]
        image = first.render(scale=_PIXELS_WIDE / first.get_width()).to_pil()
    finally:
        document.close()  # type: ignore[no-untyped-call]
    drawn = BytesIO()
    image.quantize().save(drawn, "PNG", optimize=True)
    return FirstPage(
        f"data:image/png;base64,{base64.b64encode(drawn.getvalue()).decode()}", _link(folder, pdf)
    )
