"""Templates that tenants write: placeholders, conditions and a few filters, and nothing else.

A template is untrusted. It is rendered in Jinja's immutable sandbox, and before that its syntax is looked through: only what cannot
loop, call, multiply or reach into an object is let in. So rendering ends at once and its output is bounded by what goes in.
Placeholders are ``{{name}}``; an unknown one is an error that names the template and the variable.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from html.parser import HTMLParser

from jinja2 import StrictUndefined, TemplateError, Undefined, nodes
from jinja2 import Template as CompiledTemplate
from jinja2.sandbox import ImmutableSandboxedEnvironment

from include.database import storable
from include.errors import BatchError
from include.messaging.channels.line_works import LONGEST_TEXT
from include.messaging.outcome import Channel

# Characters of a template, and of what it renders to: far above any message, far below what hurts.
MAX_TEMPLATE = 20_000
MAX_OUTPUT = 40_000
# Of a template's syntax: Jinja's own work grows with its square, and ends in a RecursionError.
MAX_DEPTH = 20

# Characters of one of Slack's sections, and of its header.
_SECTION = 3_000
_HEADER = 150

_MOST_DIGITS = 10

_ALLOWED = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.Name,
    nodes.Const,
    nodes.Filter,
    nodes.If,
    nodes.Compare,
    nodes.Operand,
    nodes.And,
    nodes.Or,
    nodes.Not,
    nodes.Test,
)
_ALLOWED_FILTERS = frozenset({"default", "upper", "lower", "trim", "title", "truncate", "int", "round"})
_ALLOWED_TESTS = frozenset({"defined", "undefined", "none", "eq", "ne", "lt", "le", "gt", "ge", "in"})


class TemplateRefusedError(BatchError):
    """A template that cannot be used, by its key: its syntax, an unknown variable, or too much of it."""


@dataclass(frozen=True)
class Template:
    """A tenant's own template, or the built-in one. ``key`` names it in errors; ``language`` is ``ja`` or ``en``.

    ``is_html``: the body of an e-mail is HTML, and its plain text is made from it.
    """

    key: str
    channel: Channel
    language: str
    subject: str
    body: str
    is_html: bool = False


@dataclass(frozen=True)
class Rendered:
    """A subject that fits into a header, the plain text, and the channel's own form (HTML, blocks, card; None: plain text only)."""

    subject: str = field(repr=False)
    text: str = field(repr=False)
    rich: object = field(default=None, repr=False)


def render(template: Template, variables: Mapping[str, object]) -> Rendered:
    """The message for the template's channel, with every value escaped as the channel needs it.

    :raises TemplateRefusedError: names the template's key, and the unknown variable or what is not allowed.
    """
    subject = " ".join(_render(template, template.subject, variables, _plain).split())
    if template.is_html:
        page = _render(template, template.body, variables, html.escape)
        return Rendered(subject, _text_of(page), page)
    marked_up = _render(template, template.body, variables, _ESCAPES[template.channel])
    plain = _render(template, template.body, variables, _plain)
    return _for_channel(template.channel, subject, plain, marked_up)


def literal(channel: Channel, subject: str, body: str, *, is_html: bool = False) -> Rendered:
    """The message for a channel of texts that are no templates: all of it is shown as it is, and nothing of it is markup.

    ``is_html``: the body is a page of the application's own making, for e-mail; other channels get its text.
    """
    subject, body = " ".join(storable(subject).split()), storable(body)
    plain = _text_of(body) if is_html else body
    if is_html and channel is Channel.EMAIL:
        return Rendered(subject, plain, body)
    return _for_channel(channel, subject, plain, _ESCAPES[channel](plain))


def _for_channel(channel: Channel, subject: str, plain: str, marked_up: str) -> Rendered:
    """The message from its body, as it is and with the channel's markup. Where a message has no subject line, the text begins with it."""
    match channel:
        case Channel.SLACK:
            # Slack shows the text in its notifications, and reads the control characters there too.
            text = f"{_mrkdwn(subject)}\n{marked_up}" if subject else marked_up
        case Channel.LINE_WORKS:
            whole = f"{subject}\n\n{plain}" if subject else plain
            text = whole if len(whole) <= LONGEST_TEXT else plain
        case _:
            text = plain
    return Rendered(subject, text, _RICH[channel](subject, marked_up))


def check(template: Template, sample: Mapping[str, object]) -> list[str]:
    """What is wrong with a template when it is rendered with its own sample data; nothing is sent."""
    try:
        render(template, sample)
    except TemplateRefusedError as error:
        return [str(error)]
    return []


def variables_of(sample_data: str | None) -> dict[str, object]:
    """The sample data of MST_NotificationTemplate (a JSON object in text); empty for anything else."""
    try:
        data = json.loads(sample_data or "{}")
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _render(
    template: Template, source: str, variables: Mapping[str, object], escape: Callable[[str], str]
) -> str:
    if len(source) > MAX_TEMPLATE:
        raise _refused(template, f"{MAX_TEMPLATE:,} 文字を超えています")
    try:
        return _limited(template, _compiled(escape, source).generate(variables))
    except TemplateRefusedError:
        raise
    except TemplateError as error:
        raise _refused(template, str(error)) from None
    except Exception as error:
        # A filter's assertion, Python's own limits of nesting: whatever it is, it is the template's doing. Its words may quote a value.
        raise _refused(template, f"計算できません（{type(error).__name__}）") from None


@lru_cache(maxsize=512)
def _compiled(escape: Callable[[str], str], source: str) -> CompiledTemplate:
    """The template's code, made once for all that it is rendered for. :raises TemplateError: it is no template, or not allowed."""
    environment = _environment(escape)
    _require_harmless(environment.parse(source))
    return environment.from_string(source)


def _limited(template: Template, parts: Iterable[str]) -> str:
    """The parts together, as long as they are not too much; no more of them is made than that."""
    output: list[str] = []
    length = 0
    for part in parts:
        length += len(part)
        if length > MAX_OUTPUT:
            raise _refused(template, f"出力が {MAX_OUTPUT:,} 文字を超えました")
        output.append(part)
    return "".join(output)


def _require_harmless(tree: nodes.Template) -> None:
    level: list[nodes.Node] = [tree]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in node.iter_child_nodes()]
    if level:
        raise TemplateError("入れ子が深すぎます")
    for node in tree.find_all(nodes.Node):
        if not isinstance(node, _ALLOWED) or (isinstance(node, nodes.Name) and node.name == "self"):
            raise TemplateError(
                f"{type(node).__name__} は使えません（置き換え、条件、一部のフィルターだけです）"
            )
        if isinstance(node, nodes.Filter) and node.name not in _ALLOWED_FILTERS:
            raise TemplateError(f"フィルター {node.name} は使えません")
        if isinstance(node, nodes.Test) and node.name not in _ALLOWED_TESTS:
            raise TemplateError(f"条件 {node.name} は使えません")


@cache
def _environment(escape: Callable[[str], str]) -> ImmutableSandboxedEnvironment:
    """Every value is escaped as it is printed, whatever a filter has made of it; what the template itself says is not."""
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        finalize=lambda value: value if isinstance(value, Undefined) else escape(_text(value)),
    )
    environment.globals.clear()
    environment.filters["round"] = _rounded
    return environment


def _rounded(value: float, precision: int = 0) -> float:
    """Not Jinja's own: that raises ten to whatever power the template says."""
    if not isinstance(precision, int) or not 0 <= precision <= _MOST_DIGITS:
        raise ValueError(f"round takes 0 to {_MOST_DIGITS} digits")
    return round(float(value), precision)


def _refused(template: Template, reason: str) -> TemplateRefusedError:
    return TemplateRefusedError(
        f"テンプレート '{template.key}'（{template.channel}、{template.language}）を使えません: {reason}"
    )


def _text(value: object) -> str:
    return "" if value is None else storable(str(value))


def _plain(value: str) -> str:
    return value


def _mrkdwn(value: str) -> str:
    """Slack's three control characters; with them escaped nothing in a value is a link or a mention."""
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _card_text(value: str) -> str:
    """Adaptive Cards take a part of Markdown: what would begin a link or emphasis is taken literally."""
    return "".join(f"\\{character}" if character in "\\`*_[]()#+-!|~<>" else character for character in value)


_ESCAPES: dict[Channel, Callable[[str], str]] = {
    Channel.EMAIL: _plain,
    Channel.SLACK: _mrkdwn,
    Channel.TEAMS: _card_text,
    Channel.LINE_WORKS: _plain,
}


def _html_page(subject: str, body: str) -> str:
    lines = html.escape(body).replace("\n", "<br>\n")
    return f"<html><body><h3>{html.escape(subject)}</h3><p>{lines}</p></body></html>"


_LINES = frozenset({"p", "br", "div", "li", "tr", "h1", "h2", "h3"})
_HIDDEN = frozenset({"script", "style", "title"})


class _TextOfHtml(HTMLParser):
    """Collects the text; a paragraph, a break and a row begin and end a line."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._hidden = 0

    def parse_marked_section(self, i: int, report: bool = True) -> int:  # noqa: ARG002
        # Browsers take "<![anything" for a comment; Python raises.
        return self.parse_bogus_comment(i)

    def handle_endtag(self, tag: str) -> None:
        if tag in _HIDDEN and self._hidden:
            self._hidden -= 1
        if tag in _LINES:
            self.parts.append("\n")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self._hidden += tag in _HIDDEN
        if tag in _LINES:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data)


def _text_of(page: str) -> str:
    parser = _TextOfHtml()
    # The break lets go of a text that the parser still holds for the end of something; close() takes quadratic time over broken tags.
    parser.feed(f"{page}<br>")
    return "\n".join(line.strip() for line in "".join(parser.parts).splitlines() if line.strip())


def _blocks(subject: str, body: str) -> list[dict[str, object]]:
    sections: list[dict[str, object]] = [
        {"type": "section", "text": {"type": "mrkdwn", "text": part}} for part in _sections(body)
    ]
    # Japanese has no spaces to shorten it at.
    subject = " ".join(subject.split())
    shown = subject if len(subject) <= _HEADER else f"{subject[: _HEADER - 1]}…"
    header: dict[str, object] = {"type": "header", "text": {"type": "plain_text", "text": shown}}
    return [header, *sections] if shown else sections


def _sections(body: str) -> Iterator[str]:
    """As much as a section holds at a time; an escaped character (&amp;) stays in one piece."""
    start = 0
    while start < len(body):
        end = start + _SECTION
        begun = body.rfind("&", end - 4, end)
        if begun > start and end < len(body) and ";" not in body[begun:end]:
            end = begun
        yield body[start:end]
        start = end


def _card(subject: str, body: str) -> list[dict[str, object]]:
    return [
        {
            "type": "TextBlock",
            "size": "Medium",
            "weight": "Bolder",
            "wrap": True,
            "text": _card_text(subject),
        },
        {"type": "TextBlock", "wrap": True, "text": body},
    ]


_RICH: dict[Channel, Callable[[str, str], object]] = {
    Channel.EMAIL: _html_page,
    Channel.SLACK: _blocks,
    Channel.TEAMS: _card,
    Channel.LINE_WORKS: lambda _subject, _body: None,
}
