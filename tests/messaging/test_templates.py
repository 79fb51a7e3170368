"""Templates are written by strangers and filled with strangers' values: neither does any harm."""

from __future__ import annotations

import html
import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.skillreport.messaging.channels import CHANNELS
from include.skillreport.messaging.channels.channel import Channel, Rendered
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.channels.line_works import LINE_WORKS
from include.skillreport.messaging.channels.slack import SLACK
from include.skillreport.messaging.channels.teams import TEAMS
from include.skillreport.messaging.outcome import Outcome
from include.skillreport.messaging.template_store import default_template
from include.skillreport.messaging.templates import (
    MAX_OUTPUT,
    MAX_TEMPLATE,
    Template,
    TemplateRefusedError,
    literal,
    render,
)
from local_stack.stand_ins import StandIns
from tests.messaging.sending import Tenant, message, sections, written

# Values with characters that have a meaning in a channel, and arbitrary other characters.
HOSTILE = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "<!channel>",
                "<!here|x>",
                "<@U0123>",
                "<#C0123>",
                '<m userId="all">',
                'm userId="all">',
                "<",
                "<http://evil.example|bank>",
                "&lt;!channel&gt;",
                "&",
                "&amp;",
                "<script>alert(1)</script>",
                "</p>",
                "<!--",
                "]]>",
                "[text](http://evil.example)",
                "**",
                "_",
                "`",
                "\\",
                "\r\nBcc: x@example.jp",
                "\n",
                "\u2028",
                "\x1b[0m",
                "{{ x }}",
                "{% for a in b %}",
                "'\"",
                "あ",
            ]
        ),
        # No text of the application's holds a NUL: PostgreSQL takes none.
        st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=5),
    ),
    max_size=8,
).map("".join)


def card_texts(rendered: Rendered) -> list[str]:
    """All that Teams reads as Markdown: the subject, and the body."""
    assert isinstance(rendered.rich, list)
    return [block["text"] for block in rendered.rich]


# Allowed syntax ------------------------------------------------------------------------------------------------------------


def test_placeholders_are_replaced_in_the_subject_and_in_the_body() -> None:
    rendered = written(
        "{{full_name}} 様\n{{ goal }}まで {{days_left}} 日",
        subject="あと {{ days_left }} 日",
        full_name="山田",
        goal="英語",
        days_left=7,
    )

    assert (rendered.subject, rendered.text) == ("あと 7 日", "山田 様\n英語まで 7 日")


@pytest.mark.parametrize(
    ("days_left", "expected"), [(0, "今日です"), (1, "明日です"), (7, "もうすぐです"), (30, "まだです")]
)
def test_conditions_choose_between_texts(days_left: int, expected: str) -> None:
    body = (
        "{% if days_left == 0 %}今日{% elif days_left == 1 %}明日"
        "{% elif days_left <= 7 and not off %}もうすぐ{% else %}まだ{% endif %}です"
    )

    assert written(body, days_left=days_left, off=False).text == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("{{ name|upper }}", "TARO YAMADA"),
        ("{{ name|lower }}", "taro yamada"),
        ("{{ name|title }}", "Taro Yamada"),
        ("[{{ spaced|trim }}]", "[x]"),
        ("{{ name|truncate(5, true) }}", "ta..."),
        ("{{ number|int }}", "3"),
        ("{{ number|round(1) }}", "3.7"),
        ("{{ missing|default('なし') }}", "なし"),
        ("{{ name|lower|title|trim }}", "Taro Yamada"),
        ("{% if missing is defined %}a{% else %}b{% endif %}", "b"),
        ("{% if nothing is none %}a{% endif %}{{ nothing }}", "a"),
        ("{% if 'aro' in name %}a{% endif %}", "a"),
        ("{# 翻訳中 #}{% raw %}{{ name }}{% endraw %}", "{{ name }}"),
    ],
)
def test_a_few_filters_and_tests_are_there(body: str, expected: str) -> None:
    rendered = written(body, name="taro YAMADA", spaced="  x ", number=3.7, nothing=None)

    assert rendered.text == expected


def test_a_condition_sees_the_value_before_escaping() -> None:
    assert "一致" in sections(written("{% if name == 'R&D' %}一致{% endif %}", SLACK, name="R&D"))


def test_a_value_is_never_a_template() -> None:
    rendered = written("{{ name }}", subject="{{ name }}", name="{{ 7 }}{% for x in y %}")

    assert rendered.text == rendered.subject == "{{ 7 }}{% for x in y %}"


# Refused syntax ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_subject", [True, False])
def test_an_unknown_variable_is_refused_by_the_names_of_template_and_variable(in_subject: bool) -> None:
    template = Template(
        "certificate_expiry", SLACK, "en", "{{ full_nam }}" if in_subject else "s", "{{ full_nam }}"
    )

    with pytest.raises(TemplateRefusedError) as refused:
        render(template, {"full_name": "極秘"})

    assert "'certificate_expiry'" in str(refused.value)
    assert "変数 full_nam はありません" in str(refused.value)
    assert refused.value.reasons["en"] == "there is no variable full_nam"
    assert "slack、en" in str(refused.value)
    assert "極秘" not in str(refused.value)


@pytest.mark.parametrize(
    "body",
    [
        # out of the sandbox
        "{{ ''.__class__.__mro__ }}",
        "{{ ''['__class__'] }}",
        "{{ name.__init__.__globals__ }}",
        "{{ name|attr('__class__') }}",
        "{{ self }}",
        "{{ self.__init__ }}",
        "{{ lipsum.__globals__ }}",
        "{{ cycler }}",
        "{{ joiner() }}",
        "{{ namespace }}",
        "{{ config }}",
        "{{ environment }}",
        # attributes, items and calls
        "{{ name.upper }}",
        "{{ name.upper() }}",
        "{{ name[0] }}",
        "{{ name[:1] }}",
        "{{ name() }}",
        "{{ dict(a=1) }}",
        # format strings
        "{{ '%s' % name }}",
        "{{ '{0.__class__}'.format(name) }}",
        "{{ 'x'|format(name) }}",
        "{{ '%999999999d' % 1 }}",
        # without end, or too much
        "{% for a in name %}x{% endfor %}",
        "{% for a in range(10 ** 9) %}{% for b in range(10 ** 9) %}x{% endfor %}{% endfor %}",
        "{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}",
        "{{ range(10 ** 9) }}",
        "{{ 'a' * 10 ** 9 }}",
        "{{ name * 1000000000 }}",
        "{{ 10 ** 10 ** 9 }}",
        "{{ 1 + 1 }}",
        "{{ 'a' ~ name }}",
        "{{ [name, name] }}",
        "{{ {'a': name} }}",
        "{{ (name, name) }}",
        "{{ name|center(1000000000) }}",
        "{{ name|indent(1000000000) }}",
        "{{ name|replace('', name) }}",
        "{{ name|list }}",
        "{{ name|map('upper') }}",
        "{{ name|join(name) }}",
        "{{ name|wordwrap(1) }}",
        "{{ name|urlize }}",
        "{{ name|safe }}",
        "{{ name|pprint }}",
        "{{ name|tojson }}",
        "{{ lipsum(n=1000000) }}",
        "{{ 0x" + "f" * 10_000 + " }}",
        # other templates, and their own names
        "{% include 'other' %}",
        "{% import 'other' as other %}",
        "{% from 'other' import x %}",
        "{% extends 'other' %}",
        "{% block a %}{% endblock %}",
        "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
        "{% call name() %}{% endcall %}",
        "{% set a = 1 %}",
        "{% set a %}x{% endset %}",
        "{% with a = 1 %}{% endwith %}",
        "{% filter upper %}x{% endfilter %}",
        "{% autoescape false %}{{ name }}{% endautoescape %}",
        # no template at all
        "{{ name",
        "{% if name %}",
        "{% endif %}",
        "{% nonsense %}",
        "{{ name|nonsense }}",
        "{% if name is nonsense %}{% endif %}",
        "{{ name|upper(1) }}",
        "{{ name|round }}",
        "{% if name < 1 %}{% endif %}",
    ],
)
def test_whatever_else_a_template_tries_is_refused(body: str) -> None:
    for channel in CHANNELS.values():
        with pytest.raises(TemplateRefusedError, match="'goal_due'"):
            written(body, channel, name="taro")
    with pytest.raises(TemplateRefusedError, match="'goal_due'"):
        written("本文", subject=body, name="taro")
    with pytest.raises(TemplateRefusedError, match="'goal_due'"):
        written(body, is_html=True, name="taro")


def test_forbidden_code_in_a_branch_not_taken_is_refused() -> None:
    with pytest.raises(TemplateRefusedError, match="For"):
        written("{% if false %}{% for a in b %}{% endfor %}{% endif %}")


def test_a_template_may_be_long_but_not_longer() -> None:
    assert len(written("x" * MAX_TEMPLATE).text) == MAX_TEMPLATE
    with pytest.raises(TemplateRefusedError, match="20,000 文字"):
        written("x" * (MAX_TEMPLATE + 1))
    with pytest.raises(TemplateRefusedError, match="20,000 文字"):
        written("本文", subject="x" * (MAX_TEMPLATE + 1))


@pytest.mark.parametrize("channel", CHANNELS.values())
def test_its_output_may_be_long_but_not_longer(channel: Channel) -> None:
    assert "x" * MAX_OUTPUT in written("{{ name }}", channel, name="x" * MAX_OUTPUT).text
    with pytest.raises(TemplateRefusedError, match="40,000 文字"):
        written("{{ name }}", channel, name="x" * (MAX_OUTPUT + 1))


@pytest.mark.parametrize("body", ["{{ name }}", "{{ name }}" * 40, "{{ name|truncate(1000000) }}"])
@pytest.mark.parametrize("in_subject", [True, False])
def test_a_megabyte_is_refused(body: str, in_subject: bool) -> None:
    subject, text = (body, "本文") if in_subject else ("件名", body)

    with pytest.raises(TemplateRefusedError, match="40,000 文字"):
        written(text, subject=subject, name="あ" * 1_000_000)


def test_text_that_is_too_long_only_by_escaping_is_refused() -> None:
    with pytest.raises(TemplateRefusedError, match="40,000 文字"):
        written("{{ name }}", SLACK, name="&" * 20_000)


def test_a_number_with_too_many_digits_is_refused() -> None:
    with pytest.raises(TemplateRefusedError, match="計算できません"):
        written("{{ number }}", number=10**5_000)


# The escaped values, channel by channel ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("<!channel>", "&lt;!channel&gt;"),
        ("<@U0123>", "&lt;@U0123&gt;"),
        ("<http://evil.example|銀行>", "&lt;http://evil.example|銀行&gt;"),
        ("R&D", "R&amp;D"),
        ("&lt;!here&gt;", "&amp;lt;!here&amp;gt;"),
    ],
)
def test_a_value_creates_no_mention_and_no_link_in_slack(value: str, expected: str) -> None:
    plain = written("担当: {{ name }}", SLACK, name=value)
    assert (sections(plain), plain.text) == (f"担当: {value}", f"件名\n担当: {expected}")
    marked_up = written("担当: {{ name }}", SLACK, is_markdown=True, name=value)
    assert sections(marked_up, "mrkdwn") == f"担当: {expected}"


@pytest.mark.parametrize("value", ['<m userId="all">', '< m userId="taro@example.jp">', "</m>", "<M>"])
def test_a_value_creates_no_mention_in_line_works(value: str) -> None:
    shown = value.replace("<", "＜")
    for is_markdown in (False, True):
        rendered = written("担当: {{ name }}", LINE_WORKS, is_markdown=is_markdown, name=value)
        assert rendered.text == f"件名\n\n担当: {shown}"
    assert literal(LINE_WORKS, value, f"本文 {value}").text == f"{shown}\n\n本文 {shown}"
    for beginning in ("<", "</ ", "< "):
        parted = written("{{ last }}{{ first }}", LINE_WORKS, last=beginning, first=value[1:])
        assert parted.text == f"件名\n\n{beginning.replace('<', '＜')}{value[1:]}"
    own = written('<m userId="all"> {{ name }} <memo>', LINE_WORKS, name=f"{value} <memo> 1 < 2")
    assert own.text == f'件名\n\n<m userId="all"> {shown} <memo> 1 < 2 <memo>'


def test_only_a_markdown_template_has_markup_of_its_own_in_slack() -> None:
    body = "<!here> *{{ name }}* <https://example.jp|開く>"
    plain = written(body, SLACK, name="<b>")
    assert sections(plain) == "<!here> *<b>* <https://example.jp|開く>"
    assert plain.text == "件名\n&lt;!here&gt; *&lt;b&gt;* &lt;https://example.jp|開く&gt;"
    marked_up = written(body, SLACK, is_markdown=True, name="<b>")
    assert sections(marked_up, "mrkdwn") == "<!here> *&lt;b&gt;* <https://example.jp|開く>"


@pytest.mark.parametrize("value", ["*太字*", "_斜体_", "~取消~", "`code`", "```code```", "> 引用", "a *b* c"])
def test_no_value_is_formatted_in_a_markdown_template(value: str) -> None:
    shown = sections(written("{{ v }}", SLACK, is_markdown=True, v=value), "mrkdwn")
    assert not set("*_~`>") & set(html.unescape(shown))


def test_a_name_with_an_underscore_stays_as_it_is() -> None:
    rendered = written("{{ v }}", SLACK, is_markdown=True, v="taro_yamada@example.jp")
    assert sections(rendered, "mrkdwn") == "taro_yamada@example.jp"


@pytest.mark.parametrize("filtered", ["lower", "upper", "title", "trim", "default('x')", "truncate(300)"])
def test_no_filter_gets_a_value_past_the_escaping(filtered: str) -> None:
    body, value = "{{ name|" + filtered + " }}", "<!CHANNEL> <b>"

    assert "<" not in sections(written(body, SLACK, is_markdown=True, name=value), "mrkdwn")
    assert "<" not in str(written(body, is_html=True, name=value).rich)


def test_a_long_text_is_split_into_sections_that_slack_takes() -> None:
    text = "".join(f"{number:05}" for number in range(2_200))
    rendered = written("{{ name }}", SLACK, name=text)

    assert isinstance(rendered.rich, list)
    assert sections(rendered) == text
    assert all(len(block["text"]["text"]) <= 3_000 for block in rendered.rich)
    assert len(rendered.rich) <= 50


def test_a_text_beyond_slack_s_blocks_is_sent_as_text() -> None:
    text = "あ" * 12_000
    rendered = written("{{ name }}", SLACK, name=text)

    assert rendered.rich is None
    assert rendered.text.endswith(text)


def test_a_value_is_taken_literally_by_an_adaptive_card() -> None:
    rendered = written("**{{ name }}**", TEAMS, subject="{{ name }}", name="[銀行](http://evil.example) *_`#")

    subject, body = card_texts(rendered)
    assert body == r"**\[銀行\]\(http://evil.example\) \*\_\`\#**"
    assert subject == r"\[銀行\]\(http://evil.example\) \*\_\`\#"
    assert rendered.text == "**[銀行](http://evil.example) *_`#**"


def test_a_value_is_escaped_in_html_and_plain_in_text() -> None:
    rendered = written('<p title="{{ name }}">{{ name }}</p>', is_html=True, name='"><script>x</script>&')

    escaped = "&quot;&gt;&lt;script&gt;x&lt;/script&gt;&amp;"
    assert rendered.rich == f'<p title="{escaped}">{escaped}</p>'
    assert rendered.text == '"><script>x</script>&'


@pytest.mark.parametrize("channel", [SLACK, TEAMS, LINE_WORKS])
def test_an_html_template_is_text_elsewhere_than_by_mail(channel: Channel) -> None:
    page = "<p>{{ name }} 様</p><p>期限は<b>明日</b>です。</p>"

    rendered = written(page, channel, is_html=True, name="<R&D>")

    assert rendered == literal(channel, "件名", "<R&D> 様\n期限は明日です。")


def test_the_text_of_a_page_is_limited_as_escaped() -> None:
    with pytest.raises(TemplateRefusedError, match=f"{MAX_OUTPUT:,}"):
        written("&" * MAX_TEMPLATE, SLACK, is_html=True)
    assert written("&" * MAX_TEMPLATE, LINE_WORKS, is_html=True).text == "&" * MAX_TEMPLATE


def test_a_plain_letter_is_not_escaped_and_its_html_form_is() -> None:
    rendered = written("<{{ name }}>\n二行目", subject="{{ name }}", name="R&D <本部>")

    assert rendered.text == "<R&D <本部>>\n二行目"
    assert rendered.subject == "R&D <本部>"
    assert "&lt;R&amp;D &lt;本部&gt;&gt;<br>\n二行目" in str(rendered.rich)
    assert "<h3>R&amp;D &lt;本部&gt;</h3>" in str(rendered.rich)


def test_line_works_has_plain_text_only() -> None:
    rendered = written("{{ name }} *です*", LINE_WORKS, name="<R&D>")

    assert (rendered.text, rendered.rich) == ("件名\n\n<R&D> *です*", None)


def test_the_subject_is_dropped_when_line_works_text_is_too_long() -> None:
    assert literal(LINE_WORKS, "件名", "長" * 1_996).text == "件名\n\n" + "長" * 1_996
    assert literal(LINE_WORKS, "件名", "長" * 1_997).text == "長" * 1_997


def test_plain_text_is_made_from_html_line_by_line() -> None:
    page = """
        <h1>お知らせ</h1>
        <p>山田 様</p><p>期限は<b>明日</b>です。<br>R&amp;D 本部 &lt;必須&gt;</p>
        <ul><li>一</li><li>二</li></ul><!-- 見えない --><table><tr><td>A</td><td>B</td></tr></table>
    """

    assert written(page, is_html=True).text.split("\n") == [
        "お知らせ",
        "山田 様",
        "期限は明日です。",
        "R&D 本部 <必須>",
        "一",
        "二",
        "AB",
    ]


@pytest.mark.parametrize("is_html", [True, False])
def test_a_value_adds_no_header_and_no_control_character_to_the_letter(
    services: StandIns, tenant: Tenant, is_html: bool
) -> None:
    rendered = written(
        "本文 {{ name }}",
        subject="件名 {{ name }}",
        is_html=is_html,
        name="山田\r\nBcc: victim@example.jp\r\n\r\nX\x00\x1b[0m\x7f\u2028Cc: b@example.jp",
    )
    sent = message(EMAIL, subject=rendered.subject, text=rendered.text, rich=rendered.rich)

    assert tenant.send(tenant.email, sent).outcome is Outcome.SENT

    (arrived,) = services.messages
    assert arrived.destination == "taro.yamada@example.co.jp"
    assert not {"bcc", "cc"} & {name.lower() for name in arrived.headers}
    assert arrived.subject.startswith("件名 山田 Bcc: victim@example.jp X")
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", arrived.subject)


# Whatever the value ----------------------------------------------------------------------------------------------------------


@given(value=HOSTILE)
def test_no_value_is_a_control_in_slack(value: str) -> None:
    rendered = written("{{ v }}", SLACK, v=value)
    marked_up = sections(written("{{ v }}", SLACK, is_markdown=True, v=value), "mrkdwn")

    assert sections(rendered) == value
    for text in (marked_up, rendered.text.removeprefix("件名\n")):
        assert not {"<", ">"} & set(text)
        assert "&" not in re.sub("&(amp|lt|gt);", "", text)
    assert html.unescape(rendered.text) == f"件名\n{value}"


@given(value=HOSTILE)
def test_no_value_is_markdown_in_a_card(value: str) -> None:
    subject, body = card_texts(written("{{ v }}", TEAMS, subject="{{ v }}", v=value))

    for text in (subject, body):
        assert not set(re.sub(r"\\.", "", text)) & set("\\`*_[]()#+-!|~<>")
    assert re.sub(r"\\(.)", r"\1", body) == value


@given(first=HOSTILE, last=HOSTILE)
def test_no_two_values_are_a_mention_in_line_works(first: str, last: str) -> None:
    body = first + last
    for rendered in (
        written("{{ first }}{{ last }}", LINE_WORKS, subject="", first=first, last=last),
        literal(LINE_WORKS, "", body),
    ):
        assert not re.search(r"<\s*/?\s*m\b", rendered.text, re.IGNORECASE)
        # Nothing is lost: a character that could begin a mention is shown in its wide form.
        assert rendered.text.replace("＜", "<") == body.replace("＜", "<")


@given(value=HOSTILE)
def test_no_value_is_a_tag_in_a_letter(value: str) -> None:
    rendered = written("{{ v }}", is_html=True, v=value)
    plain = written("{{ v }}", v=value)

    assert not {"<", ">", '"', "'"} & set(str(rendered.rich))
    assert html.unescape(str(rendered.rich)) == value
    assert rendered.text == "\n".join(line.strip() for line in value.splitlines() if line.strip())
    assert plain.text == value
    body = str(plain.rich).partition("<h3>件名</h3><p>")[2].removesuffix("</p></body></html>")
    assert "<" not in body.replace("<br>\n", "")


@given(body=HOSTILE)
def test_a_text_that_is_no_template_is_shown_as_it_is(body: str) -> None:
    post, letter = literal(SLACK, body, body), literal(EMAIL, body, body)
    subject, card = card_texts(literal(TEAMS, body, body))

    title = " ".join(body.split())
    shown = f"{title}\n{body}" if title else body
    assert sections(post) == body
    assert not {"<", ">"} & set(post.text)
    assert html.unescape(post.text) == shown
    assert re.sub(r"\\(.)", r"\1", card) == body
    assert not set(re.sub(r"\\.", "", subject + card)) & set("`*_[]()#+-!|~<>")
    assert letter.text == body
    assert "<script" not in str(letter.rich)
    assert len(letter.subject.splitlines()) <= 1


def test_an_applications_html_is_sent_unchanged_by_mail_and_as_text_elsewhere() -> None:
    page = "<p>R&amp;D 様</p><p>&lt;必須&gt;<br>明日まで</p>"
    text = "R&D 様\n<必須>\n明日まで"

    assert literal(EMAIL, "件名", page, is_html=True) == Rendered("件名", text, page)
    assert literal(LINE_WORKS, "件名", page, is_html=True) == Rendered("件名", f"件名\n\n{text}")
    post = literal(SLACK, "件名", page, is_html=True)
    assert (sections(post), post.text) == (text, "件名\nR&amp;D 様\n&lt;必須&gt;\n明日まで")
    assert card_texts(literal(TEAMS, "件名", page, is_html=True)) == [
        "件名",
        r"R&D 様" + "\n" + r"\<必須\>" + "\n明日まで",
    ]


@given(value=HOSTILE, channel=st.sampled_from(list(CHANNELS.values())))
def test_a_subject_is_always_one_line(value: str, channel: Channel) -> None:
    rendered = written("本文", channel, subject="件名 {{ v }} 終", v=value)

    assert len(rendered.subject.splitlines()) == 1
    assert rendered.subject.startswith("件名 ")


@given(
    body=st.lists(
        st.sampled_from(
            ["{{", "}}", "{%", "%}", " ", "name", "|", "upper", "if", "endif", "else", "'a'", "1", "(", ")"]
        ),
        max_size=12,
    ).map("".join),
    values=st.dictionaries(st.just("name"), st.one_of(st.text(max_size=5), st.integers(), st.none())),
)
def test_a_scramble_is_rendered_or_refused_and_nothing_else(body: str, values: dict[str, Any]) -> None:
    with suppress(TemplateRefusedError):
        assert len(written(body, SLACK, **values).text) <= MAX_OUTPUT


@pytest.mark.parametrize("language", ["ja", "en"])
@pytest.mark.parametrize(
    "key", ["monthly_report", "notification_settings_broken", "notification_channels_gone", "usage_warning"]
)
def test_no_notice_points_to_a_page_that_the_application_does_not_have(key: str, language: str) -> None:
    template = default_template(key, language)

    for page in ("管理画面", "ダウンロード", "administration pages", "ご利用料金"):
        assert page not in template.subject + template.body
