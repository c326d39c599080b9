from __future__ import annotations

import pytest

from pytest_moqt.client.url import Endpoint, RelayUrlError, parse_relay_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://localhost:4443", ("localhost", 4443, "/", "localhost:4443", "webtransport")),
        ("https://relay.example", ("relay.example", 443, "/", "relay.example", "webtransport")),
        (
            "https://relay.example/moq?a=b",
            ("relay.example", 443, "/moq?a=b", "relay.example", "webtransport"),
        ),
        ("https://relay.example?a=b", ("relay.example", 443, "/?a=b", "relay.example", "webtransport")),
        ("moqt://relay.example:9", ("relay.example", 9, "", "relay.example:9", "quic")),
        ("moqt://relay.example/", ("relay.example", 443, "/", "relay.example", "quic")),
        ("moqt://relay.example/a?b=c", ("relay.example", 443, "/a?b=c", "relay.example", "quic")),
        ("moqt://relay.example/a#track:x", ("relay.example", 443, "/a", "relay.example", "quic")),
        ("MOQT://Relay.Example:1/A", ("relay.example", 1, "/A", "Relay.Example:1", "quic")),
        ("moqt://[::1]:4443/", ("::1", 4443, "/", "[::1]:4443", "quic")),
        ("moqt://[fe80::1%25lo]:1", ("fe80::1%lo", 1, "", "[fe80::1%25lo]:1", "quic")),
        ("https://127.0.0.1:1/%2Fa", ("127.0.0.1", 1, "/%2Fa", "127.0.0.1:1", "webtransport")),
        (
            "https://bücher.example:1/ü",
            ("xn--bcher-kva.example", 1, "/%C3%BC", "xn--bcher-kva.example:1", "webtransport"),
        ),
    ],
)
def test_url_names_host_port_path_and_transport(url: str, expected: tuple[str, int, str, str, str]) -> None:
    """Every part of a relay's URL ends up where it is used; the scheme chooses the transport."""
    endpoint = parse_relay_url(url)

    found = (endpoint.host, endpoint.port, endpoint.path, endpoint.authority, endpoint.transport)
    assert (*found, endpoint.url) == (*expected, url)


def test_a_constraint_overrides_the_scheme() -> None:
    """From draft 18 on `moqt` names both transports, so a constraint may ask for the other one."""
    endpoint = parse_relay_url("moqt://relay.example:4443", "webtransport")

    assert endpoint == Endpoint(
        "relay.example", 4443, "/", "relay.example:4443", "webtransport", "moqt://relay.example:4443"
    )
    assert parse_relay_url("https://relay.example/a", "quic").transport == "quic"


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("", "is empty"),
        ("localhost:4443", "no scheme known"),
        ("http://localhost", "no scheme known"),
        ("moqt:localhost", "no scheme known"),
        ("moqt://", "no host"),
        ("https://:4443/", "no host"),
        ("https://localhost:99999", "cannot be read"),
        ("https://localhost:abc", "cannot be read"),
        ("https://localhost:0", "port 0"),
        ("https://[::1", "cannot be read"),
        ("https://user:secret@localhost", "user name"),
        ("https://local host", "spaces"),
        ("https://localhost/\n", "spaces or control"),
        ("https://" + "a" * 64 + ".example", "no host name"),
    ],
)
def test_a_url_that_cannot_be_dialled_is_refused_with_the_good_forms(url: str, complaint: str) -> None:
    """A URL that names no relay is refused in one sentence before anything is dialled."""
    with pytest.raises(RelayUrlError) as caught:
        parse_relay_url(url)

    sentence = str(caught.value)
    assert complaint in sentence
    assert "\n" not in sentence
    assert "moqt://" in sentence or "1 to 65535" in sentence


def test_an_unknown_transport_is_refused_with_the_good_ones() -> None:
    """A transport constraint that is none lists those there are."""
    with pytest.raises(RelayUrlError, match="auto, quic, webtransport"):
        parse_relay_url("moqt://localhost", "tcp")  # type: ignore[arg-type]
