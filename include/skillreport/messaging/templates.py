"""Templates that tenants write: placeholders, conditions and a few filters.

A template is untrusted. Its syntax is checked first: loops, calls, arithmetic and access to attributes are refused. It is then rendered
in Jinja's immutable sandbox. The time to render and the length of the output are therefore bounded. Placeholders are ``{{name}}``; an
unknown placeholder is an error that names the template and the variable.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from html.parser import HTMLParser

from jinja2 import StrictUndefined, TemplateError, Undefined, nodes
from jinja2 import Template as CompiledTemplate
from jinja2.sandbox import ImmutableSandboxedEnvironment
from typing_extensions import override

from include.skillreport.core.database import storable
from include.skillreport.core.errors import BatchError
from include.skillreport.messaging.channels.line_works import LONGEST_TEXT
from include.skillreport.messaging.outcome import Channel

# Characters of a template and of its output. Real messages are much shorter.
MAX_TEMPLATE = 20_000
MAX_OUTPUT = 40_000
# The depth of a template's syntax tree. Jinja's work grows with the square of the depth, up to a RecursionError.
MAX_DEPTH = 20

# The longest section and the longest header of Slack, in characters.
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
    """A template cannot be used because of its syntax, an unknown variable or its length."""


@dataclass(frozen=True)
class Template:
    """A template of a tenant, or a built-in template. Errors name it by ``key``; ``language`` is ``ja`` or ``en``.

    ``is_html``: the body is HTML for an e-mail, whose plain text is made from it. ``is_markdown``: Slack interprets the template's own
    markup (mrkdwn). The body of any other template is plain text for Slack.
    """

    key: str
    channel: Channel
    language: str
    subject: str
    body: str
    is_html: bool = False
    is_markdown: bool = False


@dataclass(frozen=True)
class Rendered:
    """A subject of one line, the plain text, and the channel's own format (HTML, blocks, card; None: plain text only)."""

    subject: str = field(repr=False)
    text: str = field(repr=False)
    rich: object = field(default=None, repr=False)


def render(template: Template, variables: Mapping[str, object]) -> Rendered:
    """The message for the template's channel. Every value is escaped for the channel.

    :raises TemplateRefusedError: names the template, and the unknown variable or the reason.
    """
    subject = " ".join(_render(template, template.subject, variables, _plain).split())
    if template.is_html:
        page = _render(template, template.body, variables, html.escape)
        return Rendered(subject, _text_of(page), page)
    plain = _render(template, template.body, variables, _plain)
    if template.channel is Channel.SLACK and not template.is_markdown:
        _limited(template, [_control_escaped(plain)])
        return _for_channel(template.channel, subject, plain, plain)
    marked_up = _render(template, template.body, variables, _ESCAPES[template.channel])
    return _for_channel(template.channel, subject, plain, marked_up, is_mrkdwn=template.is_markdown)


def literal(channel: Channel, subject: str, body: str, *, is_html: bool = False) -> Rendered:
    """The message for a channel from finished texts. Nothing in the texts is treated as markup.

    ``is_html``: the body is an HTML page of the application, used for e-mail. Other channels get its text.
    """
    subject, body = " ".join(storable(subject).split()), storable(body)
    plain = _text_of(body) if is_html else body
    if is_html and channel is Channel.EMAIL:
        return Rendered(subject, plain, body)
    marked_up = plain if channel is Channel.SLACK else _ESCAPES[channel](plain)
    return _for_channel(channel, subject, plain, marked_up)


def _for_channel(
    channel: Channel, subject: str, plain: str, marked_up: str, *, is_mrkdwn: bool = False
) -> Rendered:
    """The message from its body in plain text and with markup. If the channel has no subject line, the text begins with the subject.

    ``is_mrkdwn``: Slack interprets the markup of the body.
    """
    match channel:
        case Channel.SLACK:
            # Slack shows the text in notifications and interprets control characters there too.
            body = marked_up if is_mrkdwn else _control_escaped(plain)
            text = f"{_control_escaped(subject)}\n{body}" if subject else body
            return Rendered(subject, text, _blocks(subject, marked_up, is_mrkdwn=is_mrkdwn))
        case Channel.LINE_WORKS:
            whole = f"{subject}\n\n{plain}" if subject else plain
            text = whole if len(whole) <= LONGEST_TEXT else plain
        case _:
            text = plain
    return Rendered(subject, text, _RICH[channel](subject, marked_up))


def check(template: Template, sample: Mapping[str, object]) -> list[str]:
    """The problems of a template when it is rendered with its sample data. Nothing is sent."""
    try:
        render(template, sample)
    except TemplateRefusedError as error:
        return [str(error)]
    return []


def variables_of(sample_data: str | None) -> dict[str, object]:
    """The sample data of MST_NotificationTemplate (a JSON object in a text); empty if the text is not a JSON object."""
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
        # The template caused the error, for example in a filter. The error's text may quote a value.
        raise _refused(template, f"計算できません（{type(error).__name__}）") from None


@lru_cache(maxsize=512)
def _compiled(escape: Callable[[str], str], source: str) -> CompiledTemplate:
    """The compiled template, cached. :raises TemplateError: the syntax is invalid or not allowed."""
    environment = _environment(escape)
    _require_harmless(environment.parse(source))
    return environment.from_string(source)


def _limited(template: Template, parts: Iterable[str]) -> str:
    """The joined parts. Rendering stops when the output is too long."""
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
    """An environment that escapes every printed value after its filters. The template's own text is not escaped."""
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        finalize=lambda value: value if isinstance(value, Undefined) else escape(_text(value)),
    )
    environment.globals.clear()
    environment.filters["round"] = _rounded
    return environment


def _rounded(value: float, precision: int = 0) -> float:
    """Replaces Jinja's filter, which computes 10 to any power that the template names."""
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


def _control_escaped(value: str) -> str:
    """Escape Slack's three control characters, so that a value contains no link or mention."""
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


# Slack cannot escape these characters. It interprets those at the edge of a word, each "`", and ">" at the start of a line.
_FORMATTING = re.compile(r"(?<!\w)[*_~]|[*_~](?!\w)|`|^>", re.MULTILINE)
_LOOKALIKES = {"*": "\u2217", "_": "\uff3f", "~": "\u223c", "`": "\u02cb", ">": "\u203a"}


def _mrkdwn(value: str) -> str:
    """The value without control characters, and with lookalikes instead of characters that Slack takes as formatting."""
    return _control_escaped(_FORMATTING.sub(lambda match: _LOOKALIKES[match[0]], value))


def _card_text(value: str) -> str:
    """Escape the Markdown that Adaptive Cards support, so that a value contains no link or emphasis."""
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
    """Collects the text of a page. Elements such as paragraphs and rows begin and end a line."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._hidden = 0

    @override
    def parse_marked_section(self, i: int, report: bool = True) -> int:
        # Browsers treat "<![anything" as a comment; Python raises an error.
        return self.parse_bogus_comment(i)

    @override
    def handle_endtag(self, tag: str) -> None:
        if tag in _HIDDEN and self._hidden:
            self._hidden -= 1
        if tag in _LINES:
            self.parts.append("\n")

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in _HIDDEN
        if tag in _LINES:
            self.parts.append("\n")

    @override
    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data)


def _text_of(page: str) -> str:
    parser = _TextOfHtml()
    # The <br> makes the parser release buffered text. close() would do so too, but takes quadratic time on broken tags.
    parser.feed(f"{page}<br>")
    return "\n".join(line.strip() for line in "".join(parser.parts).splitlines() if line.strip())


def _blocks(subject: str, body: str, *, is_mrkdwn: bool) -> list[dict[str, object]]:
    # Slack creates no links from URLs and names in verbatim text; the template's own <…> remain links.
    kind: dict[str, object] = {"type": "plain_text", "emoji": False}
    if is_mrkdwn:
        kind = {"type": "mrkdwn", "verbatim": True}
    sections: list[dict[str, object]] = [
        {"type": "section", "text": {**kind, "text": part}} for part in _sections(body)
    ]
    # Split at any character: Japanese has no spaces.
    subject = " ".join(subject.split())
    shown = subject if len(subject) <= _HEADER else f"{subject[: _HEADER - 1]}…"
    header: dict[str, object] = {
        "type": "header",
        "text": {"type": "plain_text", "emoji": False, "text": shown},
    }
    return [header, *sections] if shown else sections


def _sections(body: str) -> Iterator[str]:
    """The body in parts of a section's length. An escaped character (&amp;) is not split."""
    start = 0
    while start < len(body):
        end = start + _SECTION
        escape = body.rfind("&", end - 4, end)
        if escape > start and end < len(body) and ";" not in body[escape:end]:
            end = escape
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
    Channel.TEAMS: _card,
    Channel.LINE_WORKS: lambda _subject, _body: None,
}
