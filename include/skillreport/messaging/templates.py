"""Templates that tenants write: placeholders, conditions and a few filters.

Templates are untrusted. The syntax is checked first: loops, calls, arithmetic and access to attributes are refused. Then Jinja's immutable
sandbox renders the template. So the rendering time and the output length are bounded. Placeholders are ``{{name}}``; an unknown placeholder
is an error that names the template and the variable.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from html.parser import HTMLParser
from typing import Any

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, Undefined, UndefinedError, nodes
from jinja2 import Template as CompiledTemplate
from jinja2.sandbox import ImmutableSandboxedEnvironment
from typing_extensions import override

from include.skillreport.core.database import storable
from include.skillreport.core.errors import BatchError
from include.skillreport.messaging.channels.channel import Channel, Rendered, unchanged
from include.skillreport.messaging.channels.email import EMAIL

# Characters of a template and of its output. Real messages are much shorter.
MAX_TEMPLATE = 20_000
MAX_OUTPUT = 40_000
# The depth of a template's syntax tree. Jinja's work grows with the square of the depth, up to a RecursionError.
MAX_DEPTH = 20

_MOST_DIGITS = 10

# The variable in Jinja's text about an undefined one.
_QUOTED = re.compile("'([^']*)'")

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
    """A template cannot be used because of its syntax, an unknown variable or its length. ``reasons`` by language (``ja``, ``en``)."""

    def __init__(self, text: str, reasons: Mapping[str, str]) -> None:
        super().__init__(text)
        self.reasons = reasons


class _NotAllowedError(TemplateError):
    """The syntax is valid for Jinja, but not allowed here."""

    def __init__(self, japanese: str, english: str) -> None:
        super().__init__(japanese)
        self.reasons = (japanese, english)


@dataclass(frozen=True)
class Template:
    """A template of a tenant, or a built-in template. Errors name it by ``key``; ``language`` is ``ja`` or ``en``.

    ``is_html``: the body is an HTML page for e-mail. Other channels get only the text of the page. ``is_markdown``: Slack interprets the
    template's own markup (mrkdwn). The body of any other template is plain text for Slack.
    """

    key: str
    channel: Channel
    language: str
    subject: str
    body: str
    is_html: bool = False
    is_markdown: bool = False

    @classmethod
    def of_row(cls, row: Mapping[str, Any], channel: Channel) -> Template:
        """A tenant's own template for a channel."""
        return cls(
            row["template_key"],
            channel,
            row["language"],
            row["subject"],
            row["body"],
            row["is_html"],
            row["is_markdown"],
        )


def render(template: Template, variables: Mapping[str, object]) -> Rendered:
    """The message for the template's channel. Every value is escaped for the channel.

    :raises TemplateRefusedError: names the template, and the unknown variable or the reason.
    """
    subject = " ".join(_render(template, template.subject, variables, unchanged).split())
    if template.is_html:
        page = _render(template, template.body, variables, html.escape)
        _limited(template, [template.channel.escape_text(_text_of(page))])
        return _of_page(template.channel, subject, page)
    plain = _render(template, template.body, variables, unchanged)
    if not template.is_markdown:
        _limited(template, [template.channel.escape_text(plain)])
    escape = template.channel.escape_of(is_markdown=template.is_markdown)
    marked_up = plain if escape is unchanged else _render(template, template.body, variables, escape)
    return template.channel.compose(subject, plain, marked_up, is_markdown=template.is_markdown)


def literal(channel: Channel, subject: str, body: str, *, is_html: bool = False) -> Rendered:
    """The message for a channel from finished texts. Nothing in the texts is treated as markup.

    ``is_html``: the body is an HTML page of the application, used for e-mail. Other channels get its text.
    """
    subject, body = " ".join(storable(subject).split()), storable(body)
    return _of_page(channel, subject, body) if is_html else _of_text(channel, subject, body)


def _of_page(channel: Channel, subject: str, page: str) -> Rendered:
    text = _text_of(page)
    return Rendered(subject, text, page) if channel == EMAIL else _of_text(channel, subject, text)


def _of_text(channel: Channel, subject: str, text: str) -> Rendered:
    return channel.compose(subject, text, channel.escape_of(is_markdown=False)(text))


def _render(
    template: Template, source: str, variables: Mapping[str, object], escape: Callable[[str], str]
) -> str:
    if len(source) > MAX_TEMPLATE:
        raise _refused(
            template, f"{MAX_TEMPLATE:,} 文字を超えています", f"it has more than {MAX_TEMPLATE:,} characters"
        )
    try:
        return _limited(template, _compiled(escape, source).generate(variables))
    except TemplateRefusedError:
        raise
    except _NotAllowedError as error:
        raise _refused(template, *error.reasons) from None
    except UndefinedError as error:
        name = next(iter(_QUOTED.findall(str(error))), "")
        raise _refused(template, f"変数 {name} はありません", f"there is no variable {name}") from None
    except TemplateSyntaxError as error:
        line = error.lineno
        raise _refused(
            template, f"{line} 行目の書式が正しくありません", f"line {line} has a syntax error"
        ) from None
    except Exception as error:
        # The template caused the error, for example in a filter. The error's text may quote a value.
        raise _refused(
            template,
            f"計算できません（{type(error).__name__}）",
            f"a value cannot be computed ({type(error).__name__})",
        ) from None


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
            raise _refused(
                template,
                f"出力が {MAX_OUTPUT:,} 文字を超えました",
                f"it gives more than {MAX_OUTPUT:,} characters",
            )
        output.append(part)
    return "".join(output)


def _require_harmless(tree: nodes.Template) -> None:
    level: list[nodes.Node] = [tree]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in node.iter_child_nodes()]
    if level:
        raise _NotAllowedError("入れ子が深すぎます", "it is nested too deeply")
    for node in tree.find_all(nodes.Node):
        if not isinstance(node, _ALLOWED) or (isinstance(node, nodes.Name) and node.name == "self"):
            kind = type(node).__name__
            raise _NotAllowedError(
                f"{kind} は使えません（置き換え、条件、一部のフィルターだけです）",
                f"{kind} is not allowed (placeholders, conditions and a few filters are)",
            )
        if isinstance(node, nodes.Filter) and node.name not in _ALLOWED_FILTERS:
            raise _NotAllowedError(
                f"フィルター {node.name} は使えません", f"the filter {node.name} is not allowed"
            )
        if isinstance(node, nodes.Test) and node.name not in _ALLOWED_TESTS:
            raise _NotAllowedError(f"条件 {node.name} は使えません", f"the test {node.name} is not allowed")


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


def _refused(template: Template, japanese: str, english: str) -> TemplateRefusedError:
    return TemplateRefusedError(
        f"テンプレート '{template.key}'（{template.channel}、{template.language}）を使えません: {japanese}",
        {"ja": japanese, "en": english},
    )


def _text(value: object) -> str:
    return "" if value is None else storable(str(value))


# Python rejects numbers with so many digits, and no character has one.
_LONG_REFERENCE = re.compile("&#(?=[0-9]{100})")
_LINES = frozenset({"p", "br", "div", "li", "tr", "h1", "h2", "h3"})
_HIDDEN = frozenset({"script", "style", "title"})


class _TextOfHtml(HTMLParser):
    """Collects the text of a page. Elements such as paragraphs and rows begin and end a line."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._hidden = 0

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
    # Browsers treat "<![anything" as a comment. So do all versions of the parser after a space; otherwise some raise an error.
    # The <br> makes the parser release buffered text. close() would do so too, but takes quadratic time on broken tags.
    readable = _LONG_REFERENCE.sub("&amp;#", page.replace("<![", "<! ["))
    parser.feed(f"{readable}<br>")
    return "\n".join(line.strip() for line in "".join(parser.parts).splitlines() if line.strip())
