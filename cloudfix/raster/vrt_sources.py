"""What a VRT is made of. A VRT is a recipe: it can ask GDAL for any file's bytes, for any URL, and for Python."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cloudfix.raster import markup
from cloudfix.raster.location import is_remote, is_virtual, on_disk, shown

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from cloudfix.errors import CloudfixError

MAX_SIZE = 64 * 2**20
"""Bytes of the largest VRT: a mosaic of tens of thousands of files."""

_ROOT = b"<VRTDataset"
_START = 4096
_REMEDY = "gdal_translate makes a GeoTIFF of it"

# In lower case, as GDAL does not tell cases apart.
_PATHS = {"sourcefilename", "sourcedataset", "dempath"}
_PATH_KEYS = {"x_dataset", "y_dataset", "overview_file"}
_KINDS = {
    "vrtdataset", "vrtwarpeddataset", "vrtpansharpeneddataset",
    "vrtsourcedrasterband", "vrtwarpedrasterband", "vrtderivedrasterband", "vrtpansharpenedrasterband",
}  # fmt: skip
"""Of data sets and bands. Raw bands would be the bytes of any file, processed data sets hide paths in arguments."""


def is_vrt(name: str) -> bool:
    """Whether a file on disk is a VRT; GDAL goes by its content too, whatever its name."""
    if is_virtual(name):
        return False
    with Path(name).open("rb") as file:
        return _ROOT in file.read(_START)


def sources_of(path: Path, error: type[CloudfixError], *, allow_remote: bool) -> list[str]:
    """The files that a VRT reads, each once, as GDAL opens them.

    Raises:
        CloudfixError: as `error`: it is damaged, runs code, or reads something other than files on disk.
    """
    if path.stat().st_size > MAX_SIZE:
        raise error(f"{path}: a VRT of more than {MAX_SIZE >> 20} MiB; {_REMEDY}")
    try:
        root = markup.parse(path.read_bytes().strip())
    except markup.MarkupError as reason:
        raise error(f"{path}: damaged VRT ({reason}); write it again") from None
    found = set()
    for element in root.iter():
        if doubt := _doubt(element):
            raise error(f"{path}: a VRT {doubt}; {_REMEDY}")
        if _name(element) in _PATHS or _values(element, "key") & _PATH_KEYS:
            found.add(_resolved(path, element))
    for source in found:
        _check_place(path, source, error, allow_remote=allow_remote)
    return sorted(found)


def _name(element: Element) -> str:
    return str(element.tag).lower()


def _text(element: Element) -> str:
    return (element.text or "").strip()


def _values(element: Element, name: str) -> set[str]:
    """What GDAL may take for a property of an element: an attribute or a child of that name, in whatever case."""
    attributes = {value.strip().lower() for key, value in element.items() if key.lower() == name}
    return attributes | {_text(child).lower() for child in element if _name(child) == name}


def _doubt(element: Element) -> str | None:
    """What about an element keeps its VRT from being trusted."""
    if strange := _values(element, "subclass") - _KINDS:
        return f"with a {min(strange)[:40]!r}, which can be made of any bytes"
    if _name(element) == "pixelfunctionlanguage" and _text(element).lower() != "c":
        return f"that runs code ({_text(element)[:20]!r})"
    if _name(element) in {"group", "arraysource"}:
        return "of several dimensions"
    if _name(element) in _PATHS and len(element):
        return f"whose {_name(element)} is not a plain name"
    return None


def _resolved(path: Path, element: Element) -> str:
    text = _text(element)
    if is_remote(text):
        return text
    # Without that, GDAL takes a name as relative to the working folder.
    return str((path.absolute().parent if _values(element, "relativetovrt") & {"1"} else Path.cwd()) / text)


def _check_place(path: Path, source: str, error: type[CloudfixError], *, allow_remote: bool) -> None:
    local = on_disk(source) if is_virtual(source) or not is_remote(source) else None
    if local is None and not allow_remote:
        raise error(
            f"{path}: is made of {shown(source)[:200]}, which is not a file on disk; --allow-remote "
            "(allow_remote=True) reads from the network"
        )
    if local is not None and not local.is_file():
        raise error(f"{path}: is made of {shown(source)[:200]}, and there is no such file; write the VRT again")
