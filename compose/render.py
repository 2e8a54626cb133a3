"""Manifests as a file a person would write: a comment on each part, keys in their usual order. Pure."""

from __future__ import annotations

from typing import Any

import yaml

from compose.convert import Conversion, Manifest

_Base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(_Base):  # type: ignore[misc]
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _string(dumper: Any, text: str) -> Any:
    """Blocks for several lines, quotes for what reads as something else (YAML 1.1's words among it)."""
    style = "|" if "\n" in text and not text.startswith((" ", "\n")) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _string)


def render(conversion: Conversion) -> str:
    head = f"# Made of the Compose project {conversion.project.name} by `minikctl compose convert`.\n"
    return head + "".join(f"---\n{_one(each)}" for each in conversion.manifests)


def _one(each: Manifest) -> str:
    about = [f"# {each.about}\n"] if each.about else []
    about += [f"#   {finding}\n" for finding in each.findings]
    body = yaml.dump(each.obj, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=120)
    return "".join(about) + str(body)
