"""No request goes to the internal network, whatever a tenant's settings contain."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from unittest.mock import patch

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from include.skillreport.messaging.address_guard import RefusedAddressError, check_url, guarded_session
from local_stack.stand_ins import StandIns

PUBLIC = "93.184.215.14"

INSIDE = [
    # literal IPv4: loopback, private, link-local (with the clouds' metadata service), of carriers, unspecified, multicast, reserved
    "127.0.0.1",
    "127.1.2.3",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.254",
    "192.168.1.1",
    "169.254.169.254",
    "169.254.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "0.0.0.0",  # noqa: S104
    "0.1.2.3",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "192.0.0.192",
    "168.63.129.16",
    # IPv4 as the C library reads it: decimal, octal, hexadecimal, short
    "2130706433",
    "0x7f.1",
    "0x7f000001",
    "017700000001",
    "0177.0.0.1",
    "127.1",
    "127.0.0.1.",
    "0",
    "①②⑦.0.0.1",
    # IPv6: loopback, unspecified, private, link-local, multicast, site-local, and whatever carries an IPv4 address
    "[::1]",
    "[::]",
    "[fc00::1]",
    "[fd12:3456:789a::1]",
    "[fe80::1]",
    "[fe80::1%25eth0]",
    "[fe80::1%25a%25b]",
    "[::1%25lo]",
    "[ff02::1]",
    "[ff0e::1]",
    "[fec0::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:10.0.0.1]",
    "[::ffff:a9fe:a9fe]",
    "[::127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::1]",
    "[2002:7f00:1::1]",
    "[2001:db8::1]",
    "[3fff::1]",
    "[4000::1]",
    # names that need no look-up
    "localhost",
    "LOCALHOST",
    "localhost.",
    "api.localhost",
]


class Names(AbstractResolver):
    """A resolver with a few names."""

    def __init__(self, **answers: list[str]) -> None:
        self._answers = {name.replace("_", "."): addresses for name, addresses in answers.items()}
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        addresses = self._answers.get(host)
        if addresses is None:
            raise OSError("no such name")
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing to close."""


@contextmanager
def connections() -> Iterator[list[object]]:
    """The addresses of all connection attempts; no attempt succeeds."""
    tried: list[object] = []

    async def note(_: object, __: socket.socket, address: object) -> None:
        tried.append(address)
        raise ConnectionRefusedError

    with patch("asyncio.selector_events.BaseSelectorEventLoop.sock_connect", note):
        yield tried


def get(
    url: str, *, resolver: AbstractResolver | None = None, allowed_hosts: Collection[str] = (), **options: str
) -> int:
    """The status that a real session gets."""

    async def asked() -> int:
        async with (
            guarded_session(allowed_hosts, resolver=resolver) as session,
            session.get(url, **options) as response,  # type: ignore[arg-type]
        ):
            return response.status

    return asyncio.run(asked())


@pytest.mark.parametrize("host", INSIDE)
def test_an_address_inside_is_refused_before_anything_is_sent(host: str) -> None:
    with connections() as tried, pytest.raises(RefusedAddressError, match="社内または特別な用途"):
        get(f"https://{host}/hook?sig=secret")

    assert tried == []


@pytest.mark.parametrize("host", [PUBLIC, f"[::ffff:{PUBLIC}]", "[2606:4700::1111]", f"[64:ff9b::{PUBLIC}]"])
def test_a_public_address_is_connected_to(host: str) -> None:
    with connections() as tried, pytest.raises(aiohttp.ClientConnectorError):
        get(f"https://{host}/hook")

    assert tried


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.1.2.3"],
        ["169.254.169.254"],
        ["::1"],
        ["fe80::1%eth0"],
        ["::ffff:192.168.0.1"],
        [PUBLIC, "127.0.0.1"],
        ["127.0.0.1", PUBLIC],
        ["not an address"],
    ],
)
def test_a_name_is_refused_if_only_one_of_its_addresses_is_inside(addresses: list[str]) -> None:
    names = Names(hook_example_com=addresses)

    with connections() as tried, pytest.raises(RefusedAddressError, match=r"hook\.example\.com は社内"):
        get("https://hook.example.com/secret", resolver=names)

    assert tried == []
    assert names.asked == ["hook.example.com"]


def test_a_name_is_judged_by_the_addresses_that_are_connected_to() -> None:
    """A name that was public when the settings were checked, and points inside when the message is sent."""
    names = Names(rebound_example_com=[PUBLIC])
    check_url("https://rebound.example.com/hook")
    with connections() as tried, pytest.raises(aiohttp.ClientConnectorError):
        get("https://rebound.example.com/hook", resolver=names)
    assert tried == [(PUBLIC, 443)]

    names = Names(rebound_example_com=["127.0.0.1"])
    with connections() as tried, pytest.raises(RefusedAddressError):
        get("https://rebound.example.com/hook", resolver=names)
    assert tried == []


@pytest.mark.parametrize("answer", [[], None])
def test_a_name_without_address_is_a_failure_of_the_network(answer: list[str] | None) -> None:
    names = Names(**({} if answer is None else {"hook_example_com": answer}))

    with pytest.raises(aiohttp.ClientConnectorDNSError):
        get("https://hook.example.com/", resolver=names)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://hook.example.com/secret", "https で始まる"),
        ("ftp://hook.example.com/secret", "https で始まる"),
        ("file:///etc/passwd", "形式が正しくありません"),
        ("https:///secret", "形式が正しくありません"),
        ("https://", "形式が正しくありません"),
        ("", "形式が正しくありません"),
        ("hook.example.com/secret", "形式が正しくありません"),
        ("https://hook.example.com:99999/secret", "形式が正しくありません"),
        ("https://[::1/secret", "形式が正しくありません"),
        ("https://user@hook.example.com/secret", "利用者名やパスワード"),
        ("https://user:secret@hook.example.com/", "利用者名やパスワード"),
        ("https://:secret@hook.example.com/", "利用者名やパスワード"),
        ("https://hook.example.com@10.0.0.1/secret", "利用者名やパスワード"),
        ("https://hook.example.com\\@10.0.0.1/secret", "形式が正しくありません"),
    ],
)
def test_a_url_that_is_not_https_is_refused_without_showing_it(url: str, reason: str) -> None:
    with pytest.raises(RefusedAddressError, match=reason) as refusal:
        check_url(url)

    assert "secret" not in str(refusal.value)
    assert "secret" not in repr(refusal.value.__context__)


@pytest.mark.parametrize("url", ["http://hook.example.com/", "https://user:secret@hook.example.com/"])
def test_the_session_itself_refuses_such_a_url(url: str) -> None:
    with connections() as tried, pytest.raises(RefusedAddressError):
        get(url, resolver=Names(hook_example_com=[PUBLIC]))

    assert tried == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(services: StandIns, status: int) -> None:
    services.fail_next("teams", status)

    with pytest.raises(RefusedAddressError, match="別の URL へ転送"):
        post(services.teams_webhook_url, services.allowed_hosts)


def post(url: str, allowed_hosts: Collection[str]) -> None:
    async def posted() -> None:
        async with (
            guarded_session(allowed_hosts) as session,
            # Like a library that does not use the guard.
            session.post(url, json={}, allow_redirects=True),
        ):
            pass

    asyncio.run(posted())


def test_a_proxy_is_no_way_around(services: StandIns) -> None:
    with connections() as tried, pytest.raises(RefusedAddressError, match="プロキシー"):
        get("https://hook.example.com/", proxy=services.page_url)

    assert tried == []


def test_an_allowed_host_may_be_private_and_without_tls(services: StandIns) -> None:
    assert get(services.page_url, allowed_hosts=services.allowed_hosts) == 200


def test_an_allowed_name_may_point_inside(services: StandIns) -> None:
    name = f"stand-ins.test:{services.http_port}"
    url = f"http://{name}/"

    assert get(url, resolver=Names(**{"stand-ins_test": ["127.0.0.1"]}), allowed_hosts=[name]) == 200


def test_an_allowed_address_is_one_port_of_one_host(services: StandIns) -> None:
    other = services.http_port + 1
    allowed = [f"127.0.0.1:{other}", f"localhost:{services.http_port}", "[::1]:8080"]

    with pytest.raises(RefusedAddressError):
        get(services.page_url, allowed_hosts=allowed)

    check_url("http://[::1]:8080/", allowed)
    with pytest.raises(RefusedAddressError):
        check_url("http://[::1]:8081/", allowed)
    with pytest.raises(RefusedAddressError):
        check_url(f"http://user@127.0.0.1:{other}/", allowed)


def test_an_allowed_name_stays_private_on_its_other_ports(services: StandIns) -> None:
    names = Names(**{"stand-ins_test": ["127.0.0.1"]})
    allowed = [f"stand-ins.test:{services.http_port + 1}"]

    with connections() as tried, pytest.raises(RefusedAddressError, match="社内"):
        get(f"https://stand-ins.test:{services.http_port}/", resolver=names, allowed_hosts=allowed)

    assert (names.asked, tried) == (["stand-ins.test"], [])


def test_no_cookie_of_one_tenants_service_reaches_another() -> None:
    async def jar() -> aiohttp.abc.AbstractCookieJar:
        async with guarded_session() as session:
            session.cookie_jar.update_cookies({"session": "of tenant A"})
            return session.cookie_jar

    assert len(asyncio.run(jar())) == 0
