"""The environment: names, defaults, and a sentence for each value that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from quic_interop.cases import CASES, UnsupportedCase
from quic_interop.errors import InteropError
from quic_interop.settings import (
    ClientSettings,
    Logs,
    Request,
    ServerSettings,
    client_settings,
    request,
    server_settings,
)

URL = "https://server4:443/a"


def test_defaults_are_the_runners_containers() -> None:
    """Without a variable a client is in a container of the runner; empty is unset."""
    asked = (Request("server4", 443, "/a", "a"),)

    assert client_settings({"REQUESTS": URL, "DOWNLOADS": "", "TESTCASE": ""}) == ClientSettings(
        CASES["handshake"], asked, Path("/downloads"), Logs(None, None)
    )
    assert server_settings({"PORT": ""}) == ServerSettings(
        CASES["handshake"], 443, Path("/certs"), Path("/www"), Logs(None, None), None
    )


def test_every_variable_counts() -> None:
    """What is set is taken."""
    shared = {"SSLKEYLOGFILE": "/logs/keys.log", "QLOGDIR": "/logs/qlog/", "ROLE": "client"}
    logs = Logs(Path("/logs/keys.log"), Path("/logs/qlog"))

    client = client_settings({**shared, "TESTCASE": "http3", "DOWNLOADS": "/d", "REQUESTS": f"{URL} {URL}b"})
    server = server_settings(
        {**shared, "TESTCASE": "retry", "PORT": "4433", "CERTS": "/c", "WWW": "/w"}, host="::1"
    )

    assert client == ClientSettings(
        CASES["http3"],
        (Request("server4", 443, "/a", "a"), Request("server4", 443, "/ab", "ab")),
        Path("/d"),
        logs,
    )
    assert server == ServerSettings(CASES["retry"], 4433, Path("/c"), Path("/w"), logs, "::1")


def test_the_name_comes_first() -> None:
    """A name that is not known is told, however wrong the rest is."""
    for settings in (client_settings, server_settings):
        with pytest.raises(UnsupportedCase, match="'ecn' is not supported; known are handshake, transfer, "):
            settings({"TESTCASE": "ecn", "REQUESTS": "", "PORT": "x"})


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://server/file", Request("server", 443, "/file", "file")),
        ("https://[::1]:4433/deep/er/file?x=1", Request("::1", 4433, "/deep/er/file?x=1", "file")),
        ("https://server/a%20file", Request("server", 443, "/a%20file", "a file")),
        ("HTTPS://server:0/...", Request("server", 0, "/...", "...")),
    ],
)
def test_urls(url: str, expected: Request) -> None:
    """The file is named by the last part of the path."""
    assert request(url) == expected


def test_authority_of_an_ipv6_address_has_brackets() -> None:
    """As in the URL."""
    assert request("https://[::1]:4433/a").authority == "[::1]:4433"
    assert request("https://server/a").authority == "server:443"


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://server/a", "http://server/a has the scheme http, must be https"),
        ("server/a", "server/a has no scheme, must be https"),
        ("moqt://server/a", "moqt://server/a has the scheme moqt, must be https"),
        ("https:///a", "https:///a names no host"),
        ("https://server:port/a", "https://server:port/a is no URL: "),
        ("https://server:70000/a", "https://server:70000/a is no URL: "),
        ("https://[::1/a", "https://[::1/a is no URL: "),
        (
            "https://server/\u00e9",
            "https://server/\u00e9 has characters that no URL may have; write them as %XX",
        ),
        (
            "https://server/a\x7f",
            "https://server/a\x7f has characters that no URL may have; write them as %XX",
        ),
        ("https://server", "https://server names no file that it could be downloaded to"),
        ("https://server/a/", "https://server/a/ names no file that it could be downloaded to"),
        ("https://server/..", "https://server/.. names no file that it could be downloaded to"),
        ("https://server/../a", "https://server/../a names no file that it could be downloaded to"),
        ("https://server/%2e%2e/a", "https://server/%2e%2e/a names no file that it could be downloaded to"),
        (
            "https://server/x%2f..%2fa",
            "https://server/x%2f..%2fa names no file that it could be downloaded to",
        ),
        ("https://server/a%00", "https://server/a%00 names no file that it could be downloaded to"),
    ],
)
def test_urls_that_cannot_be_used(url: str, sentence: str) -> None:
    """The sentence begins with the URL."""
    with pytest.raises(InteropError) as raised:
        request(url)

    assert str(raised.value).startswith(sentence)


@pytest.mark.parametrize(
    ("requests", "sentence"),
    [
        ("", "REQUESTS names no URL, so there is nothing to download"),
        ("  ", "REQUESTS names no URL, so there is nothing to download"),
        (f"{URL} https://other/b/a", "REQUESTS has more than one URL whose file would be a"),
    ],
)
def test_requests_that_cannot_be_used(requests: str, sentence: str) -> None:
    """Nothing to do, and two files of one name."""
    with pytest.raises(InteropError) as raised:
        client_settings({"REQUESTS": requests})

    assert str(raised.value) == sentence


@pytest.mark.parametrize("port", ["-1", "65536", "https", "4433.0", "\u0664"])
def test_ports_that_cannot_be_used(port: str) -> None:
    """A port is a number up to 65535."""
    with pytest.raises(InteropError) as raised:
        server_settings({"PORT": port})

    assert str(raised.value) == f"PORT {port} is no port, must be 0 to 65535"
