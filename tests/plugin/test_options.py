"""Values given, the environment and the defaults: which counts, and what is refused."""

from __future__ import annotations

import pytest

from pytest_moqt import options
from pytest_moqt.options import OptionError, resolve

URL = "moqt://relay.example:4443"


def test_an_argument_comes_before_the_environment_and_that_before_the_default() -> None:
    """The order of precedence."""
    both = resolve(relay=URL, default_relay="https://c", environ={"RELAY_URL": "https://b"})
    named = resolve(default_relay="https://c", environ={"RELAY_URL": "https://b"})
    neither = resolve(default_relay="https://c", environ={})

    assert both is not None
    assert named is not None
    assert neither is not None
    assert (both.relay, named.relay, neither.relay) == (URL, "https://b", "https://c")
    assert resolve(environ={}) is None


@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_variable_is_an_unset_one(value: str) -> None:
    """`docker run -e NAME=` passes such."""
    names = ("RELAY_URL", "MOQT_DRAFT", "DRAFT", "MOQT_VERSIONS", "TLS_DISABLE_VERIFY", "SSL_CERT_FILE")

    options = resolve(default_relay=URL, environ=dict.fromkeys(names, value))

    assert options == resolve(default_relay=URL, environ={})


@pytest.mark.parametrize(
    ("environ", "drafts"),
    [
        ({"MOQT_DRAFT": "draft-16", "DRAFT": "14", "MOQT_VERSIONS": "18"}, (16,)),
        ({"DRAFT": "14", "MOQT_VERSIONS": "18"}, (14,)),
        ({"MOQT_VERSIONS": "16, 18"}, (16, 18)),
        ({"MOQT_DRAFT": "", "DRAFT": "moqt-18"}, (18,)),
        ({"MOQT_DRAFT": "DRAFT-18,18,moqt-16"}, (18, 16)),
    ],
)
def test_the_drafts_of_the_environment(environ: dict[str, str], drafts: tuple[int, ...]) -> None:
    """The first variable that is set, in any of the spellings; the order of a list is kept."""
    options = resolve(relay=URL, environ=environ)

    assert options is not None
    assert options.drafts == drafts
    assert options.drafts_given


def test_all_drafts_are_offered_by_default() -> None:
    """Newest first."""
    options = resolve(relay=URL, environ={})

    assert options is not None
    assert options.drafts == (22, 21, 20, 19, 18, 17, 16, 15, 14)
    assert not options.drafts_given


@pytest.mark.parametrize("text", ["13", "draft-99", "x", "18;16", ",", "draft-", "-1", "moq-00"])
def test_a_draft_that_is_not_spoken_names_those_that_are(text: str) -> None:
    """The sentence names the value, where it came from, and the good ones."""
    with pytest.raises(OptionError, match=r"MOQT_DRAFT is .*22, 21, 20, 19, 18, 17, 16, 15, 14"):
        resolve(relay=URL, environ={"MOQT_DRAFT": text})


@pytest.mark.parametrize("text", ["1", "true", "YES", " on "])
def test_yes(text: str) -> None:
    """Words that disable the check."""
    options = resolve(relay=URL, environ={"TLS_DISABLE_VERIFY": text})

    assert options is not None
    assert not options.verify
    assert options.tls == "certificate not checked"


@pytest.mark.parametrize("text", ["0", "false", "No", "off"])
def test_no(text: str) -> None:
    """`TLS_DISABLE_VERIFY=false` keeps checking."""
    options = resolve(relay=URL, environ={"TLS_DISABLE_VERIFY": text})

    assert options is not None
    assert options.verify


def test_neither_yes_nor_no() -> None:
    """A word that is neither is refused, with the good ones; the flag needs no variable."""
    with pytest.raises(OptionError, match="1, true, yes or 0, false, no"):
        resolve(relay=URL, environ={"TLS_DISABLE_VERIFY": "maybe"})

    options = resolve(relay=URL, disable_verify=True, environ={"TLS_DISABLE_VERIFY": "0"})
    assert options is not None
    assert not options.verify


@pytest.mark.parametrize(
    "url", ["http://x", "relay.example", "moqt://", "https://x:0", "https://x y", "quic://x"]
)
def test_a_url_that_cannot_be_dialled(url: str) -> None:
    """The sentence names the schemes, and the embedded relay."""
    with pytest.raises(OptionError, match=r"moqt://.*embedded|1 to 65535"):
        resolve(relay=url, environ={})


@pytest.mark.parametrize(("text", "seconds"), [("90", 90.0), ("2.5", 2.5), ("0", None)])
def test_seconds(text: str, seconds: float | None) -> None:
    """A number; 0 is no limit."""
    assert options.seconds(text, "--budget") == seconds


def test_how_long_a_soak_is_silent() -> None:
    """A number of seconds that is not 0; given or not, it is part of what a run is asked to do."""
    assert (options.soak(None), options.soak("1.5")) == (90.0, 1.5)
    given = resolve(relay=URL, soak_seconds="7", environ={})
    assert given is not None
    assert given.soak == 7.0
    for text in ("0", "0.0", "-1", "long"):
        with pytest.raises(OptionError, match=r"^--soak is .*: use a number of seconds above 0$"):
            options.soak(text)


@pytest.mark.parametrize("text", ["", "-1", "1m", "nan", "inf", "1e3"])
def test_no_seconds(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(OptionError, match=r"--budget is .* number of seconds"):
        options.seconds(text, "--budget")
