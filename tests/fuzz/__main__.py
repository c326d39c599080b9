"""Feeds made-up bytes to everything that reads a peer's: `python -m tests.fuzz --seconds 60`."""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz import corpus
from tests.fuzz.corpus import Entry
from tests.fuzz.engine import Finding, Fuzzer, Target
from tests.fuzz.targets import TARGETS

EXIT_OK, EXIT_FOUND = 0, 1
TURN_SECONDS = 0.25
"That each target has before the next; its inputs do not depend on that."
PROGRESS_SECONDS = 10.0


def main(argv: Sequence[str] | None = None, targets: Sequence[Target] = TARGETS) -> int:
    """Run the command.

    Returns:
        The exit code: 0 when nothing was found, 1 when something was.
    """
    arguments = _parser(targets).parse_args(argv)
    named = [target for target in targets if target.name in arguments.target] or list(targets)
    seed = arguments.seed if arguments.seed is not None else int.from_bytes(os.urandom(4), "big")
    fuzzers = [Fuzzer(target, seed, [entry.octets for entry in corpus.load(target.name)]) for target in named]
    if arguments.input is not None:
        if len(named) != 1:
            _parser(targets).error("--input goes with one --target")
        finding = fuzzers[0].judge(arguments.input)
    else:
        print(f"seed {seed}", file=sys.stderr)
        finding = _fuzz(fuzzers, arguments.seconds, arguments.inputs)
    if finding is None:
        return EXIT_OK
    sys.stdout.write(finding.report(seed))
    if arguments.save is not None:
        _save(finding, arguments.save)
    return EXIT_FOUND


def _parser(targets: Sequence[Target]) -> argparse.ArgumentParser:
    listed = "\n".join(f"  {target.name:<10} {target.what}" for target in targets)
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz",
        description=(
            "Feed made-up bytes to everything that reads a peer's. Whatever is raised that may not be,\n"
            "takes too long or too much memory, or depends on how bytes are cut, is printed with a small\n"
            "input that shows it and the command that runs it again. The same seed makes the same inputs."
        ),
        epilog=f"targets:\n{listed}\n\nexit code: 0 nothing was found, 1 something was, 2 wrong arguments",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--seconds", type=float, default=60.0, metavar="N", help="for all targets together (default 60)"
    )
    parser.add_argument(
        "--inputs", type=int, metavar="N", help="at most so many made-up inputs for each target"
    )
    parser.add_argument("--seed", type=int, metavar="S", help="a whole number (default: by chance, printed)")
    parser.add_argument(
        "--target",
        action="append",
        default=[],
        choices=[target.name for target in targets],
        metavar="NAME",
        help="one of those below; may be repeated (default: all)",
    )
    parser.add_argument(
        "--input", type=_octets, metavar="HEX", help="run this input of one target, and nothing else"
    )
    parser.add_argument(
        "--save",
        type=Path,
        metavar="DIR",
        help="write what is found to a file there; otherwise none is written",
    )
    return parser


def _octets(text: str) -> bytes:
    try:
        return b"" if text == "-" else bytes.fromhex(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not hexadecimal") from None


def _fuzz(fuzzers: Sequence[Fuzzer], seconds: float, inputs: int | None) -> Finding | None:
    """The corpus of each target, then made-up inputs of all in turn; the first finding ends it."""
    began = time.monotonic()
    told = began
    for fuzzer in fuzzers:
        if (finding := fuzzer.replay()) is not None:
            return finding
    while (now := time.monotonic()) - began < seconds:
        going = [fuzzer for fuzzer in fuzzers if inputs is None or fuzzer.count < inputs]
        if not going:
            break
        for fuzzer in going:
            turn = time.monotonic() + TURN_SECONDS
            while time.monotonic() < turn and (inputs is None or fuzzer.count < inputs):
                if (finding := fuzzer.step()) is not None:
                    return finding
        if now - told >= PROGRESS_SECONDS:
            told = now
            _tell(fuzzers, now - began)
    _tell(fuzzers, time.monotonic() - began)
    return None


def _tell(fuzzers: Sequence[Fuzzer], seconds: float) -> None:
    counts = ", ".join(f"{fuzzer.target.name} {fuzzer.count} ({fuzzer.kinds})" for fuzzer in fuzzers)
    print(f"{seconds:.0f} s, inputs (and kinds of outcome): {counts}", file=sys.stderr)


def _save(finding: Finding, folder: Path) -> None:
    name = hashlib.sha256(finding.octets).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{finding.target}-{name}.hex"
    file.write_text(corpus.written([Entry(name, finding.octets)]), encoding="ascii")
    print(f"written to {file}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
