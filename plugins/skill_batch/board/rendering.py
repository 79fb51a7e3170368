"""Renders the pages: templates, the language, and the formats of times, amounts and durations.

The texts in templates and modules are Japanese; ``texts/en.yaml`` has their English form. Times are shown in Asia/Tokyo.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlencode

from fastapi import Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from skill_batch.board import charts
from skill_batch.board.access import Rights
from skill_batch.board.airflow_api import AirflowApi
from skill_batch.board.contract_words import WORDS as CONTRACT_WORDS
from skill_batch.board.ended import PAGES as ENDED_PAGES
from skill_batch.board.invoice_words import LISTED as LISTED_STATES
from skill_batch.board.invoice_words import STATES as INVOICE_STATES
from skill_batch.board.message_words import LETTER_STATES
from skill_batch.board.runs import sending_at
from skill_batch.notifiers.run_links import BOARD_PREFIX, NIGHT, help_url
from include.skillreport.billing.contract_kinds import KINDS as CONTRACT_KINDS
from include.skillreport.billing.second_person import is_author
from include.skillreport.billing.settings import nobody_else_looks
from include.skillreport.core.catalog import (
    NOTIFICATION_RETRY,
    TENANT_BILLING,
    TENANT_MONITORING,
    TENANT_USAGE,
)
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.failure_kinds import FailureKind
from include.skillreport.core.operation_catalog import APPROVALS, IMPORT_PAYMENTS, OPERATE_CONTRACTS
from include.skillreport.core.run_spec import OperationSpec, RunSpec
from include.skillreport.core.version import VERSION
from include.skillreport.core.yaml_files import load_yaml
from include.skillreport.operations.forms import FORMS

Language = Literal["ja", "en"]

LANGUAGE_COOKIE = "skill_batch_language"

_CLASS = re.compile("[A-Z][a-z]\\w*")

_HERE = Path(__file__).parent

# Scripts and styles come only from the board's own files. Only Airflow's UI may embed the pages.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'self'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}

# Title, path, and the DAG whose runs the reader must be allowed to see ("": every user of Airflow).
MENU: tuple[tuple[str, str, str], ...] = (
    ("昨夜", "/", ""),
    ("テナント", "/tenants", TENANT_USAGE.dag_id),
    ("請求", "/invoices", TENANT_BILLING.dag_id),
    ("通知", "/messages", NOTIFICATION_RETRY.dag_id),
    ("所要時間", "/durations", ""),
    ("異常・連携・バックアップ", "/findings", TENANT_MONITORING.dag_id),
)
# The pages below 請求, and the DAG that their readers may start.
BILLING_PAGES: tuple[tuple[str, str, str], ...] = (
    ("月ごとの請求", "invoices", ""),
    ("書類の検索", "documents", ""),
    ("会計ファイル", "accounting", ""),
    ("売掛金", "receivables", ""),
    ("入金消込", "transfers", IMPORT_PAYMENTS.dag_id),
    ("契約の変更", "contracts", OPERATE_CONTRACTS.dag_id),
)


@cache
def english() -> dict[str, str]:
    """The English form of each Japanese text of the board."""
    texts: dict[str, str] = load_yaml(_HERE / "texts" / "en.yaml")
    return texts


def language_of(request: Request) -> Language:
    """The reader's choice (a cookie), otherwise the browser's language."""
    chosen = request.cookies.get(LANGUAGE_COOKIE)
    if chosen not in ("ja", "en"):
        chosen = "ja" if "ja" in request.headers.get("Accept-Language", "ja").lower() else "en"
    return "ja" if chosen == "ja" else "en"


def translator(language: Language) -> Callable[..., str]:
    """A function that translates a Japanese text for the reader. Named values replace ``{name}`` in the text."""

    def translate(text: str, **values: Any) -> str:
        shown = english().get(text, text) if language == "en" else text
        return shown.format(**values) if values else shown

    return translate


class Links:
    """The addresses of the board's and Airflow's pages, below the API server's path prefix."""

    def __init__(self, request: Request) -> None:
        self.board = str(request.scope.get("root_path", "")).rstrip("/")
        self.airflow = self.board.removesuffix(BOARD_PREFIX)
        self._living_runs = cache(lambda dag_id: AirflowApi(request).living_runs(dag_id))

    def page(self, *parts: str, **query: Any) -> str:
        """A page of the board. ``parts`` are path segments. Empty values and None are dropped from the parameters in ``query``."""
        path = "/".join(quote(str(part), safe="") for part in parts)
        given = {name: value for name, value in query.items() if value not in (None, "", [])}
        return f"{self.board}/{path}" + (f"?{urlencode(given, doseq=True)}" if given else "")

    def dag(self, dag_id: str) -> str:
        """The DAG in Airflow's UI; its documentation has batch-specific hints."""
        return f"{self.airflow}/dags/{quote(dag_id, safe='')}"

    def run(self, dag_id: str, run_id: str) -> str:
        """The run in Airflow's UI, with its grid."""
        return f"{self.dag(dag_id)}/runs/{quote(run_id, safe='')}"

    def log(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> str:
        """The task instance in Airflow's UI, with its log."""
        task = f"{self.run(dag_id, run_id)}/tasks/{quote(task_id, safe='')}"
        return f"{task}/mapped/{map_index}" if map_index >= 0 else task

    def place(self, kind: FailureKind, spec: RunSpec, tenant_id: str = "") -> str:
        """The page of the board or of Airflow on which operators handle such a failure. ``tenant_id``: the first failed tenant."""
        if kind.page == "tenant":
            return self.page("tenants", tenant_id)
        if kind.page == "messages":
            return self.page("messages")
        if kind.page == "approvals":
            return self.dag(APPROVALS[spec.id].dag_id)
        if kind.page == "batch" and isinstance(spec, OperationSpec):
            return self.dag(spec.batch.dag_id)
        # Not the family's DAG: its form lacks the batch's own fields.
        return self.dag(spec.dag_id)

    def has_request(self, dag_id: str, run_id: str) -> bool:
        """True if an answer to this run's request has an effect. Airflow also accepts answers for an ended run."""
        return run_id in self._living_runs(dag_id)

    def request(self, dag_id: str, run_id: str) -> str:
        """The page in Airflow's UI on which a user answers a run's request."""
        return f"{self.run(dag_id, run_id)}/required_actions"


def render(
    request: Request, rights: Rights | None, template: str, status: int = 200, **context: Any
) -> Response:
    """A page or a fragment as HTML. ``rights`` is None on an error page without a login."""
    language = language_of(request)
    translate = translator(language)
    links = Links(request)
    menu = [
        (translate(title), links.board + path, path)
        for title, path, dag_id in MENU
        if rights is not None and (not dag_id or rights.may_read(dag_id))
    ]
    html = (
        _environment()
        .get_template(template)
        .render(
            context
            | {
                "_": translate,
                "language": language,
                "links": links,
                "menu": menu,
                "help": help_url(NIGHT, links.board),
                "path": request.scope["path"].removeprefix(links.board) or "/",
                "rights": rights,
            }
        )
    )
    return Response(html, status, HEADERS, media_type="text/html; charset=utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "billing_pages": BILLING_PAGES,
        "contract_kinds": CONTRACT_KINDS,
        "contract_words": CONTRACT_WORDS,
        "invoice_states": INVOICE_STATES,
        "listed_states": LISTED_STATES,
        "letter_states": LETTER_STATES,
        "ended_pages": ENDED_PAGES,
        "file_name": file_name,
        "retry_dag": NOTIFICATION_RETRY.dag_id,
        "nobody_else_looks": nobody_else_looks,
        "version": VERSION,
    }
    environment.filters |= {
        "moment": moment,
        "minutes_ago": minutes_ago,
        "sending": sending,
        "day": day,
        "duration": duration,
        "number": number,
        "money": money,
        "size": size,
        "name": name,
        "told": told,
        "coded": coded,
        "operation_title": operation_title,
        "entered": lambda person, authors: not nobody_else_looks() and is_author(person, authors),
        # charts escapes the labels.
        "line_chart": lambda series: Markup(charts.line_chart(series)),  # noqa: S704
        "bar_chart": lambda series: Markup(charts.bar_chart(series)),  # noqa: S704
    }
    return environment


def moment(value: datetime | None) -> str:
    """``11-26 02:00`` in Asia/Tokyo, with the year if it is not this one."""
    if value is None:
        return "—"
    local = value.astimezone(JAPAN)
    this_year = datetime.now(JAPAN).year
    return f"{local:%m-%d %H:%M}" if local.year == this_year else f"{local:%Y-%m-%d %H:%M}"


def sending(day: date) -> str:
    """When the letter of a day is sent, as ``moment``."""
    return moment(sending_at(day, datetime.now(JAPAN)))


def minutes_ago(value: datetime) -> int:
    """The full minutes since a time (aware)."""
    return int((datetime.now(JAPAN) - value).total_seconds() // 60)


def day(value: date | None) -> str:
    """``2026-11-26``."""
    return value.isoformat() if value else "—"


def duration(value: timedelta | Decimal | float | None) -> str:
    """``1:02:03``, ``2:03``, or ``4.5 s`` below a minute."""
    if value is None:
        return "—"
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def number(value: Decimal | float | None) -> str:
    """A number with thousands separators. A missing figure is a dash."""
    if value is None:
        return "—"
    return f"{value:,f}" if isinstance(value, Decimal) else f"{value:,}"


def money(value: Decimal | int | None, currency: str = "JPY") -> str:
    """An amount with its currency, never rounded."""
    if value is None:
        return "—"
    return f"{Decimal(value):,f} {currency}"


def name(value: str | None) -> Markup:
    """A name or a code, isolated from the surrounding text's direction. Empty if missing."""
    return Markup("<bdi>{}</bdi>").format(value) if value else Markup()


def told(value: str | None) -> Markup:
    """A sentence of the data, which is Japanese on English pages, too. Empty if missing."""
    return Markup('<span lang="ja">{}</span>').format(value) if value else Markup()


def coded(code: str | None) -> Markup:
    """A failure's code. Python class names are dropped, because they mean nothing to operators."""
    return Markup("<code>{}</code>").format(code) if code and not _CLASS.fullmatch(code) else Markup()


def file_name(row: Mapping[str, Any]) -> str:
    """The name of an accounting file, without its folder."""
    return str(row["key"]).rpartition("/")[2]


def operation_title(name: str, dag_id: str) -> str:
    """The Japanese title of an operation in a DAG's form; its name, if the form no longer has it."""
    form = FORMS.get(dag_id)
    return next((each.title for each in form.operations if each.name == name), name) if form else name


def size(value: int | None) -> str:
    """Bytes in a readable unit of 1,024."""
    if value is None:
        return "—"
    amount = float(value)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(amount) < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"
