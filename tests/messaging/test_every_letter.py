"""Each letter says who writes, to whom, what, until when, what to do and whom to ask, in one language and in plain words."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as default_policy

import pytest

from include.skillreport.batches.scheduled_notifications import reminders
from include.skillreport.core.network import EmailConfig
from include.skillreport.messaging import notices
from include.skillreport.messaging.channels.channel import Rendered
from include.skillreport.messaging.channels.email.letter import letter_of
from include.skillreport.messaging.contract_letters import (
    BILLING_LETTERS,
    CONTRACT_LETTERS,
    CREDIT_NOTE,
    GENERAL,
    INVOICE,
    PAYMENT_REMINDER,
)
from include.skillreport.messaging.message import Message
from include.skillreport.messaging.reminder_names import KEYS, sample_of
from include.skillreport.messaging.template_store import default_template
from include.skillreport.messaging.templates import Template, render
from tests.messaging.every_letter import PERSON, TENANT, Language, arrived_text, every_letter
from tests.worlds.sample_invoices import ENGLISH_ISSUER, ISSUER

CONFIG = EmailConfig(
    "mail.example.jp",
    587,
    "no-reply@例え.jp",
    unsubscribe_address="unsubscribe+{token}@cloud-service.example",
)

LETTERS = [
    pytest.param(language, each.name, each.message, id=f"{language} {each.name}")
    for language in ("ja", "en")
    for each in every_letter(language)
]
each_letter = pytest.mark.parametrize(("language", "name", "message"), LETTERS)

# What each letter is about, until when (or of when), and what to do.
FACTS: dict[str, dict[str, tuple[str, ...]]] = {
    "資格の期限の通知": {
        "ja": ("基本情報技術者", "2026年12月27日", "更新の手続きをお願いします"),
        "en": ("Fundamental IT Engineer", "27 December 2026", "Please renew it"),
    },
    "目標の期限の通知": {
        "ja": ("英語で会議を進める", "2026年12月5日", "進捗を更新してください"),
        "en": ("Lead a meeting in English", "5 December 2026", "Please update its progress"),
    },
    "複数の期限をまとめた通知": {
        "ja": ("（ほか 1 件）", "2026年12月5日", "進捗を更新してください"),
        "en": ("(and 1 more)", "5 December 2026", "Please update its progress"),
    },
    "アプリケーションの通知": {
        "ja": ("承認されました", "内容をご確認ください"),
        "en": ("was approved", "Please check it"),
    },
    "利用量の通知（ストレージ）": {
        "ja": ("ストレージ使用量", "2026年11月", "85.0 GB（ご契約: 100.0 GB", "データの整理やプランの変更"),
        "en": ("80 % of your storage", "November 2026", "85.0 GB (contract: 100.0 GB", "change your plan"),
    },
    "利用量の通知（API）": {
        "ja": ("API 呼び出し回数", "2026年11月", "81,234（ご契約: 100,000", "プランの変更"),
        "en": ("80 % of your API calls", "November 2026", "81,234 (contract: 100,000", "change your plan"),
    },
    "利用がないときの通知（警告）": {
        "ja": ("60 日間", "2026年11月28日", "最後のご利用: 2026年9月29日", "どなたかがログインしてください"),
        "en": ("60 days", "28 November 2026", "Last activity: 29 September 2026", "one of you logs in"),
    },
    "利用がないときの通知（重大）": {
        "ja": ("90 日間", "2026年11月28日", "2026年8月30日から", "どなたかがログインしてください"),
        "en": ("90 days", "28 November 2026", "since 30 August 2026", "one of you logs in"),
    },
    "通知の設定の問題": {
        "ja": (
            "問題が 5 件",
            "「通知しない時間帯」",
            "22:00-07:00 のように書くか、空にしてください",
            "直すまで",
            "接続先 Slack: トークンが正しくありません。認証情報か権限を直してください",
            "テンプレート「目標の期限の通知」（メール、日本語）",
            "通知設定「目標の期限の通知」",
        ),
        "en": ("5 problems", "“quiet hours”", "write them like 22:00-07:00", "Until it is corrected"),
    },
    "通知先のチャンネルがなくなったとき": {
        "ja": ("Slack のチャンネル", "「目標の期限の通知」", "team-a、team-b", "新しい宛先を"),
        "en": ("Slack channels", "“goal reminder”", "team-a, team-b", "tell us another destination"),
    },
    "月次レポート": {
        "ja": ("2026年10月のレポート", "登録ユーザー数: 42（増減 +2）", "ファイルは当社で保管しています"),
        "en": ("monthly report of October 2026", "Registered users: 42 (change +2)", "We keep the files"),
    },
    "停止したチャネルの通知を管理者に送るメール": {
        "ja": ("Slack へ送信できなかった通知 1 件", "Slack の設定をご確認ください", "承認されました"),
        "en": ("could not be sent to Slack", "check the settings of Slack", "was approved"),
    },
    "請求書": {
        "ja": ("2026年10月分", "145,700 円", "お支払期限: 2026年11月30日", "ご請求書をお送りいたします"),
        "en": ("October 2026", "1,197.45 EUR", "Due date: 30 November 2026", "(PDF) is attached"),
    },
    "請求書（書類が大きいとき）": {
        "ja": ("145,700 円", "2026年11月30日", "次のページで受け取れます"),
        "en": ("1,197.45 EUR", "30 November 2026", "is available here"),
    },
    "請求書（書類は問い合わせを受けて送る）": {
        "ja": ("145,700 円", "2026年11月30日", "書類（PDF）が必要な場合は、下記までお問い合わせください"),
        "en": ("1,197.45 EUR", "30 November 2026", "contact us if you need the document"),
    },
    "請求書（取り消した請求書に代わるもの、書類はリンク）": {
        "ja": ("2026年11月30日", "INV-2026-000100", "今後はこの請求書をご利用ください"),
        "en": ("30 November 2026", "INV-2026-000100", "use this one from now on"),
    },
    "訂正した請求書": {
        "ja": ("宛名を訂正", "2026年11月10日", "今後はこの請求書をご利用ください"),
        "en": ("Name corrected", "10 November 2026", "use this one from now on"),
    },
    "訂正した請求書（残額のあるもの）": {
        "ja": ("宛名を訂正", "2026年11月10日の時点", "差し引いた残額は 55,000 円（税込）です"),
        "en": ("Name corrected", "On 10 November 2026", "597.45 EUR (incl. tax) was left to pay"),
    },
    "返還（一部）": {
        "ja": (
            "1,100 円",
            "二重に請求したため",
            "返還後の残額 144,600 円（税込）をお支払いください（お支払期限: 2026年11月30日）",
        ),
        "en": (
            "100.00 EUR",
            "Charged twice",
            "please pay the remaining 1,097.45 EUR (incl. tax) by its due date, 30 November 2026",
        ),
    },
    "返還（全額）": {
        "ja": (
            "145,700 円",
            "二重に請求したため",
            "INV-2026-10-001 のお支払いは不要です。お支払いがお済みの場合は、返還の方法を下記からご連絡します",
        ),
        "en": (
            "1,197.45 EUR",
            "Charged twice",
            "No payment is due for invoice INV-2026-10-001. If you have already paid it, we will contact you",
        ),
    },
    "返還（請求書を送る前の全額）": {
        "ja": ("145,700 円", "お送りしていません。お支払いは不要です"),
        "en": ("1,197.45 EUR", "was not sent to you", "No payment is due"),
    },
    "請求書の取消": {
        "ja": ("INV-2026-10-001", "二重に請求したため", "お支払いは不要です", "誠に申し訳ございません"),
        "en": ("INV-2026-10-001", "Charged twice", "No payment is due"),
    },
    "督促": {
        "ja": (
            "55,000 円",
            "お支払期限: 2026年11月30日",
            "お支払いくださいますよう",
            "添付の請求書のとおりです",
        ),
        "en": ("597.45 EUR", "Due date: 30 November 2026", "arrange the payment", "on the attached invoice"),
    },
    "再度の督促": {
        "ja": ("55,000 円", "2026年11月30日", "至急お支払いくださいますよう", "何卒ご容赦ください"),
        "en": ("597.45 EUR", "30 November 2026", "Please pay it now", "on the attached invoice"),
    },
    "送付先の変更": {
        "ja": ("送付先が変わりました", "今後お送りいたしません", "お心当たりがない場合は"),
        "en": ("The address for invoices has changed", "send no more", "please contact us"),
    },
}

_JAPANESE = re.compile("[\u3000-\u30ff\u3400-\u9fff\uff00-\uffef]")
_ENGLISH_SENTENCE = re.compile(r"(?:\b[A-Za-z']+[ ,]+){4,}")
# Names of tables, columns and keys, errors of Python, other forms of dates and of money.
_TECHNICAL = re.compile(
    r"(?:MST|SYS|HIS|TRN)_|batch\.|Error\b|None\b|\b\d{4}[-/]\d\d?[-/]\d\d?\b|[¥￥]|_config|sample_data|notification_type"
)

_SNAKE_CASE = re.compile(r"\b[a-z]+(?:_[a-z]+)+\b")
# A service's own word, for its support.
_QUOTED_ANSWERS = {"invalid_auth"}


def text_of(message: Message) -> str:
    """Subject and text as they arrive."""
    return "\n".join(arrived_text(letter_of(message, CONFIG)))


def typed(variables: Mapping[str, object]) -> set[tuple[str, type]]:
    """The variables' names and types."""
    return {(name, type(value)) for name, value in variables.items()}


def test_the_letters_are_of_all_kinds() -> None:
    names = [each.name for each in every_letter("ja")]
    assert names == list(FACTS)
    kinds = {each.message.kind for each in every_letter("ja")}
    assert kinds == CONTRACT_LETTERS | KEYS.keys() | {GENERAL, "monthly_report"}
    for kind in kinds - BILLING_LETTERS - {GENERAL}:
        assert {default_template(kind, language).key for language in ("ja", "en")} == {kind}


@pytest.mark.parametrize("language", ["ja", "en"])
def test_a_template_is_checked_with_the_variables_that_its_letter_has(
    language: Language, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: dict[str, set[tuple[str, type]]] = {}

    def recorded(template: Template, variables: Mapping[str, object]) -> Rendered:
        written[template.key] = typed(variables)
        return render(template, variables)

    monkeypatch.setattr(notices, "render", recorded)
    monkeypatch.setattr(reminders, "render", recorded)
    every_letter(language)

    assert written == {key: typed(sample_of(key, {"more": "x"})) for key in written}
    assert written.keys() == CONTRACT_LETTERS - BILLING_LETTERS | KEYS.keys() | {"monthly_report"}


@each_letter
def test_a_letter_says_who_writes_to_whom_and_whom_to_ask(
    language: Language, name: str, message: Message
) -> None:
    text = text_of(message)
    if message.kind in BILLING_LETTERS:
        issuer = ISSUER if language == "ja" else ENGLISH_ISSUER
        recipient = {"ja": TENANT["ja"] + " 御中", "en": "Dear Grünwald & Söhne GmbH,"}[language]
        # After the line about the PDF.
        ask = {"ja": "お問い合わせ", "en": "Questions"}[language]
        assert text.rstrip().endswith(f"\n{ask}: {issuer.email} / {issuer.phone}")
        expected = (recipient, issuer.name, issuer.contact)
    else:
        service = {
            "ja": "スキル報告サービス（サンプルクラウドサービス株式会社）",
            "en": "Skill Report Service (Sample",
        }
        contact = {"ja": "お問い合わせ: support@", "en": "Questions: support@"}
        reader = {"ja": (PERSON["ja"] + " 様", "管理者様", "ご担当者様"), "en": ("Dear ",)}
        assert any(each in text for each in reader[language])
        expected = (service[language], TENANT[language], contact[language])
    for part in expected:
        assert part in text, name


@each_letter
def test_a_letter_to_a_customer_is_polite_and_has_no_bank_account(
    language: Language, name: str, message: Message
) -> None:
    text = text_of(message)
    assert "銀行" not in text, "a bank account in an e-mail trains customers for fraud"
    assert "Bank," not in text
    if language == "en" or message.kind in KEYS or name == "アプリケーションの通知":
        return
    writer = f"{ISSUER.name} {ISSUER.contact}" if message.kind in BILLING_LETTERS else "スキル報告サービス"
    assert f"\n平素よりお世話になっております。{writer}です。\n" in text.replace("\r", "")
    asks_payment = message.kind in (INVOICE, PAYMENT_REMINDER)
    assert ("振込先は" in text) == asks_payment
    is_attached = message.file is not None and message.file.content is not None
    assert ("振込先は添付の請求書のとおりです。" in text) == (asks_payment and is_attached)
    has_document = message.kind in (INVOICE, CREDIT_NOTE)
    assert ("ご査収のほどよろしくお願いいたします。" in text) == has_document


@each_letter
def test_a_letter_says_what_until_when_and_what_to_do(
    language: Language, name: str, message: Message
) -> None:
    text = text_of(message)
    assert [fact for fact in FACTS[name][language] if fact not in text] == []


@each_letter
def test_a_letter_has_one_language_and_no_technical_words(
    language: Language, name: str, message: Message
) -> None:
    text = text_of(message)
    wrong = _JAPANESE if language == "en" else _ENGLISH_SENTENCE
    assert wrong.findall(text) == [], name
    assert _TECHNICAL.findall(text) == []
    assert set(_SNAKE_CASE.findall(text)) <= _QUOTED_ANSWERS


@each_letter
def test_an_english_letter_has_whole_sentences(language: Language, name: str, message: Message) -> None:
    text = "\n".join(text_of(message).splitlines())
    if language == "en":
        assert re.findall(r"Dear [^\n]*,\n\n[^A-Z][^\n]*", text) == [], name
        assert re.findall(r"\w+\(s\)", text) == []


@each_letter
def test_the_html_says_the_same_as_the_text(language: Language, name: str, message: Message) -> None:
    letter = message_from_bytes(letter_of(message, CONFIG).content, policy=default_policy)
    assert isinstance(letter, EmailMessage)
    page = letter.get_body(("html",))
    assert page is not None
    source = page.get_content()
    assert source.rstrip().endswith("</body></html>"), (language, name)
    shown = html.unescape(re.sub("<[^>]*>", "", source.replace("<hr>", "――――――――")))
    lines = arrived_text(letter_of(message, CONFIG))[1].splitlines()
    assert [line for line in lines if line.strip() not in shown] == []


@each_letter
def test_only_notifications_are_a_list(language: Language, name: str, message: Message) -> None:
    headers = message_from_bytes(letter_of(message, CONFIG).content, policy=default_policy)
    label = message.kind.replace("_", "-")
    is_list = message.kind not in CONTRACT_LETTERS
    # RFC 2919: the same for every letter of a kind, in the domain of the sender.
    assert headers["List-Id"] == (f"<{label}.notifications.xn--r8jz45g.jp>" if is_list else None), (
        language,
        name,
    )
    assert ("List-Unsubscribe" in headers) == is_list
