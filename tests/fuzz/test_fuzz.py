"""The fuzzer finds what is there to be found, makes it small, and finds nothing in what it is for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Hashable
from pathlib import Path

import pytest

from pytest_moqt.protocol import fields
from pytest_moqt.protocol.buffer import Reader
from pytest_moqt.protocol.drafts import DRAFTS
from pytest_moqt.protocol.errors import RemoteProtocolError
from pytest_moqt.protocol.framing import FrameBuffer, decode
from pytest_moqt.protocol.layouts import Sender, layouts_of
from tests.fuzz import corpus, seeds
from tests.fuzz.__main__ import EXIT_FOUND, EXIT_OK, main
from tests.fuzz.engine import Finding, Fuzzer, Target
from tests.fuzz.targets import TARGETS

BY_NAME = {target.name: target for target in TARGETS}
FEW = 4000
"Inputs within which a planted bug is to be found; a minute makes ten times as many."


def hunt(target: Target, seed: int = 1, inputs: int = FEW) -> Finding:
    """What is found in a target within so many inputs."""
    fuzzer = Fuzzer(target, seed, [entry.octets for entry in corpus.load(target.name)] or [b"seed"])
    finding = fuzzer.replay()
    while finding is None and fuzzer.count < inputs:
        finding = fuzzer.step()
    assert finding is not None, f"nothing found in {inputs} inputs"
    return finding


def planted(run: Callable[[bytes], Hashable]) -> Target:
    """A target that is its own bug."""
    return Target("planted", "a bug", run)


# ---- the corpus ------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS, ids=list(BY_NAME))
def test_the_corpus_is_clean(target: Target) -> None:
    """Every seed, and every input that was once a finding, is taken as it should be, within its bounds."""
    fuzzer = Fuzzer(target, 0, [])
    entries = corpus.load(target.name)

    found = {entry.name: finding for entry in entries if (finding := fuzzer.judge(entry.octets))}

    assert entries
    assert found == {}


@pytest.mark.parametrize("name", seeds.SEEDS)
def test_the_seeds_are_fresh(name: str) -> None:
    """The files hold what `python -m tests.fuzz.seeds` writes."""
    assert corpus.path(name).read_text(encoding="ascii") == seeds.text_of(name)


def test_every_message_of_every_draft_is_a_seed() -> None:
    """A row that nobody begins with is one that chance must find."""
    seen = set()
    for entry in corpus.load("control"):
        draft = DRAFTS[entry.octets[0]]
        frame = FrameBuffer(draft, entry.octets[2:]).take()
        if frame is not None:
            try:
                seen.add((draft.number, decode(frame, draft, list(Sender)[1 - entry.octets[1]])[1]))
            except RemoteProtocolError:
                continue

    assert {(draft.number, row) for draft in DRAFTS.values() for row in layouts_of(draft)} <= seen


def test_every_target_has_seeds() -> None:
    """And every file of seeds is a target's."""
    assert set(seeds.SEEDS) == set(BY_NAME)
    files = {path.name.split(".")[0] for path in corpus.FOLDER.iterdir()}
    assert files == set(BY_NAME)


def test_corpus_files_are_read_as_they_are_written() -> None:
    """Names and hexadecimal, `-` for nothing, and comments."""
    entries = [corpus.Entry("one", b"\x01"), corpus.Entry("none", b"")]

    assert corpus.read("# why\n\n" + corpus.written(entries)) == entries


# ---- planted bugs ----------------------------------------------------------------------------------


def _fails_on_three_bytes(octets: bytes) -> Hashable:
    if octets[:1] == b"s":
        if b"\xff" in octets[1:]:
            if octets.endswith(b"\x00"):
                raise IndexError("planted")
            return "near"
        return "begun"
    return "far"


def test_a_planted_bug_is_found_and_made_small() -> None:
    """What needs three things at once is found step by step, and nothing else is left of the input."""
    finding = hunt(planted(_fails_on_three_bytes))

    assert finding.error == "IndexError: planted"
    assert finding.octets == b"s\xff\x00"
    assert finding.found_as >= 3
    assert "_fails_on_three_bytes" in finding.trace


def test_a_bug_of_the_codec_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that is empty where the reader expects a byte is an IndexError and no RemoteProtocolError."""
    pull = fields.pull_pair_value

    def careless(reader: Reader, number: int) -> int | bytes:
        value = pull(reader, number)
        return value if isinstance(value, int) else bytes([value[0]]) + value[1:]

    monkeypatch.setattr(fields, "pull_pair_value", careless)

    finding = hunt(BY_NAME["control"])

    assert finding.place[:2] == ("IndexError", "test_fuzz.py")
    assert len(finding.octets) < 40
    assert Fuzzer(BY_NAME["control"], 0, []).judge(finding.octets) is not None
    monkeypatch.undo()
    assert Fuzzer(BY_NAME["control"], 0, []).judge(finding.octets) is None


def test_a_bug_of_fragmentation_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A buffer that forgets a type cut in two gives other frames by the byte than at once."""
    feed = FrameBuffer.feed

    def forgetful(buffer: FrameBuffer, data: bytes) -> None:
        if len(buffer.pending) == 1:
            buffer.__init__(buffer.draft)  # type: ignore[misc]
        feed(buffer, data)

    monkeypatch.setattr(FrameBuffer, "feed", forgetful)

    finding = hunt(BY_NAME["control"])

    assert "frames depend on how their bytes are cut" in finding.error


def _never_ends(octets: bytes) -> Hashable:
    while octets[:1] == b"\x07":
        try:
            sum(range(1000))
        except Exception:
            continue
    return octets[:1]


def test_a_run_without_end_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that swallows every exception is stopped all the same, and is a finding."""
    monkeypatch.setattr("tests.fuzz.engine.SLOW_SECONDS", 0.05)
    monkeypatch.setattr("tests.fuzz.engine.MINIMISE_SECONDS", 1.0)

    finding = hunt(planted(_never_ends))

    assert finding.error.endswith("Slow: more than 0.05 s for one input")
    assert finding.octets[:1] == b"\x07"


def test_too_much_memory_is_found() -> None:
    """A length that is believed before its bytes are there."""

    def believes(octets: bytes) -> Hashable:
        return len(bytes(int.from_bytes(octets[:4], "big") % (1 << 26))).bit_length()

    finding = hunt(planted(believes))

    assert finding.place[0] == "TooMuchMemory"
    assert len(finding.octets) == 4


# ---- the same again --------------------------------------------------------------------------------


def _inputs(target: Target, seed: int, count: int) -> list[bytes]:
    seen: list[bytes] = []

    def run(octets: bytes) -> Hashable:
        seen.append(octets)
        return target.run(octets)

    watched = Target(target.name, target.what, run, target.words, target.repair, target.size)
    fuzzer = Fuzzer(watched, seed, [entry.octets for entry in corpus.load(target.name)][:20])
    for _ in range(count):
        assert fuzzer.step() is None
    return seen


@pytest.mark.parametrize("name", ["control", "datagram", "capsules"])
def test_the_same_seed_makes_the_same_inputs(name: str) -> None:
    """And another one makes others."""
    target = BY_NAME[name]

    assert _inputs(target, 3, 150) == _inputs(target, 3, 150)
    assert _inputs(target, 3, 50) != _inputs(target, 4, 50)


# ---- the command -----------------------------------------------------------------------------------


def test_the_command_finds_nothing_in_a_few_inputs(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing on standard output, progress on standard error, exit code 0."""
    assert main(["--seed", "5", "--inputs", "20"]) == EXIT_OK

    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("seed 5\n")
    assert all(f"{target.name} 20 (" in said.err for target in TARGETS)


def test_a_finding_says_how_to_run_it_again(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Target, seed, input, traceback and command; a file only where one was asked for."""
    target = planted(_fails_on_three_bytes)

    assert main(["--seed", "1", "--save", str(tmp_path / "found")], [target]) == EXIT_FOUND

    said = capsys.readouterr()
    assert said.out.startswith("FOUND in planted: IndexError: planted\nseed 1, input number ")
    assert "\ninput: 73ff00\nTraceback (most recent call last):\n" in said.out
    assert said.out.endswith("again: python -m tests.fuzz --target planted --input 73ff00\n")
    (file,) = (tmp_path / "found").iterdir()
    assert [entry.octets for entry in corpus.read(file.read_text(encoding="ascii"))] == [b"s\xff\x00"]
    assert main(["--target", "planted", "--input", "73ff00"], [target]) == EXIT_FOUND
    assert main(["--target", "planted", "--input", "73"], [target]) == EXIT_OK


def test_it_runs_from_the_root_of_a_checkout() -> None:
    """As `make fuzz` starts it."""
    root = Path(__file__).parents[2]

    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--seed", "1", "--inputs", "1", "--target", "integers"],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--target", "nothing"], "invalid choice: 'nothing'"),
        (["--input", "00"], "--input goes with one --target"),
        (["--target", "control", "--input", "0g"], "'0g' is not hexadecimal"),
    ],
)
def test_wrong_arguments_are_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    """With what is wrong, and exit code 2."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)

    assert caught.value.code == 2
    assert words in capsys.readouterr().err


def test_help_names_every_target(capsys: pytest.CaptureFixture[str]) -> None:
    """With what it is."""
    with pytest.raises(SystemExit):
        main(["--help"])

    said = capsys.readouterr().out
    assert all(f"  {target.name:<10} {target.what}\n" in said for target in TARGETS)
