"""Cloud removal for Sentinel-2 and Landsat-8 scenes.

import cloudfix
scene = cloudfix.open_scene("scene.tif")
clear = cloudfix.restore(scene, sar="s1.tif")
cloudfix.write_cog(clear, "out.tif")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cloudfix.errors import CloudfixError, CloudfixWarning

if TYPE_CHECKING:
    from cloudfix import models
    from cloudfix.raster.cog import write_cog
    from cloudfix.raster.sar import open_sar
    from cloudfix.raster.scene import open_scene
    from cloudfix.restoration.cloud_mask import cloud_mask
    from cloudfix.restoration.restore import restore

__version__ = "0.1.0"

__all__ = [
    "CloudfixError",
    "CloudfixWarning",
    "__version__",
    "cloud_mask",
    "models",
    "open_sar",
    "open_scene",
    "restore",
    "write_cog",
]

_HOMES = {
    "cloud_mask": "cloudfix.restoration.cloud_mask",
    "open_sar": "cloudfix.raster.sar",
    "open_scene": "cloudfix.raster.scene",
    "restore": "cloudfix.restoration.restore",
    "write_cog": "cloudfix.raster.cog",
}


def __getattr__(name: str) -> Any:
    # torch and rasterio take seconds to import: `cloudfix --help` must not wait for them.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name == "models":
        return import_module("cloudfix.models")
    raise AttributeError(f"module 'cloudfix' has no attribute '{name}'")
