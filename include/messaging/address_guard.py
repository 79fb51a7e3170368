"""Keeps requests that tenants configure out of our own network (server-side request forgery).

A webhook's URL is whatever a tenant's administrator typed, and the worker that calls it sits inside the network. Three checks, none of
which trusts the one before it: the URL when the request starts, every address that its name resolves to when the connection is made
(so a name that changes its mind in between gains nothing), and the answer, which must not lead elsewhere.
"""

from __future__ import annotations

import socket
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from types import SimpleNamespace

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from include.errors import BatchError

# The connection's limit is the lower one: whatever times out later was on its way to the service already.
TIMEOUT = aiohttp.ClientTimeout(total=30, connect=10)

# Services close idle connections after a minute or so; reusing one at that moment leaves open whether the message arrived.
_KEEP_ALIVE_SECONDS = 5

# Assigned as globally reachable, or not known to Python 3.11 as anything else, and still no place of a public service.
_NOT_PUBLIC = tuple(
    ip_network(text)
    for text in (
        "192.0.0.0/24",  # protocol assignments; 192.0.0.192 is Oracle Cloud's metadata service
        "168.63.129.16/32",  # Azure's own services inside every virtual network
        "2002::/16",  # 6to4, which carries any IPv4 address
        "3fff::/20",  # documentation
    )
)
_GLOBAL_UNICAST = ip_network("2000::/3")
_NAT64 = ip_network("64:ff9b::/96")


class RefusedAddressError(BatchError):
    """A URL that must not be called. The sentence names the host at most: path and query may be the secret."""


def check_url(url: str | URL, allowed_hosts: Collection[str] = ()) -> None:
    """Refuse a URL that must not be called, as far as it can be told without resolving its host.

    ``allowed_hosts`` are ``host:port`` (IPv6 in brackets) that may be private and without TLS: local stand-ins.

    :raises RefusedAddressError: it must not be called, and why.
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
    """Whether the URL's host and port are among those that may be private. :raises RefusedAddressError: it is no URL."""
    target = _parsed(url)
    return _host_port(target.raw_host or "", target.port or 0) in allowed_hosts


def guarded_session(
    allowed_hosts: Collection[str] = (),
    *,
    resolver: AbstractResolver | None = None,
    timeout: aiohttp.ClientTimeout = TIMEOUT,
) -> aiohttp.ClientSession:
    """A session for all tenants' requests, to be closed by whoever asked for it; needs a running event loop.

    A request that must not be made raises ``RefusedAddressError`` before anything is sent, and so does one that is answered by a
    redirect. ``resolver`` stands in for the system's.
    """
    trace = aiohttp.TraceConfig()

    async def check_request(_: object, __: SimpleNamespace, request: aiohttp.TraceRequestStartParams) -> None:
        check_url(request.url, allowed_hosts)

    trace.on_request_start.append(check_request)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            resolver=_GuardedResolver(allowed_hosts, resolver or aiohttp.ThreadedResolver()),
            keepalive_timeout=_KEEP_ALIVE_SECONDS,
            # Whoever sends limits what is under way; waiting here would count as failing to connect.
            limit=0,
        ),
        # One tenant's cookies are not for another's requests.
        cookie_jar=aiohttp.DummyCookieJar(),
        trace_configs=[trace],
        middlewares=[_stay_where_we_are],
        timeout=timeout,
    )


class _GuardedResolver(AbstractResolver):
    """A name is as good as the worst of its addresses. The connector connects to what this returns, and to nothing else."""

    def __init__(self, allowed_hosts: Collection[str], resolver: AbstractResolver) -> None:
        self._allowed_hosts = allowed_hosts
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        try:
            found = await self._resolver.resolve(host, port, family)
        except UnicodeError as error:
            raise OSError("the name is none that can be asked for") from error
        if not found:
            raise OSError("the name has no address")
        if _host_port(host, port) not in self._allowed_hosts:
            for result in found:
                address = _literal(result["host"])
                if address is None or not _is_public(address):
                    raise RefusedAddressError(f"{host} は社内または特別な用途のアドレスを指しています")
        return found

    async def close(self) -> None:
        await self._resolver.close()


async def _stay_where_we_are(
    request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """No way around the guard: neither a proxy, which would resolve the name itself, nor a redirect."""
    if request.proxy is not None:
        raise RefusedAddressError("プロキシー経由の送信には対応していません")
    response = await send(request)
    if 300 <= response.status < 400:
        response.close()
        raise RefusedAddressError(f"{request.url.raw_host} が別の URL へ転送しようとしました")
    return response


def _parsed(url: str | URL) -> URL:
    try:
        parsed = URL(url)
        if parsed.raw_host:
            return parsed
    except (ValueError, TypeError):
        pass
    # The parser's own error quotes the URL.
    raise RefusedAddressError("URL の形式が正しくありません")


def _bare(host: str | None) -> str:
    return (host or "").lower().rstrip(".")


def _host_port(host: str, port: int) -> str:
    host = _bare(host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host is, in any form that the C library takes for one (2130706433, 0x7f.1, 017700000001); None for a name."""
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
        carried = address.ipv4_mapped
        if address in _NAT64:
            carried = IPv4Address(address.packed[-4:])
        if carried is not None:
            return _is_public(carried)
        if address not in _GLOBAL_UNICAST:
            return False
    return (
        address.is_global
        and not address.is_multicast
        and not any(address in network for network in _NOT_PUBLIC)
    )
