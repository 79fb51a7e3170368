"""Protects the internal network from requests that tenants configure (server-side request forgery).

A tenant's administrator can enter any webhook URL, and the worker calls it from inside the network. Three checks are independent: the URL
at the start of a request, every resolved address at the connection (so that DNS rebinding has no effect), and the answer, which must not
redirect. A tenant's own mail server gets the check of addresses.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from types import SimpleNamespace

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from include.skillreport.core.errors import BatchError

# ``connect`` is lower than ``total``, so after a later timeout the request may have reached the service.
TIMEOUT = aiohttp.ClientTimeout(total=30, connect=10)

# Services close idle connections after about a minute. If one is reused at that moment, it is unknown whether the message arrived.
_KEEP_ALIVE_SECONDS = 5

# Networks without public services that Python 3.11 classifies as global.
_NOT_PUBLIC = tuple(
    ip_network(text)
    for text in (
        "192.0.0.0/24",  # protocol assignments; 192.0.0.192 is Oracle Cloud's metadata service
        "168.63.129.16/32",  # Azure's own services inside every virtual network
        "2002::/16",  # 6to4, which carries any IPv4 address
        "3fff::/20",  # documentation
    )
)
# Characters. Real webhooks have a few hundred, and the time to encode a host grows with the square of its length.
_LONGEST_URL = 4_000
_GLOBAL_UNICAST = ip_network("2000::/3")
_NAT64 = ip_network("64:ff9b::/96")


class RefusedAddressError(BatchError):
    """A URL must not be called. The message contains at most the host, because path and query may be secret."""


def check_url(url: str | URL, allowed_hosts: Collection[str] = ()) -> None:
    """Check a URL without resolving its host.

    ``allowed_hosts`` are ``host:port`` (IPv6 in brackets) that may be private and without TLS: local stand-ins.

    :raises RefusedAddressError: the URL must not be called; the message says why.
    """
    target = _parsed(url)
    if target.raw_user is not None or target.raw_password is not None:
        raise RefusedAddressError("URL に利用者名やパスワードを含めることはできません")
    if is_allowed(target, allowed_hosts):
        return
    if target.scheme != "https":
        raise RefusedAddressError("URL は https で始まる必要があります")
    host = _bare(target.raw_host)
    address = _literal(host)
    if host.split(".")[-1] == "localhost" or (address and not _is_public(address)):
        raise RefusedAddressError(f"{target.raw_host} は社内または特別な用途のアドレスです")


def is_allowed(url: str | URL, allowed_hosts: Collection[str]) -> bool:
    """True if the URL's host and port may be private. :raises RefusedAddressError: it is not a valid URL."""
    target = _parsed(url)
    return _host_port(target.raw_host or "", target.port or 0) in allowed_hosts


def guarded_session(
    allowed_hosts: Collection[str] = (),
    *,
    resolver: AbstractResolver | None = None,
    timeout: aiohttp.ClientTimeout = TIMEOUT,
) -> aiohttp.ClientSession:
    """A session for all tenants' requests, to be closed by the caller. It needs a running event loop.

    A forbidden request raises ``RefusedAddressError`` before anything is sent, and so does an answer that redirects. ``resolver`` replaces
    the system's resolver.
    """
    trace = aiohttp.TraceConfig()

    async def check_request(_: object, __: SimpleNamespace, request: aiohttp.TraceRequestStartParams) -> None:
        check_url(request.url, allowed_hosts)

    trace.on_request_start.append(check_request)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            resolver=_GuardedResolver(allowed_hosts, resolver or aiohttp.ThreadedResolver()),
            keepalive_timeout=_KEEP_ALIVE_SECONDS,
            # The sender limits the requests in flight. Waiting here would count as a failure to connect.
            limit=0,
        ),
        # Tenants must not share cookies.
        cookie_jar=aiohttp.DummyCookieJar(),
        trace_configs=[trace],
        middlewares=[_refuse_proxy_and_redirect],
        timeout=timeout,
    )


async def guarded_socket(host: str, port: int, allowed_hosts: Collection[str] = ()) -> socket.socket:
    """A connection without HTTP, only to a checked address of the host.

    :raises RefusedAddressError: an address is not public. :raises OSError: no address accepts the connection.
    """
    resolver = _GuardedResolver(allowed_hosts, aiohttp.ThreadedResolver())
    refusal = OSError("the name has no address")
    for result in await resolver.resolve(host, port, socket.AF_UNSPEC):
        connection = socket.socket(result["family"], socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            await asyncio.get_running_loop().sock_connect(connection, (result["host"], port))
        except OSError as error:
            connection.close()
            refusal = error
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise refusal


class _GuardedResolver(AbstractResolver):
    """Refuses a name if one of its addresses is not public. The connector uses only the returned addresses."""

    def __init__(self, allowed_hosts: Collection[str], resolver: AbstractResolver) -> None:
        self._allowed_hosts = allowed_hosts
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        try:
            results = await self._resolver.resolve(host, port, family)
        except UnicodeError as error:
            raise OSError("the name cannot be resolved") from error
        if not results:
            raise OSError("the name has no address")
        if _host_port(host, port) not in self._allowed_hosts:
            for result in results:
                address = _literal(result["host"])
                if address is None or not _is_public(address):
                    raise RefusedAddressError(f"{host} は社内または特別な用途のアドレスを指しています")
        return results

    async def close(self) -> None:
        await self._resolver.close()


async def _refuse_proxy_and_redirect(
    request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Both would bypass the guard: a proxy resolves the name itself, and a redirect has another URL."""
    if request.proxy is not None:
        raise RefusedAddressError("プロキシー経由の送信には対応していません")
    response = await send(request)
    if 300 <= response.status < 400:
        response.close()
        raise RefusedAddressError(f"{request.url.raw_host} が別の URL へ転送しようとしました")
    return response


def _parsed(url: str | URL) -> URL:
    try:
        if isinstance(url, URL) or len(url) <= _LONGEST_URL:
            parsed = URL(url)
            if parsed.raw_host:
                return parsed
    except (ValueError, TypeError):
        pass
    # The parser's error is not shown, because it quotes the URL.
    raise RefusedAddressError("URL の形式が正しくありません")


def _bare(host: str | None) -> str:
    return (host or "").lower().rstrip(".")


def _host_port(host: str, port: int) -> str:
    host = _bare(host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    """The IP address of a host in any notation that the C library accepts (2130706433, 0x7f.1); None for a name."""
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address):
        embedded = address.ipv4_mapped
        if address in _NAT64:
            embedded = IPv4Address(address.packed[-4:])
        if embedded is not None:
            return _is_public(embedded)
        if address not in _GLOBAL_UNICAST:
            return False
    return (
        address.is_global
        and not address.is_multicast
        and not any(address in network for network in _NOT_PUBLIC)
    )
