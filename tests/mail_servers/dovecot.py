"""A Dovecot of Debian's packages: IMAP, IMAP over TLS, LMTP for Postfix, logins for Postfix, sieve and quotas."""

from __future__ import annotations

import imaplib
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local_stack.ports import free_port
from tests.mail_servers.programs import program, running

PASSWORD = "very-secret"

# The account of the operating system that owns the mailboxes.
_OWNER = "mail"

# Dovecot 2.4. {…} are filled in.
_CONFIGURATION = """\
dovecot_config_version = 2.4.1
dovecot_storage_version = 2.4.1
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
default_internal_user = dovecot
default_login_user = dovenull
protocols {{
  imap = yes
  lmtp = yes
}}
listen = 127.0.0.1
first_valid_uid = 1
mail_uid = {owner}
mail_gid = {owner}
mail_driver = maildir
mail_path = ~/Maildir
mail_home = {folder}/mail/%{{user | username}}
auth_mechanisms = {mechanisms}
auth_username_format = %{{user | username | lower}}
# A wrong password is answered at once.
auth_failure_delay = 0
auth_allow_cleartext = yes
ssl = yes
ssl_server_cert_file = {certificate}
ssl_server_key_file = {certificate}
recipient_delimiter = +
mail_plugins {{
  quota = yes
}}
quota "User quota" {{
}}
# By default the last mail may exceed the quota by 10 MB.
quota_storage_grace = 0
# The claim of a token that names the user, and the folder with the keys of the issuer.
oauth2 {{
  introspection_mode = local
  username_attribute = sub
  oauth2_local_validation {{
    dict fs {{
      fs posix {{
        prefix = {folder}/keys/
      }}
    }}
  }}
}}
passdb passwd-file {{
  passwd_file_path = {folder}/users
}}
userdb passwd-file {{
  passwd_file_path = {folder}/users
}}
sieve_script personal {{
  path = ~/filter.sieve
}}
protocol lmtp {{
  mail_plugins {{
    quota = yes
    sieve = yes
  }}
}}
protocol imap {{
  mail_plugins {{
    quota = yes
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service lmtp {{
  unix_listener {folder}/lmtp {{
    mode = 0666
  }}
}}
service auth {{
  unix_listener {folder}/auth {{
    mode = 0666
  }}
}}
"""


@dataclass(frozen=True)
class Dovecot:
    """The running server. ``imap`` (STARTTLS) and ``imaps`` are ports; ``lmtp`` and ``auth`` are sockets for Postfix."""

    folder: Path
    imap: int
    imaps: int

    @property
    def lmtp(self) -> str:
        """The value of Postfix's ``virtual_transport``."""
        return f"lmtp:unix:{self.folder}/lmtp"

    @property
    def auth(self) -> str:
        """The value of Postfix's ``smtpd_sasl_path``."""
        return f"{self.folder}/auth"

    @property
    def log(self) -> str:
        """What the server has written into its log."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def home(self, user: str) -> Path:
        """The user's folder."""
        return self.folder / "mail" / user

    def filter(self, user: str, script: str) -> None:
        """The user's sieve script."""
        home = self.home(user)
        home.mkdir(parents=True, exist_ok=True)
        (home / "filter.sieve").write_text(script, encoding="utf-8")
        for path in (home, home / "filter.sieve"):
            shutil.chown(path, _OWNER, _OWNER)

    def create(self, user: str, folder: str) -> None:
        """A folder of a user, its name as IMAP encodes it."""
        with imaplib.IMAP4("127.0.0.1", self.imap, timeout=30) as connection:
            connection.login(user, PASSWORD)
            status, answer = connection.create(f'"{folder}"')
        assert status == "OK", answer

    def mails(self, user: str, folder: str = "INBOX") -> list[bytes]:
        """The mails in a folder of a user."""
        with imaplib.IMAP4("127.0.0.1", self.imap, timeout=30) as connection:
            connection.login(user, PASSWORD)
            status, _ = connection.select(folder, readonly=True)
            if status != "OK":
                return []
            _, found = connection.search(None, "ALL")
            fetched = [
                connection.fetch(number, "(BODY.PEEK[])")[1][0] for number in found[0].decode().split()
            ]
        return [part[1] for part in fetched if isinstance(part, tuple)]


@contextmanager
def dovecot(
    folder: Path,
    certificate: Path,
    users: Mapping[str, str],
    *,
    mechanisms: str = "plain login",
    issuer_key: str = "",
) -> Iterator[Dovecot]:
    """The server until the block ends. ``users`` are the logins, each with the size of its mailbox (``10k``) or an empty text.

    ``mechanisms`` are those of SASL; ``issuer_key`` is the public key (PEM) of tokens (JWT with RS256).
    """
    server = Dovecot(folder, free_port(), free_port())
    (folder / "mail").mkdir()
    keys = folder / "keys/default/RS256"
    keys.mkdir(parents=True)
    (keys / "default").write_text(issuer_key)
    shutil.chown(folder / "mail", _OWNER, _OWNER)
    rows = [
        f"{user}:{{PLAIN}}{PASSWORD}::::::{f'userdb_quota_storage_size={size}' if size else ''}\n"
        for user, size in users.items()
    ]
    (folder / "users").write_text("".join(rows), encoding="utf-8")
    configuration = folder / "dovecot.conf"
    about = {"folder": folder, "owner": _OWNER, "certificate": certificate, "mechanisms": mechanisms}
    configuration.write_text(
        _CONFIGURATION.format(**about, imap=server.imap, imaps=server.imaps), encoding="utf-8"
    )
    command = [program("dovecot"), "-F", "-c", str(configuration)]
    with running(command, server.imaps, folder / "output"):
        yield server
