"""Each case against ngtcp2, in both roles, judged by the packets on the wire.

What is not a pass here is in docs/findings/ngtcp2.md, with who is right.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from dissection import connections_of, secrets_of
from judgement import Evidence, judge
from ngtcp2_peers import by_http3, free_port, gtlsclient, gtlsserver
from pairs import HOST, QUICK, Outcome, Site
from wire_capture import Capture

from quic_interop.client import run
from quic_interop.errors import InteropError
from quic_interop.server import Running

KB, MB = 1024, 1024 * 1024
FILES = {
    "handshake": {"1k": KB},
    "transfer": {"1m": MB, "2m": 2 * MB},
    "retry": {"10k": 10 * KB},
    "keyupdate": {"3m": 3 * MB},
    "chacha20": {"500k": 500 * KB},
    "multiconnect": {f"file-{number}": KB for number in range(5)},
    "v2": {"1k": KB},
    "resumption": {"5k": 5 * KB, "10k": 10 * KB},
    "zerortt": {f"file-{number:02}": 32 for number in range(40)},
    "connectionmigration": {"2m": 2 * MB},
    "http3": {"5k": 5 * KB, "10k": 10 * KB, "500k": 500 * KB},
}
STAYED_IN_VERSION_1 = [
    "no Initial of the server is of version 2",
    "Handshake packets of another version than 2",
    "Handshake packets of another version than 2",
]
"Version 0.12 knows only the number that QUIC version 2 had as a draft."


@pytest.mark.parametrize("name", FILES)
async def test_our_client_against_ngtcp2(site: Site, tmp_path: Path, name: str) -> None:
    """Our client finds in ngtcp2's server what each case is about."""
    names = site.offer(FILES[name])
    options = {
        "retry": ["--validate-addr"],
        "connectionmigration": [f"--preferred-ipv4-addr={HOST}:{free_port()}"],
    }
    capture = Capture(at_client=True)
    outcome = Outcome()
    async with gtlsserver(site, tmp_path / "log", *options.get(name, [])) as port:
        settings = site.client(by_http3(name), port, names)
        try:
            outcome.facts = await run(settings, patience=QUICK, link=capture, told=outcome.told.append)
        except InteropError as error:
            outcome.error = str(error)
    connections = connections_of(capture.datagrams, secrets_of(site.keys))
    outcome.evidence = Evidence(connections, site.www, site.downloads, names)

    against = {
        "v2": STAYED_IN_VERSION_1,
        "connectionmigration": ["the server's first packet on a new path has no PATH_CHALLENGE"],
    }
    assert outcome.error == ("the server chose QUIC version 0x1, not 0x6b3343cf" if name == "v2" else "")
    assert outcome.against(name) == against.get(name, [])


@pytest.mark.parametrize("name", FILES)
async def test_ngtcp2_against_our_server(site: Site, tmp_path: Path, name: str) -> None:
    """ngtcp2's client finds in our server what each case is about."""
    names = site.offer(FILES[name])
    session = ["--session-file", str(tmp_path / "session"), "--tp-file", str(tmp_path / "parameters")]
    runs = {
        "transfer": [(names, ["--max-data=256K", "--max-stream-data-bidi-local=128K"])],
        "keyupdate": [(names, ["--key-update=1ms"])],
        "chacha20": [(names, ["--ciphers=NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+CHACHA20-POLY1305"])],
        "multiconnect": [([one], []) for one in names],
        "v2": [(names, ["--preferred-versions=v2draft,v1", "--other-versions=v2draft,v1"])],
        "resumption": [(names[:1], session), (names[1:], [*session, "--disable-early-data"])],
        "zerortt": [(names[:1], session), (names[1:], session)],
    }
    capture = Capture(at_client=False)
    keys = tmp_path / "server.keys"
    with closing(Running(site.server(by_http3(name), keys=keys), link=capture)) as running:
        for wanted, options in runs.get(name, [(names, [])]):
            await gtlsclient(site, running.listener.port, wanted, *options)

    connections = connections_of(capture.datagrams, secrets_of(keys))
    evidence = Evidence(connections, site.www, site.downloads, names)
    assert judge(name, evidence) == (STAYED_IN_VERSION_1 if name == "v2" else [])
