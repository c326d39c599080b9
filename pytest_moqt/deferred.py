"""Modules that one dependency imports and this run never uses: imported when somebody does use them."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any


class _Deferred(ModuleType):
    """Stands in `sys.modules` for a module, and becomes a window on it at the first attribute asked for.

    `importlib.util.LazyLoader` is the library's way, but before Python 3.12 the import statement itself
    makes it load.
    """

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def defer(name: str) -> None:
    """Import the module `name` at its first use instead of at `import name`.

    Only `import name` gains by it: `from name import …` is a use. Whether there is such a module shows
    at its first use too.
    """
    if name not in sys.modules:
        sys.modules[name] = _Deferred(name)
