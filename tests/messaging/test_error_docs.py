"""docs/notification-errors.md is the error table in words."""

from __future__ import annotations

import os

from include.messaging.outcome import Channel, ErrorCode, error_table
from tests.airflow_installation import PROJECT

PAGE = PROJECT / "docs" / "notification-errors.md"

HEAD = """\
# What the services' answers mean

Made from `include/messaging/error_codes.yaml`, which also drives the clients and the stand-ins; a test keeps this page the same
(`UPDATE_SNAPSHOTS=1` renews it).

| outcome | what happens |
|---|---|
| transient | tried again by BATCH-019-02 |
| permanent | dead and reported; with class *credential* or *configuration* the tenant's channel closes, and its messages wait |
| ambiguous | parked until an operator decides; e-mail is tried again under the same Message-ID |

*rate_limit* (the service's), *recipient_limit* (one recipient's, such as a greylist) and *file* (the file of a letter cannot be
read from the object store) are not counted as an attempt: such a message is tried until it is older than `give_up_hours`, and
then expires. *rate_limit* slows down everything that shares the limit, see [delivery.md](delivery.md). *address* suppresses the
recipient's address for a time, see [mail.md](mail.md). `http_*`, `smtp_*` and `unknown` stand for answers without a code of their
own.
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
