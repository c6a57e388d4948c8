"""Where what was made from a data set is kept, so that it is made once."""

from __future__ import annotations

import hashlib
import os
import warnings
from pathlib import Path

from cloudfix.errors import CloudfixWarning

BESIDE = "cloudfix-masks"
"""The folder of masks in the folder of a data set."""


def cache_folder(kind: str, *keys: str) -> Path:
    """A folder for what is made of the things that `keys` tell apart, in the user's cache; it need not be there.

    `XDG_CACHE_HOME` moves it, as the XDG base directory specification has it.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    digest = hashlib.sha256("\n".join(keys).encode()).hexdigest()
    return base / "cloudfix" / kind / digest[:16]


def masks_folder(root: Path) -> Path:
    """Where the masks of the data set in `root` are kept: beside it, or in the cache where nobody may write there.

    Permissions are heeded even by the superuser, who could pass over them: originals are write-protected for a reason.
    """
    writable = os.access(root, os.W_OK) and bool(root.stat().st_mode & 0o222)
    if writable:
        return root / BESIDE
    kept = cache_folder("masks", str(root.resolve()))
    warnings.warn(f"{root}: is write-protected, so that cloud masks are kept in {kept}", CloudfixWarning, stacklevel=2)
    return kept
