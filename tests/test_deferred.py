"""A deferred module is loaded when somebody uses it, and only then; afterwards it is as if imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

BEGIN = "import sys; from pytest_moqt.deferred import defer\n"


def run(program: str) -> subprocess.CompletedProcess[str]:
    """A process of its own, since modules stay loaded in this one."""
    return subprocess.run([sys.executable, "-c", BEGIN + program], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    "program",
    [
        "defer('colorsys'); import colorsys; assert 'ONE_THIRD' not in vars(colorsys)",
        "defer('colorsys'); import colorsys; assert colorsys.hls_to_rgb(0, 0, 0) == (0, 0, 0)",
        "defer('colorsys'); from colorsys import hls_to_rgb; assert hls_to_rgb(0, 0, 0) == (0, 0, 0)",
        "defer('xml'); import xml, xml.sax; assert xml.sax.handler",
        "defer('xml'); import xml; first = xml; import xml.sax; assert first.sax is xml.sax",
        "import colorsys; defer('colorsys'); assert vars(sys.modules['colorsys'])['ONE_THIRD']",
    ],
)
def test_a_deferred_module_is_the_module(program: str) -> None:
    """Unloaded until used; any form of import works; one that is loaded already is left alone."""
    done = run(program)

    assert done.returncode == 0, done.stderr


def test_a_module_that_is_missing_shows_at_its_first_use() -> None:
    """As the ImportError that it would have been."""
    done = run("defer('nowhere'); import nowhere\ntry: nowhere.x\nexcept ImportError as error: print(error)")

    assert (done.stdout.strip(), done.stderr) == ("No module named 'nowhere'", "")


def test_certificates_are_checked_by_the_deferred_module() -> None:
    """What the command defers is whole when aioquic needs it after all."""
    done = run(
        "defer('service_identity')\n"
        "from aioquic import tls\n"
        "assert 'service_identity.cryptography' not in sys.modules\n"
        "assert issubclass(tls.service_identity.VerificationError, Exception)\n"
        "assert tls.service_identity.cryptography.verify_certificate_hostname\n"
    )

    assert done.returncode == 0, done.stderr
