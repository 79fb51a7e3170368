"""docs/notification-errors.md is the error table in words."""

from __future__ import annotations

import os

from include.skillreport.messaging.outcome import Channel, ErrorCode, error_table
from tests.airflow_installation import PROJECT

PAGE = PROJECT / "docs" / "notification-errors.md"

HEAD = """\
# What the services' answers mean

For operators and developers: what the batches do after each answer of a mail server, Slack, Teams and LINE WORKS. Look up the error code of
a message on the board or in `operate_notifications`.

The page is made from `include/skillreport/messaging/error_codes.yaml`, which the clients and the stand-ins read too. A test compares them
(`UPDATE_SNAPSHOTS=1` renews the page).

| outcome | what happens |
|---|---|
| transient | BATCH-019-02 tries again |
| permanent | the message is dead and reported. With class *credential* or *configuration*, the channel closes and its messages wait |
| ambiguous | the message is parked until an operator decides. E-mail is tried again under the same Message-ID |

| class | meaning |
|---|---|
| *rate_limit* | the limit of a service. It slows down everything that shares the limit ([delivery.md](delivery.md)) |
| *recipient_limit* | the limit of a recipient, such as a greylist |
| *access* | the mail server refuses the installation. It is closed for all tenants, and probed ([delivery.md](delivery.md)) |
| *file* | the file of a letter cannot be read from the object store |
| *address* | the recipient's address is suppressed for a time ([mail.md](mail.md)) |

*rate_limit*, *recipient_limit*, *access* and *file* count as no attempt. Such a message is tried until it is older than
`give_up_hours`, and then expires; a contract letter never expires ([mail.md](mail.md)). `http_*`, `smtp_*` and `unknown` stand for
answers without a code of their own.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for channel in Channel:
        rows = "\n".join(map(_row, error_table(channel).values()))
        parts.append(f"## {channel}\n\n| code | outcome | class | 意味 |\n|---|---|---|---|\n{rows}\n")
    return "\n".join(parts)


def _row(code: ErrorCode) -> str:
    return f"| `{code.code}` | {code.outcome} | {code.error_class} | {code.meaning} |"


def test_the_page_says_what_the_table_says() -> None:
    if os.environ.get("UPDATE_SNAPSHOTS"):
        PAGE.write_text(page(), encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page()


def test_no_meaning_ends_at_a_comma_of_the_yaml() -> None:
    # In a YAML mapping in braces, a text without quotes ends at the first comma.
    meanings = [code.meaning for channel in Channel for code in error_table(channel).values()]
    assert [text for text in meanings if text.count("（") != text.count("）")] == []
