"""Modules that a dependency imports and this run never uses: imported when somebody does use them."""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Group = Mapping[str, Sequence[str]]
    "Names of modules, each with the names that others take from it by `from module import name`."

CERTIFICATE_CHECK: Group = {"service_identity": (), "OpenSSL": ("crypto",)}
"aioquic's check of certificates, and a third of its import."
COLOURS: Group = {
    "pygments": (),
    "pygments.formatters.terminal": ("TerminalFormatter",),
    "pygments.lexer": ("Lexer",),
    "pygments.lexers.diff": ("DiffLexer",),
    "pygments.lexers.python": ("PythonLexer",),
}
"How pytest colours source lines."
METADATA: Group = {"importlib.metadata": ()}
"Of all that is installed: for plugins that pytest is to find, and the version of pytest-asyncio."
SSH: Group = {
    "cryptography.hazmat.primitives.serialization.ssh": (
        *("SSHCertificate", "SSHCertificateBuilder", "SSHCertificateType", "SSHCertPrivateKeyTypes"),
        *("SSHCertPublicKeyTypes", "SSHPrivateKeyTypes", "SSHPublicKeyTypes", "load_ssh_private_key"),
        *("load_ssh_public_identity", "load_ssh_public_key", "serialize_ssh_private_key"),
        *("serialize_ssh_public_key", "ssh_key_fingerprint"),
    )
}
"Keys in OpenSSH's forms."
UNUSED: Sequence[Group] = (
    COLOURS,
    METADATA,
    SSH,
    # What pytest-asyncio says of one function.
    {"typing_extensions": ("TypeIs",)},
    # For folders that pytest moves out of the way before it deletes them.
    {"uuid": ()},
    # For a terminal that pytest's debugger reads from.
    {"readline": ()},
)
"Groups that no run of the command uses: an eighth of its time before the first case."


def defer(group: Group) -> None:
    """Import the modules of a group at the first use of any of them instead of at their import.

    Nothing is done when one of them is imported already. Whether there is such a module shows at its
    first use too.

    Args:
        group: The modules. `import module` is no use, nor is `from module import name` for the names that
            are given for it; for any other name it is.
            A name that is taken can be called, and its public attributes be asked for; it is no class to
            derive from. A module that names are taken from must not be imported as a package.
    """
    if any(name in sys.modules for name in group):
        return
    for name in group:
        sys.modules[name] = module = _Module(name, group)
        parent, _, child = name.rpartition(".")
        if parent in sys.modules:
            setattr(sys.modules[parent], child, module)


def defer_package(name: str) -> None:
    """Let modules of a package be imported without the package's own `__init__`, until that is used.

    Args:
        name: The package.
    """
    spec = None if name in sys.modules else find_spec(name)
    if spec is not None and spec.submodule_search_locations is not None:
        sys.modules[name] = package = _Module(name, {name: ()})
        package.__path__ = list(spec.submodule_search_locations)


class _Module(ModuleType):
    """Stands in `sys.modules` for a module, and becomes a window on it at the first attribute asked for.

    `importlib.util.LazyLoader` is the library's way, but before Python 3.12 the import statement itself
    makes it load.
    """

    def __init__(self, name: str, group: Group) -> None:
        super().__init__(name)
        self._group = group
        vars(self).update({taken: _Name(self, taken) for taken in group[name]})

    def __getattr__(self, name: str) -> Any:
        if name == "__path__" and self._group[self.__name__]:
            # The import statement asks for it before it takes a name.
            raise AttributeError(name)
        return getattr(self._loaded(), name)

    def _loaded(self) -> ModuleType:
        """The module itself.

        Raises:
            ImportError: There is none.
        """
        if sys.modules.get(self.__name__) is self:
            # All at once: they import each other.
            for name in self._group:
                if isinstance(sys.modules.get(name), _Module):
                    del sys.modules[name]
            for name in self._group:
                importlib.import_module(name)
        return importlib.import_module(self.__name__)


class _Name:
    """Stands for what `from module import name` takes."""

    def __init__(self, module: _Module, name: str) -> None:
        self._module = module
        self._name = name

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._taken()(*arguments, **named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            # pytest looks at all that a plugin's module has, for what may be a fixture or a mock.
            raise AttributeError(name)
        return getattr(self._taken(), name)

    def _taken(self) -> Any:
        return getattr(self._module._loaded(), self._name)
