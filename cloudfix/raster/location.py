"""Where a file is: on disk, inside an archive, or on the network; and the name by which GDAL knows it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloudfix.errors import CloudfixError

_STORES = {
    "http": "/vsicurl/http://", "https": "/vsicurl/https://", "s3": "/vsis3/", "gs": "/vsigs/", "az": "/vsiaz/",
}  # fmt: skip
# A Path has one slash left of a URL's two.
_URL = re.compile(rf"({'|'.join(_STORES)}):/+(.+)", re.IGNORECASE | re.DOTALL)
_ARCHIVES = ("/vsizip/", "/vsitar/")


def is_remote(name: str | Path) -> bool:
    """Whether a name is that of something that is not simply a file on disk: a URL or a GDAL virtual file."""
    return str(name).startswith("/vsi") or _URL.fullmatch(str(name)) is not None


def gdal_name(name: str | Path, error: type[CloudfixError], *, allow_remote: bool) -> str:
    """A user's name of a raster as GDAL takes it.

    Raises:
        CloudfixError: as `error`: it is remote, and that is not allowed.
    """
    text = str(name)
    if not is_remote(text):
        return text
    if not allow_remote:
        raise error(f"{shown(text)}: is not a file on disk; --allow-remote (allow_remote=True) reads from the network")
    url = _URL.fullmatch(text)
    return _STORES[url[1].lower()] + url[2] if url else text


def is_virtual(name: str) -> bool:
    """Whether GDAL, and not the system, opens a name as `gdal_name` gives it."""
    return name.startswith("/vsi")


def over_network(name: str) -> bool:
    """Whether reading a name as `gdal_name` gives it asks another machine."""
    return is_virtual(name) and not name.startswith(_ARCHIVES)


def absolute(name: str) -> str:
    """A name as `gdal_name` gives it that means the same in every working folder."""
    return name if is_remote(name) else str(Path(name).absolute())


def in_archive(archive: Path, member: str) -> str:
    """GDAL's name of a file in a `.zip` or `.tar`."""
    kind = "/vsizip/" if archive.suffix.lower() == ".zip" else "/vsitar/"
    return f"{kind}{archive.absolute()}/{member}"


def on_disk(name: str) -> Path | None:
    """The file on disk that holds what a name as `gdal_name` gives it means, such as an archive; None if remote."""
    if not is_virtual(name):
        return Path(name)
    if over_network(name):
        return None
    inside = Path(name[len(_ARCHIVES[0]) :])
    return next((path for path in (inside, *inside.parents) if path.is_file()), None)


def shown(name: str | Path) -> str:
    """A name for messages: without GDAL's prefix, and without what follows `?`, where keys and signatures stand."""
    text = str(name)
    if text.startswith(_ARCHIVES):
        return text[len(_ARCHIVES[0]) :]
    return text.removeprefix("/vsicurl/").partition("?")[0] if is_remote(text) else text
