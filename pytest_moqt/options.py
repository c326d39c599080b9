"""What a run was asked to do: the relay, the drafts, TLS, names and time; a bad value names the good ones.

Rules:

- A command-line value comes before the environment, and that before the default.
- An empty variable is an unset one: `docker run -e NAME=` passes such.
- Nothing here imports pytest, so that the command can refuse a bad value before it loads anything.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pytest_moqt import catalog

DEFAULT_RELAY = "https://localhost:4443"
"The interface's default (TEST-CLIENT-INTERFACE.md)."
EMBEDDED = "embedded"
"The relay URL that stands for a relay of our own, started for the run."
DEFAULT_BUDGET = 90.0
"Seconds: the runner stops a client after 120, of which some 16 are the relay's start and stop."

TRANSPORTS = ("auto", "quic", "webtransport")
DRAFT_VARIABLES = ("MOQT_DRAFT", "DRAFT", "MOQT_VERSIONS")
"In order of precedence."

TRUE_WORDS = ("1", "true", "yes", "on")
FALSE_WORDS = ("0", "false", "no", "off")


class OptionError(ValueError):
    """A value that cannot be used; the text is one sentence that names the good ones."""


class RunOptions(NamedTuple):
    """What a run was asked to do."""

    relay: str
    "A URL, or `embedded`."
    transport: str = "auto"
    drafts: tuple[int, ...] = ()
    "Offered, in this order."
    drafts_given: bool = False
    "Whether the drafts were asked for; otherwise they are all that are spoken."
    verify: bool = True
    ca_file: str | None = None
    fixed_names: bool = False
    "Names on the wire exactly as specified, without a part that is unique to the case."
    retry_relay: str | None = None
    "The URL, or `embedded`, of the relay at a port that is known to send Retry."
    soak: float = catalog.SOAK_SECONDS
    "Seconds for which the cases of the profile `soak` are silent."

    @property
    def tls(self) -> str:
        """How the relay's certificate is checked, for the head of a report."""
        if not self.verify:
            return "certificate not checked"
        if self.relay == EMBEDDED:
            return "certificate checked against the embedded relay's own"
        named = self.ca_file or os.environ.get("SSL_CERT_FILE")
        if named:
            return f"certificate checked against {named}"
        return "certificate checked against the system's authorities"


def variable(environ: Mapping[str, str], *names: str) -> tuple[str, str] | None:
    """The first of these variables that is set and not empty, as (name, value)."""
    return next(((name, value) for name in names if (value := environ.get(name, "").strip())), None)


def truth(text: str, name: str) -> bool:
    """Read a yes or no.

    Raises:
        OptionError: It is neither.
    """
    word = text.strip().lower()
    if word in TRUE_WORDS:
        return True
    if word in FALSE_WORDS:
        return False
    raise OptionError(f"{name} is {text!r}: use 1, true, yes or 0, false, no")


def seconds(text: str, name: str) -> float | None:
    """Read a time limit; `0` is none.

    Raises:
        OptionError: It is no number of seconds.
    """
    if not re.fullmatch(r"\d{1,6}(\.\d{1,6})?", text.strip()):
        raise OptionError(f"{name} is {text!r}: use a number of seconds, or 0 for no limit")
    return float(text) or None


def soak(text: str | None) -> float:
    """Read how long the cases of the profile `soak` are silent; None or empty is the default.

    Raises:
        OptionError: It is no number of seconds, or none.
    """
    if not text:
        return catalog.SOAK_SECONDS
    # None for what is no number, too: there, 0 is not the absence of a limit.
    given = None
    with contextlib.suppress(OptionError):
        given = seconds(text, "--soak")
    if given is None:
        raise OptionError(f"--soak is {text!r}: use a number of seconds above 0")
    return given


def drafts(text: str, name: str) -> tuple[int, ...]:
    """Read a list of drafts: `18`, `draft-18`, `moqt-18`, separated by commas.

    Raises:
        OptionError: One of them is none that is spoken here.
    """
    from pytest_moqt.protocol.drafts import SUPPORTED

    numbers: list[int] = []
    for word in text.replace(",", " ").split():
        match = re.fullmatch(r"(?:draft-|moqt-)?(\d{1,3})", word.strip().lower())
        if match is None or int(match[1]) not in SUPPORTED:
            known = ", ".join(map(str, SUPPORTED))
            raise OptionError(
                f"{name} is {text!r}, but {word!r} is no draft spoken here: use {known} "
                f"(or draft-{SUPPORTED[0]}), or several with commas between, the preferred first"
            )
        if int(match[1]) not in numbers:
            numbers.append(int(match[1]))
    if not numbers:
        raise OptionError(f"{name} is {text!r}: use {', '.join(map(str, SUPPORTED))}")
    return tuple(numbers)


def drafts_given(argument: str | None, environ: Mapping[str, str]) -> tuple[int, ...] | None:
    """The drafts that were asked for, by argument or variable; None: none were.

    Raises:
        OptionError: See `drafts`.
    """
    named = ("--draft", argument) if argument else variable(environ, *DRAFT_VARIABLES)
    return None if named is None else drafts(named[1], named[0])


def words(given: Iterable[str]) -> list[str]:
    """Names given in several arguments, with commas or spaces between, each once."""
    return list(dict.fromkeys(word for text in given for word in text.replace(",", " ").split()))


def profiles(given: Iterable[str]) -> list[str]:
    """Read names of profiles.

    Raises:
        OptionError: One of them is none.
    """
    named = words(given)
    for name in named:
        if name not in catalog.PROFILES:
            raise OptionError(f"--profile is {name!r}: use {', '.join(catalog.PROFILES)}")
    return named


def levels(given: Iterable[str]) -> list[str]:
    """Read names of levels, in small letters or capitals.

    Raises:
        OptionError: One of them is none.
    """
    named = [word.lower() for word in words(given)]
    for name in named:
        if name not in catalog.LEVELS:
            raise OptionError(f"--level is {name!r}: use {', '.join(catalog.LEVELS)}")
    return named


def resolve(
    *,
    relay: str | None = None,
    draft: str | None = None,
    transport: str | None = None,
    ca_file: str | None = None,
    disable_verify: bool = False,
    fixed_names: bool = False,
    retry_relay: str | None = None,
    soak_seconds: str | None = None,
    default_relay: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> RunOptions | None:
    """Bring the values given, the environment and the defaults together, and check them.

    Args:
        relay: And the following: as given on a command line; None or empty is not given.
        draft: See `drafts`.
        transport: One of TRANSPORTS.
        ca_file: Path of a PEM file.
        disable_verify: True when the flag was given.
        fixed_names: Likewise.
        retry_relay: The URL of another port.
        soak_seconds: See `soak`.
        default_relay: The URL when none is given.
        environ: The environment; the process's own when None.

    Returns:
        None when there is no relay at all.

    Raises:
        OptionError: A value cannot be used.
    """
    environ = os.environ if environ is None else environ
    url = relay or (variable(environ, "RELAY_URL") or ("", ""))[1] or default_relay
    if not url:
        return None
    transport = transport or "auto"
    if transport not in TRANSPORTS:
        raise OptionError(f"--transport is {transport!r}: use {', '.join(TRANSPORTS)}")
    named = drafts_given(draft, environ)
    if named is not None:
        offered = named
    else:
        from pytest_moqt.protocol.drafts import SUPPORTED

        offered = SUPPORTED
    verify = not disable_verify
    if verify and (found := variable(environ, "TLS_DISABLE_VERIFY")):
        verify = not truth(found[1], found[0])
    options = RunOptions(
        relay=url,
        transport=transport,
        drafts=offered,
        drafts_given=named is not None,
        verify=verify,
        ca_file=ca_file or None,
        fixed_names=fixed_names,
        retry_relay=retry_relay or None,
        soak=soak(soak_seconds),
    )
    _check(options)
    return options


def _check(options: RunOptions) -> None:
    for name, url in (("", options.relay), ("--retry-relay: ", options.retry_relay)):
        if url is None or url == EMBEDDED:
            continue
        from pytest_moqt.client.url import RelayUrlError, parse_relay_url

        try:
            parse_relay_url(url, options.transport)  # type: ignore[arg-type]  # checked by caller
        except RelayUrlError as error:
            raise OptionError(f"{name}{error}, or {EMBEDDED}") from None
    if options.ca_file is not None or (options.verify and os.environ.get("SSL_CERT_FILE")):
        from pytest_moqt.client.tls import TlsFileError, TlsOptions

        try:
            # A file named here must be good, even when it will not be needed; TLS itself reads SSL_CERT_FILE.
            TlsOptions(verify=True, ca_file=options.ca_file).check()
        except TlsFileError as error:
            raise OptionError(str(error)) from None
