"""The tokens with which clients log in to the mail server and the mailbox (OAuth 2 client credentials)."""

from __future__ import annotations

import base64
import binascii
import re
import secrets

from aiohttp import web

from local_stack.stand_ins.faults import Faults

_XOAUTH2 = re.compile(rb"user=[^\x01]+\x01auth=Bearer ([^\x01]+)\x01\x01")

# As Microsoft's, a token does not fit into a command of SMTP (512 octets). aiosmtpd reads lines of 1,000.
_TOKEN_BYTES = 300


class MailTokens:
    """Issues tokens to every client with a secret, and knows which are valid. ``lifetime`` is in seconds."""

    def __init__(self, faults: Faults) -> None:
        self.issued = 0
        self.lifetime = 3_600
        self.valid: set[str] = set()
        self._faults = faults

    def routes(self) -> list[web.RouteDef]:
        """The token endpoint."""
        return [web.post("/mail/token", self._token)]

    def accepts(self, response: str) -> bool:
        """Whether a response of SASL XOAUTH2 (Base64) has a valid token."""
        try:
            match = _XOAUTH2.fullmatch(base64.b64decode(response, validate=True))
        except binascii.Error:
            return False
        return match is not None and match[1].decode() in self.valid

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        if (fault := self._faults.take("mail_auth")) is not None:
            is_status = isinstance(fault.code, int)
            return web.json_response({"error": str(fault.code)}, status=int(fault.code) if is_status else 400)
        if form.get("grant_type") != "client_credentials":
            return web.json_response({"error": "unsupported_grant_type"}, status=400)
        if not form.get("client_id") or not form.get("client_secret") or not form.get("scope"):
            return web.json_response({"error": "invalid_client"}, status=401)
        self.issued += 1
        token = f"mail-{secrets.token_hex(_TOKEN_BYTES)}"
        self.valid.add(token)
        return web.json_response({"access_token": token, "token_type": "Bearer", "expires_in": self.lifetime})
