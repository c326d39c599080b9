"""`decode` and `encode`: what is read is shown with its place, what is not is said with its reason."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_moqt.wire import EXIT_MALFORMED, EXIT_OK, EXIT_USAGE, main

VECTORS = Path(__file__).parent / "vectors"
SUBSCRIBE_18 = "0300280002086d6f712d7465737407696e7465726f700a746573742d747261636b04100110800101020101"
SUBGROUP_18 = "5401000080000461626364000465666768"


def decoded(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    """What `decode --json` prints."""
    assert main(["decode", "--json", *arguments]) == EXIT_OK
    return json.loads(capsys.readouterr().out)


def test_a_message_is_a_table_with_offsets(capsys: pytest.CaptureFixture[str]) -> None:
    """Each field stands at its offset, with its bytes and its value."""
    code = main(["decode", "--draft", "18", SUBSCRIBE_18])

    lines = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    assert code == EXIT_OK
    assert [line[0] for line in lines] == ["0", "1", "3", "4", "33"]
    assert lines[0] == ["0", "03", "type                      SUBSCRIBE (0x3)"]
    assert lines[4][2].startswith("parameters")
    assert '"SUBSCRIPTION_FILTER": {"type": "LARGEST_OBJECT"}' in lines[4][2]


@pytest.mark.parametrize(
    ("draft", "arguments", "octets"),
    [
        ("18", [], SUBSCRIBE_18),
        ("14", [], "05000c0004096e6f7420666f756e64"),  # SUBSCRIBE_ERROR, one of six that say RequestError
        ("14", [], "0e0006000000010000"),  # TRACK_STATUS_OK, a RequestOk
        ("16", ["--from", "client"], "20000401024064"),
        ("18", ["--stream", "subgroup"], SUBGROUP_18),
        ("18", ["--stream", "fetch"], "05021c03008004616263640001650c0000016604050167"),
        ("18", ["--stream", "datagram"], "000100058064617461"),
    ],
)
def test_what_decode_prints_encode_reads(
    capsys: pytest.CaptureFixture[str], draft: str, arguments: list[str], octets: str
) -> None:
    """Bytes to JSON and back are the same bytes."""
    if main(["decode", "--json", "--draft", draft, *arguments, octets]) != EXIT_OK:
        pytest.fail(capsys.readouterr().err)
    said = capsys.readouterr().out
    sender = arguments if "--from" in arguments else []

    code = main(["encode", "--draft", draft, *sender, said])

    assert code == EXIT_OK
    assert "".join(capsys.readouterr().out.split()) == octets


def test_bytes_come_from_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Colons, white space and 0x are what people paste."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("0x07:00:02\n00 00\n"))

    (message,) = decoded(capsys, "--draft", "16", "-")

    assert message["name"] == "REQUEST_OK"


@pytest.mark.parametrize(
    ("arguments", "offset", "words"),
    [
        (["--draft", "14", "1100030100 00"], 4, "a Track Namespace Prefix of 0 fields"),
        (["--draft", "18", "0700"], 0, "no whole message"),
        (["--draft", "18", "0700010000"], 4, "no whole message"),
        (["--draft", "18", "070002000000"], 3, ""),
        (["--draft", "18", "3e0000"], 0, "defines no message of type 0x3e"),
        (["--draft", "18", "--stream", "subgroup", SUBGROUP_18 + "00"], 17, "into an object"),
        (["--draft", "18", "--stream", "datagram", "22010005"], 0, "no datagram of type 0x22"),
    ],
)
def test_malformed_bytes_say_where_and_why(
    capsys: pytest.CaptureFixture[str], arguments: list[str], offset: int, words: str
) -> None:
    """What could be read is printed, then the place and the reason; the exit code is 1."""
    code = main(["decode", *arguments])

    said = capsys.readouterr().err
    assert code == EXIT_MALFORMED
    assert words in said
    if words:
        assert f"stopped at offset {offset}:" in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "no JSON"),
        ("[1]", "a message is an object"),
        ('{"message": "Nope"}', "'Nope' is no message"),
        ('{"message": "Subscribe", "nope": 1}', "no field 'nope'"),
        ('{"message": "Subscribe", "track_namespace": ["a"]}', "needs track_name"),
        ('{"message": "SubscribeOk", "track_alias": "1"}', "must be a whole number"),
        ('{"message": "UnsubscribeNamespace"}', "has no UnsubscribeNamespace message"),
        ('{"message": "StreamObject", "object_id": 0}', "a stream begins with its header"),
        (
            '{"message": "Subscribe", "track_namespace": ["a"], "track_name": "", "parameters": {"NOPE": 1}}',
            "no such key",
        ),
    ],
)
def test_json_that_means_nothing_says_why(capsys: pytest.CaptureFixture[str], text: str, words: str) -> None:
    """One sentence with the place in the JSON."""
    code = main(["encode", "--draft", "18", text])

    said = capsys.readouterr().err
    assert code == EXIT_MALFORMED
    assert words in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("text", ["zz", "070"])
def test_input_that_is_no_hexadecimal_is_refused(capsys: pytest.CaptureFixture[str], text: str) -> None:
    """The digit at fault is named."""
    assert main(["decode", "--draft", "18", text]) == EXIT_USAGE
    assert "at digit" in capsys.readouterr().err


@pytest.mark.parametrize("draft", [14, 16, 18])
def test_every_vector_is_the_same_after_json(capsys: pytest.CaptureFixture[str], draft: int) -> None:
    """The notation loses nothing: all control messages of the vectors survive it."""
    vectors = json.loads((VECTORS / f"draft{draft}.json").read_text())

    assert vectors["messages"]
    for vector in vectors["messages"]:
        if vector.get("canonical", True):
            sender = vector.get("sender", "client")
            assert (
                main(["decode", "--json", "--draft", str(draft), "--from", sender, vector["hex"]]) == EXIT_OK
            )
            said = capsys.readouterr().out
            assert main(["encode", "--draft", str(draft), "--from", sender, said]) == EXIT_OK
            assert capsys.readouterr().out.strip() == vector["hex"], vector


def test_neither_needs_pytest_or_a_quic_stack() -> None:
    """Both start as fast as `--list` does."""
    program = (
        "import sys; from pytest_moqt.cli import main; main(['decode', '--draft', '18', '07000100']); "
        "assert not {'pytest', 'aioquic', 'asyncio', 'yaml'} & set(sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
