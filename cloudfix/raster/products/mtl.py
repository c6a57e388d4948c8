"""Landsat's MTL metadata, the same groups of keys in three dialects: txt, json and xml."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from cloudfix.raster import markup

if TYPE_CHECKING:
    from collections.abc import Iterator

Groups = dict[str, dict[str, str]]
"""Key and value by group; both levels have keys of the same names in groups of their own."""

FORMS = ("txt", "json", "xml")

_LINE = re.compile(r"^[ \t]*(\w+)[ \t]*=[ \t]*(.*?)[ \t\r]*$", re.MULTILINE)


def parse(content: bytes, form: str) -> Groups:
    """Read an MTL file.

    Args:
        content: of the file.
        form: one of `FORMS`.

    Raises:
        ValueError: it is not of that form.
    """
    return {"txt": _from_text, "json": _from_json, "xml": _from_xml}[form](content)


def _from_text(content: bytes) -> Groups:
    groups: Groups = {}
    inside = [""]
    for key, value in _LINE.findall(content.decode("ascii", "replace")):
        if key == "GROUP":
            inside.append(value)
        elif key == "END_GROUP":
            inside = inside[:-1] or [""]
        else:
            groups.setdefault(inside[-1], {})[key] = value.strip('"')
    return groups


def _from_json(content: bytes) -> Groups:
    try:
        return dict(_levels(json.loads(content), ""))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _levels(value: Any, name: str) -> Iterator[tuple[str, dict[str, str]]]:
    if isinstance(value, dict):
        yield name, {key: str(item) for key, item in value.items() if not isinstance(item, (dict, list))}
        for key, item in value.items():
            yield from _levels(item, key)


def _from_xml(content: bytes) -> Groups:
    root = markup.parse(content)
    return {
        markup.local_name(group): {markup.local_name(item): (item.text or "").strip() for item in group}
        for group in root.iter()
        if len(group)
    }
