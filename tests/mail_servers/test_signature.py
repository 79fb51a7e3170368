"""A real OpenDKIM signs our letters, and the signature is valid where they arrive. ``make test-mail`` runs it."""

from __future__ import annotations

import subprocess
from base64 import b64encode
from pathlib import Path

import psycopg
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from include.skillreport.core.catalog import SCHEDULED_NOTIFICATIONS
from local_stack.ports import free_port
from tests.conftest import Database
from tests.mail_servers.dovecot import dovecot
from tests.mail_servers.postfix import postfix
from tests.mail_servers.programs import program, running
from tests.mail_servers.scene import DOMAIN, RELAYS, installation, letters, made, run
from tests.waiting import wait_until
from tests.worlds.encrypted_servers import make_certificate

pytestmark = pytest.mark.long


def make_keys(folder: Path) -> tuple[Path, Path]:
    """The private key of the signer, and a table with the record that the DNS would have."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    private, records = folder / "dkim.pem", folder / "records"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    private.chmod(0o600)
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    record = f"v=DKIM1; k=rsa; p={b64encode(public).decode()}"
    records.write_text(f"mail._domainkey.{DOMAIN} {record}\n", encoding="utf-8")
    return private, records


def configuration(folder: Path, name: str, **settings: object) -> Path:
    """A configuration of OpenDKIM."""
    file = folder / name
    lines = [f"{key} {value}\n" for key, value in settings.items()]
    file.write_text("".join(lines), encoding="utf-8")
    return file


def test_a_letter_arrives_with_a_valid_signature(
    database: Database, host: psycopg.Connection, folder: Path
) -> None:
    private, records = make_keys(folder)
    port = free_port()
    usual = {"Canonicalization": "relaxed/relaxed", "RequireSafeKeys": "no"}
    signing = configuration(
        folder, "sign.conf", **usual, Mode="s", Domain=DOMAIN, Selector="mail", KeyFile=private,
        Socket=f"inet:{port}@127.0.0.1", InternalHosts="127.0.0.1", Background="no",
    )  # fmt: skip
    verifying = configuration(folder, "verify.conf", **usual, Mode="v", TestPublicKeys=records)
    letters(host, {"A": [f"taro@{DOMAIN}"]})
    of_postfix, of_dovecot = made(folder, "postfix", "dovecot")
    with (
        running([program("opendkim"), "-f", "-x", str(signing)], port, folder / "opendkim.log"),
        dovecot(of_dovecot, make_certificate(folder), {"taro": "", "bounce": ""}) as mailboxes,
        postfix(
            of_postfix,
            **RELAYS,
            virtual_mailbox_domains=DOMAIN,
            virtual_mailbox_maps="static:ok",
            virtual_transport=mailboxes.lmtp,
            smtpd_milters=f"inet:127.0.0.1:{port}",
            milter_default_action="tempfail",
        ) as server,
    ):
        run(database, installation(server), SCHEDULED_NOTIFICATIONS)
        wait_until(lambda: len(mailboxes.mails("taro")) == 1, "the letter arrives")
        [letter] = mailboxes.mails("taro")

    assert b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.test" in letter
    file = folder / "letter.eml"
    file.write_bytes(letter)
    verified = subprocess.run(
        [program("opendkim"), "-x", str(verifying), "-t", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "verification (s=mail, d=example.test" in verified.stderr + verified.stdout
    assert "succeeded" in verified.stderr + verified.stdout
    file.write_bytes(letter.replace(b"\r\n\r\n", b"\r\n\r\nforged ", 1))
    forged = subprocess.run(
        [program("opendkim"), "-x", str(verifying), "-t", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "succeeded" not in forged.stderr + forged.stdout
