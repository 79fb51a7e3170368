"""Reads attachments from the object store, one at a time for each e-mail that is being sent."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.proof import Fault, Recorded, UnprovedError, read_proved
from include.skillreport.messaging.message import Message
from include.skillreport.messaging.outcome import SendResult, failed

# Seconds to read one file. Together with ``sender.SEND_LIMIT`` it must be well below the outbox's lease.
READ_LIMIT = 60

# No mail server accepts more.
_MOST_BYTES = 100 << 20

_CODES = {
    Fault.MISSING: "file_missing",
    Fault.NO_FILE: "store_unreadable",
    Fault.DENIED: "store_unreadable",
}


async def with_content(message: Message, store: ObjectStore | None) -> Message | SendResult:
    """The message with the content of its file, or why it cannot be sent now. A file that is not attached is not read.

    The content is checked against its recorded SHA-256, so that an e-mail never contains a wrong file.
    """
    file = message.file
    if file is None or not file.is_attached:
        return message
    if store is None:
        return failed(
            message.channel, "store_unreadable", "Airflow の Variable 'skill_batch_storage_url' がありません"
        )
    try:
        async with asyncio.timeout(READ_LIMIT):
            proof = Recorded(file.sha256)
            content = await asyncio.to_thread(read_proved, store, file.object_key, proof, _MOST_BYTES)
    except UnprovedError as error:
        code = _CODES.get(error.fault, "file_altered")
        return failed(message.channel, code, file.object_key)
    except Exception as error:
        # Each kind of store has its own errors. All of them concern this file or the store.
        return failed(message.channel, "store_unreadable", f"{file.object_key}: {type(error).__name__}")
    return replace(message, file=replace(file, content=content))
