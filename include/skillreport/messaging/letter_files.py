"""Reads attachments from the object store, one at a time for each e-mail that is being sent."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace

from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.messaging.message import Message
from include.skillreport.messaging.outcome import SendResult, failed

# Seconds to read one file. Together with ``sender.SEND_LIMIT`` it must be well below the outbox's lease.
READ_LIMIT = 60


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
            content = await asyncio.to_thread(store.read, file.object_key)
    except FileNotFoundError:
        return failed(message.channel, "file_missing", file.object_key)
    except Exception as error:
        # Each kind of store has its own errors. All of them concern this file or the store.
        return failed(message.channel, "store_unreadable", f"{file.object_key}: {type(error).__name__}")
    if hashlib.sha256(content).hexdigest() != file.sha256:
        return failed(message.channel, "file_altered", file.object_key)
    return replace(message, file=replace(file, content=content))
