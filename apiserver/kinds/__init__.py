"""The kinds this server knows from the start, one module each: everything about a kind stands in its module.

Interface: `builtin()`. Adding a kind is adding a module with a `Kind` in it.
"""

from __future__ import annotations

import importlib
import pkgutil

from apiserver.registry.kind import Kind


def builtin() -> list[Kind]:
    """Every `Kind` that a module of this package defines."""
    modules = [importlib.import_module(f"{__name__}.{each.name}") for each in pkgutil.iter_modules(__path__)]
    return [value for module in modules for value in vars(module).values() if isinstance(value, Kind)]
