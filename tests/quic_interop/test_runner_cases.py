"""Each case, our client against our server, judged by the packets on the wire; what makes a judgement red."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest
from pairs import HOST, QUICK, Site, meet
from spoiling import (
    IgnoresKeyUpdates,
    NeverConfirms,
    OneWay,
    Spoil,
    forget_tickets,
    serve_another_file,
)

from quic_interop import client
from quic_interop.aioquic_internals import ServerConnection
from quic_interop.cases import CASES
from quic_interop.settings import Request

KB, MB = 1024, 1024 * 1024

FILES = {
    "handshake": {"1k": KB},
    "transfer": {"2m": 2 * MB, "3m": 3 * MB, "5m": 5 * MB},
    "retry": {"10k": 10 * KB},
    "keyupdate": {"3m": 3 * MB},
    "chacha20": {"3m": 3 * MB},
    "multiconnect": {f"file-{number:02}": KB for number in range(50)},
    "v2": {"1k": KB},
    "resumption": {"5k": 5 * KB, "10k": 10 * KB},
    "zerortt": {f"{number:02}{'n' * 248}": 32 for number in range(40)},
    "connectionmigration": {"2m": 2 * MB},
    "http3": {"5k": 5 * KB, "10k": 10 * KB, "500k": 500 * KB},
}
"Sizes and names as the runner makes them."


def test_every_case_is_judged() -> None:
    """A new case gets its files and its judgement here."""
    assert list(FILES) == list(CASES)


@pytest.mark.parametrize("name", CASES)
async def test_our_client_against_our_server(site: Site, name: str) -> None:
    """The client is content, and the wire agrees with it."""
    outcome = await meet(site, site.offer(FILES[name]), name)

    assert outcome.error == ""
    assert outcome.against(name) == []
    assert len(outcome.told) == len(outcome.facts) == len(outcome.evidence.connections)


@pytest.mark.parametrize(
    ("judged", "client", "server"),
    [("connectionmigration", "transfer", "connectionmigration"), ("keyupdate", "keyupdate", "transfer")],
)
async def test_names_as_the_runner_gives_them(site: Site, judged: str, client: str, server: str) -> None:
    """In two cases one end gets the name `transfer`, and does its part all the same."""
    outcome = await meet(site, site.offer(FILES[judged]), client, server)

    assert outcome.error == ""
    assert outcome.against(judged) == []


@pytest.mark.parametrize("name", ["handshake", "retry", "connectionmigration"])
async def test_over_ipv6(site: Site, name: str) -> None:
    """Addresses of IPv6 have four parts, and a preferred address of their own (ipv6)."""
    site.host = "::1"
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind((site.host, 0))
    except OSError:
        pytest.skip("no IPv6 on loopback here")

    outcome = await meet(site, site.offer(FILES[name]), name)

    assert outcome.error == ""
    assert outcome.against(name) == []
    assert {len(address) for facts in outcome.facts for address in facts.servers} == {4}


async def test_early_data_is_sent_again_after_retry(site: Site) -> None:
    """A Retry packet makes the client begin anew, with all that it had asked for."""
    server = replace(CASES["zerortt"], retry=True)

    outcome = await meet(site, site.offer(FILES["zerortt"]), "zerortt", server)

    assert outcome.error == ""
    assert outcome.against("zerortt") == []
    assert [facts.retried for facts in outcome.facts] == [True, True]


async def test_a_name_with_several_addresses(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody is at the first, the second is dialled; early data goes there as well."""
    addresses = client._addresses

    async def with_a_refusing_one_before(request: Request) -> list[tuple[int, tuple[object, ...]]]:
        return [(socket.AF_INET, (HOST, 1)), *await addresses(request)]

    monkeypatch.setattr(client, "_addresses", with_a_refusing_one_before)

    outcome = await meet(site, site.offer(FILES["zerortt"]), "zerortt")

    assert outcome.error == ""
    assert {path.name for path in site.downloads.iterdir()} == set(FILES["zerortt"])
    assert [facts.early_data_accepted for facts in outcome.facts] == [False, True]


SMALL = {"a": KB, "b": 2 * KB, "c": 3 * KB}
LARGE = {"large": MB}
NAMES = {f"{number:02}{'n' * 248}": 32 for number in range(30)}


@pytest.mark.parametrize(
    ("judged", "files", "client", "server", "findings"),
    [
        ("handshake", SMALL, "multiconnect", "handshake", ["3 handshakes instead of 1"]),
        ("handshake", SMALL, "handshake", "retry", ["a Retry packet"]),
        ("transfer", {"200k": 200 * KB}, "handshake", "transfer", ["the client renewed no credit"]),
        ("retry", SMALL, "handshake", "handshake", ["no Retry packet with a token"]),
        (
            "keyupdate",
            LARGE,
            "transfer",
            "transfer",
            ["no packet of the client has key phase 1", "no packet of the server has key phase 1"],
        ),
        ("chacha20", SMALL, "handshake", "handshake", ["cipher suites 0x1302, 0x1301, 0x1303 were offered"]),
        ("multiconnect", SMALL, "handshake", "multiconnect", ["1 handshakes instead of 3"]),
        (
            "v2",
            SMALL,
            "handshake",
            "v2",
            [
                "no Initial of the server is of version 2",
                "Handshake packets of another version than 2",
                "Handshake packets of another version than 2",
            ],
        ),
        ("handshake", SMALL, "v2", "v2", [f"server Initials of versions {[0x6B3343CF]}"]),
        (
            "resumption",
            {"a": KB, "b": KB},
            "multiconnect",
            "resumption",
            ["certificates were sent: [True, True]"],
        ),
        (
            "zerortt",
            NAMES,
            "resumption",
            "zerortt",
            ["no 0-RTT data", "more than 5000 bytes of the client in 1-RTT packets"],
        ),
        ("connectionmigration", LARGE, "transfer", "transfer", ["one path only"]),
        ("http3", SMALL, "handshake", "handshake", ["h3 was not offered"]),
    ],
)
async def test_a_judgement_turns_red(
    site: Site, judged: str, files: dict[str, int], client: str, server: str, findings: list[str]
) -> None:
    """Where two ends do something else than the case, whole files and a content client change nothing."""
    outcome = await meet(site, site.offer(files), client, server)

    assert outcome.error == ""
    assert outcome.against(judged) == findings


async def test_a_judgement_turns_red_for_files(site: Site) -> None:
    """A file that differs, one that is missing and one too many are seen."""
    site.offer({"other": KB})
    outcome = await meet(site, site.offer(SMALL), "handshake", spoil=serve_another_file)
    (site.downloads / "a").unlink()
    (site.downloads / "ticket").touch()

    assert outcome.against("handshake") == ["ticket is there", "a is missing", "b differs", "c differs"]


@pytest.mark.parametrize(
    ("client", "server", "spoil", "error"),
    [
        ("retry", "handshake", None, "the server sent no Retry packet"),
        ("v2", "handshake", None, "the server chose QUIC version 0x1, not 0x6b3343cf"),
        ("resumption", "handshake", None, " gave no session ticket for 0.5 s"),
        ("resumption", "resumption", forget_tickets, "the server did not resume the session"),
        ("zerortt", "zerortt", forget_tickets, "the server did not resume the session"),
        ("connectionmigration", "transfer", None, " gave no other address to move to for 0.5 s"),
    ],
)
async def test_client_says_what_it_did_not_see(
    site: Site, client: str, server: str, spoil: Spoil | None, error: str
) -> None:
    """All files came, and the case's own feature did not: that is a failure with a name."""
    names = site.offer(SMALL)

    outcome = await meet(site, names, client, server, spoil=spoil)

    assert outcome.error.endswith(error)
    assert set(outcome.against(client)).isdisjoint({f"{name} differs" for name in names})


@pytest.mark.parametrize(
    ("broken", "error"),
    [(IgnoresKeyUpdates, " gave no data for 1 s"), (NeverConfirms, " gave no HANDSHAKE_DONE for 0.5 s")],
)
async def test_client_sees_that_keys_were_not_updated(
    site: Site, monkeypatch: pytest.MonkeyPatch, broken: type[ServerConnection], error: str
) -> None:
    """Old keys after our update are read no more; without a confirmed handshake there is no update."""
    monkeypatch.setattr("quic_interop.server.ServerConnection", broken)

    outcome = await meet(site, site.offer(LARGE), "keyupdate", patience=replace(QUICK, data=1.0))

    assert outcome.error.endswith(error)
    assert "no packet of the server has key phase 1" in outcome.against("keyupdate")
    if broken is IgnoresKeyUpdates:
        assert list(site.downloads.iterdir()) == []


async def test_client_sees_that_a_preferred_address_is_not_reached(site: Site) -> None:
    """It stays where it is, gets its files, and says so."""
    outcome = await meet(site, site.offer(LARGE), "connectionmigration", link=OneWay())

    assert outcome.error.endswith(" gave no other address to move to for 0.5 s")
    assert "a PATH_CHALLENGE without an answer" not in outcome.against("connectionmigration")
    assert "large differs" not in outcome.against("connectionmigration")


async def test_protocols_that_do_not_match(site: Site) -> None:
    """A server without h3 ends the handshake with TLS's alert for that (120)."""
    outcome = await meet(site, site.offer(SMALL), "http3", "handshake")

    assert "closed the connection with QUIC error 0x178" in outcome.error
    assert outcome.against("http3")[:3] == ["a is missing", "b is missing", "c is missing"]
