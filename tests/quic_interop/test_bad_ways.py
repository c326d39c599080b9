"""Ways that lose, corrupt and change addresses, as the runner's simulator does to two of the cases."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest
from dissection import connections_of, secrets_of
from judgement import Evidence, judge
from nat import nat
from pairs import HOST, Site, meet
from wire_capture import Capture, LossyLink

from quic_interop.cases import CASES
from quic_interop.client import run
from quic_interop.connection import Patience
from quic_interop.server import Running

KB, MB = 1024, 1024 * 1024
# On loopback a lost first flight may be sent again sooner than on the runner's link of 30 ms.
HASTY = replace(CASES["multiconnect"], initial_rtt=0.005)
PATIENT = Patience(handshake=20.0, data=20.0, step=5.0)


@pytest.mark.parametrize(("count", "corrupt"), [(50, False), (10, True)], ids=["loss", "corruption"])
async def test_handshakes_where_three_in_ten_datagrams_are_hit(site: Site, count: int, corrupt: bool) -> None:
    """Every connection comes about, once, and every file is whole (handshakeloss, handshakecorruption)."""
    names = site.offer({f"file-{number:02}": KB for number in range(count)})
    link = LossyLink(seed=5, corrupt=corrupt)

    outcome = await meet(site, names, HASTY, link=link, patience=PATIENT)

    assert outcome.error == ""
    assert link.hit > count
    if not corrupt:  # a judge has no way to tell a corrupted connection id from another's
        assert outcome.against("multiconnect") == []
    assert {path.name for path in site.downloads.iterdir()} == set(names)
    assert all((site.downloads / name).read_bytes() == (site.www / name).read_bytes() for name in names)


@pytest.mark.parametrize("corrupt", [False, True], ids=["loss", "corruption"])
async def test_a_download_where_two_in_a_hundred_datagrams_are_hit(site: Site, corrupt: bool) -> None:
    """The file is whole, and there is one connection (transferloss, transfercorruption)."""
    link = LossyLink(seed=7, share=0.02, corrupt=corrupt)

    outcome = await meet(site, site.offer({"2m": 2 * MB}), "transfer", link=link, patience=PATIENT)

    assert outcome.error == ""
    assert link.hit > 10
    assert (site.downloads / "2m").read_bytes() == (site.www / "2m").read_bytes()
    assert len(outcome.facts) == 1


def test_the_same_seed_loses_the_same() -> None:
    """A run that failed can be had again."""
    one, other, third = LossyLink(1), LossyLink(1), LossyLink(2)
    lost = [[link(None, True, b"x", None) is None for _ in range(200)] for link in (one, other, third)]  # type: ignore[arg-type]

    assert lost[0] == lost[1] != lost[2]
    assert not any(all(lost[0][start : start + 4]) for start in range(197))


@pytest.mark.parametrize("rebinds", [200, 1500])
async def test_a_client_behind_a_nat_that_rebinds(site: Site, rebinds: int) -> None:
    """A new port is challenged by the first packet to it, and the download goes on (rebind-port)."""
    names = site.offer({"2m": 2 * MB})
    capture = Capture(at_client=False)
    with (
        closing(Running(site.server(CASES["transfer"]), link=capture)) as running,
        nat((HOST, running.listener.port), rebinds) as between,
    ):
        await run(site.client(CASES["transfer"], between.port, names), told=lambda line: None)

    (first, *others) = connections_of(capture.datagrams, secrets_of(site.keys))
    assert others == []
    first.datagrams = list(capture.datagrams)
    assert judge("rebind", Evidence([first], site.www, site.downloads, names)) == []
