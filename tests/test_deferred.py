"""A deferred module is loaded when somebody uses it, and only then; afterwards it is as if imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

BEGIN = """\
import sys
from pytest_moqt import deferred
from pytest_moqt.deferred import defer, defer_package
def real(name): return type(sys.modules.get(name)).__name__ == "module"
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    """A process of its own, since modules stay loaded in this one."""
    return subprocess.run([sys.executable, "-c", BEGIN + program], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    "program",
    [
        "defer({'colorsys': ()}); import colorsys; assert not real('colorsys')",
        "defer({'colorsys': ()}); import colorsys; assert colorsys.hls_to_rgb(0, 0, 0) == (0, 0, 0)",
        "defer({'colorsys': ()}); from colorsys import hls_to_rgb as f; assert f(0, 0, 0) == (0, 0, 0)",
        "defer({'colorsys': ()}); import colorsys; colorsys.ONE_THIRD; assert real('colorsys')",
        "defer({'xml': ()}); import xml, xml.sax; assert xml.sax.handler",
        "defer({'xml': ()}); import xml; first = xml; import xml.sax; assert first.sax is xml.sax",
        "import colorsys; defer({'colorsys': ()}); assert real('colorsys')",
        # Below a package that is imported.
        "import xml; defer({'xml.sax': ()}); import xml.sax; assert not real('xml.sax')",
        "import xml; defer({'xml.sax': ()}); import xml.sax; assert xml.sax.handler; assert real('xml.sax')",
        "import xml; defer({'xml.sax': ()}); from xml.sax import handler; assert handler.feature_namespaces",
    ],
)
def test_a_deferred_module_is_the_module(program: str) -> None:
    """Unloaded until used; any form of import works; one that is loaded already is left alone."""
    done = run(program)

    assert done.returncode == 0, done.stderr


def test_a_module_that_is_missing_shows_at_its_first_use() -> None:
    """As the ImportError that it would have been."""
    done = run(
        "defer({'nowhere': ()}); import nowhere\ntry: nowhere.x\nexcept ImportError as error: print(error)"
    )

    assert (done.stdout.strip(), done.stderr) == ("No module named 'nowhere'", "")


@pytest.mark.parametrize(
    "program",
    [
        "from colorsys import hls_to_rgb; assert not real('colorsys')",
        "from colorsys import hls_to_rgb; assert hls_to_rgb(0, 0, 0) == (0, 0, 0) and real('colorsys')",
        "from fractions import Fraction; assert not hasattr(Fraction, '_x') and not real('fractions')",
        "from fractions import Fraction; assert Fraction.from_float(0.5) == 0.5 and real('fractions')",
        # A name that was not expected.
        "from colorsys import rgb_to_hls; assert rgb_to_hls(0, 0, 0) == (0, 0, 0)",
        # The use of one is the use of all, since they may import each other.
        "import colorsys, this; this.s; assert real('this') and real('colorsys')",
    ],
)
def test_a_name_that_is_taken_from_a_deferred_module(program: str) -> None:
    """It may be taken without the module, and is what it stands for when it is used."""
    done = run(f"defer({{'colorsys': ['hls_to_rgb'], 'fractions': ['Fraction'], 'this': []}}); {program}")

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "program",
    [
        "import xml.sax.handler; assert real('xml.sax.handler') and not real('xml')",
        "import xml.sax; assert xml.sax.handler and not real('xml')",
        "import xml.sax; first = xml; assert xml.__doc__ is None and xml.__file__; assert real('xml')",
        "from xml import sax; assert sax.handler",
    ],
)
def test_a_package_whose_own_code_is_deferred(program: str) -> None:
    """Its modules are imported as ever."""
    done = run(f"defer_package('xml'); {program}")

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["nowhere", "colorsys"])
def test_what_is_no_package_is_left_alone(name: str) -> None:
    """The import says what there is to say."""
    done = run(f"defer_package({name!r}); assert {name!r} not in sys.modules")

    assert done.returncode == 0, done.stderr


def test_certificates_are_checked_by_the_deferred_modules() -> None:
    """What the command defers is whole when aioquic needs it after all."""
    done = run(
        "defer(deferred.CERTIFICATE_CHECK)\n"
        "from aioquic import tls\n"
        "assert 'service_identity.cryptography' not in sys.modules and 'OpenSSL.SSL' not in sys.modules\n"
        "assert issubclass(tls.service_identity.VerificationError, Exception)\n"
        "assert tls.service_identity.cryptography.verify_certificate_hostname\n"
        "assert issubclass(tls.crypto.X509StoreContextError, Exception)\n"
    )

    assert done.returncode == 0, done.stderr


def test_source_lines_are_coloured_by_the_deferred_modules() -> None:
    """What the command defers is whole when pytest needs it after all."""
    done = run(
        "import io\n"
        "defer(deferred.COLOURS)\n"
        "from _pytest._io import TerminalWriter\n"
        "assert not real('pygments')\n"
        "writer = TerminalWriter(io.StringIO())\n"
        "writer.hasmarkup = True\n"
        "assert '\\x1b[' in writer._highlight('assert True', 'python')\n"
        "assert real('pygments')\n"
    )

    assert done.returncode == 0, done.stderr


def test_keys_of_ssh_are_read_by_the_deferred_module() -> None:
    """What the command defers is whole when cryptography needs it after all."""
    done = run(
        "defer(deferred.SSH)\n"
        "from cryptography.hazmat.primitives import serialization\n"
        "assert not real('cryptography.hazmat.primitives.serialization.ssh')\n"
        "try: serialization.load_ssh_public_key(b'nothing')\n"
        "except ValueError as error: print(error)\n"
        "assert real('cryptography.hazmat.primitives.serialization.ssh')\n"
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout == "Invalid line format\n"


def test_the_plugin_of_pytest_asyncio_is_the_one_of_its_package() -> None:
    """What the command defers is whole when a test uses it."""
    done = run(
        "defer(deferred.METADATA); defer_package('pytest_asyncio')\n"
        "import pytest_asyncio.plugin\n"
        "assert not real('pytest_asyncio') and not real('importlib.metadata')\n"
        "assert pytest_asyncio.fixture is pytest_asyncio.plugin.fixture\n"
        "import importlib.metadata\n"
        "assert pytest_asyncio.__version__ == importlib.metadata.version('pytest-asyncio')\n"
    )

    assert done.returncode == 0, done.stderr


def test_a_run_uses_nothing_that_it_defers() -> None:
    """Otherwise deferring it would gain nothing."""
    done = run(
        "import os\n"
        "groups = deferred.CERTIFICATE_CHECK, *deferred.UNUSED\n"
        "names = [*(name for group in groups for name in group), 'pytest_asyncio']\n"
        "before = set(sys.modules)\n"
        "stderr = os.dup(2)\n"
        "from pytest_moqt.cli import main\n"
        "main(['--relay', 'embedded', '--tls-disable-verify', '-t', 'setup-only'])\n"
        "used = [name for name in names if real(name) and name not in before]\n"
        "os.write(stderr, f'used: {used}'.encode())\n"
    )

    assert "\nok 1 - setup-only" in done.stdout
    assert done.stderr == "used: []"
