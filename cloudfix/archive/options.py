"""What the user chose: the same for every scene of a run."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cloudfix.archive.inputs import stamps
from cloudfix.models.registry import portable
from cloudfix.models.weights import read_card
from cloudfix.raster.location import absolute

_NOT_IN_THE_PIXELS = frozenset({"device", "allow_remote"})
_OPENING = ("sensor", "bands", "resolution", "allow_remote")
_RESTORING = (
    "mask", "model", "buffer", "replace_all", "unknown_bands", "tile", "overlap", "batch_size", "device", "precision",
)  # fmt: skip


@dataclass(frozen=True)
class Options:
    """How scenes are opened, restored and written; names and defaults are those of the functions that do it.

    Attributes:
        sensor: of `open_scene`.
        bands: of `open_scene`, as are the next two.
        resolution: side of the output's pixels.
        allow_remote: whether files may lead to others on the network.
        sar: files of one Sentinel-1 image for every scene.
        sar_dir: folder of Sentinel-1 images, of which each scene gets the one nearest in time.
        sar_max_days: the furthest that one may be.
        mask: of `restore`, as are the others up to `precision`.
        model: a registered name or a weights file; None for the one that suits the scene.
        buffer: pixels.
        replace_all: the network's output everywhere.
        unknown_bands: keep or blank.
        tile: pixels.
        overlap: pixels.
        batch_size: tiles.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto, fp32, bf16 or fp16.
        compress: of `write_cog`.
    """

    sensor: str | None = None
    bands: tuple[str, ...] | None = None
    resolution: float | None = None
    allow_remote: bool = False
    sar: tuple[str, ...] = ()
    sar_dir: Path | None = None
    sar_max_days: float = 6
    mask: str | None = None
    model: str | None = None
    buffer: int = 10
    replace_all: bool = False
    unknown_bands: str = "keep"
    tile: int | None = None
    overlap: int | None = None
    batch_size: int | None = None
    device: str = "auto"
    precision: str = "auto"
    compress: str = "DEFLATE"

    @property
    def opening(self) -> dict[str, Any]:
        """Arguments of `open_scene`."""
        return {name: getattr(self, name) for name in _OPENING}

    @property
    def restoring(self) -> dict[str, Any]:
        """Arguments of `restore`, but for the scene and the radar image."""
        return {name: getattr(self, name) for name in _RESTORING}

    def on(self, device: str) -> Options:
        """The same on a worker's own device, unless the user named one."""
        return replace(self, device=device) if self.device in {"auto", "cuda"} else self

    def absolute(self) -> Options:
        """The same for a process in another folder.

        Raises:
            ModelError: there are no such weights.
        """
        mask = self.mask
        if mask is not None:
            mask = str(Path(mask).absolute()) if Path(mask).is_file() else mask
        model = None if self.model is None else portable(self.model)
        return replace(self, mask=mask, model=model, sar=tuple(map(absolute, self.sar)))

    def digest(self) -> str:
        """Equal for options that give the same pixels from the same scene, wherever they run.

        Raises:
            ModelError: there are no such weights.
        """
        values = {key: str(value) for key, value in asdict(self).items() if key not in _NOT_IN_THE_PIXELS}
        if self.model is not None:
            values["model"] = read_card(self.model).checksum
        read = [path for path in (*self.sar, self.mask) if path is not None and Path(path).is_file()]
        text = json.dumps([values, stamps(read)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()
