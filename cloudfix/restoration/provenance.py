"""Where an output comes from, as tags that go into the file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import cloudfix
from cloudfix.raster.fingerprint import fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr

    from cloudfix.models.cards import Card
    from cloudfix.restoration.masking import Classified
    from cloudfix.restoration.synthesis import Job


def tags(
    scene: xr.DataArray,
    radar: xr.DataArray | None,
    card: Card,
    job: Job,
    classified: Classified,
    options: Mapping[str, int | bool | str],
) -> dict[str, str]:
    """Version, weights and their checksum, mask, parameters, and fingerprints of what was read.

    No time and no place: the same input and options give the same bytes.
    """
    parameters = {
        **options,
        "tile": job.grid.tile,
        "overlap": job.grid.overlap,
        "batch_size": job.plan.batch_size,
        "precision": job.plan.precision,
        "sar": list(job.sar),
    }
    found = {
        "CLOUDFIX_VERSION": cloudfix.__version__,
        "CLOUDFIX_MODEL": card.name,
        "CLOUDFIX_MODEL_SHA256": card.checksum,
        "CLOUDFIX_MASK": classified.source.name,
        "CLOUDFIX_PARAMETERS": json.dumps(parameters, sort_keys=True),
        "CLOUDFIX_INPUT": fingerprint(scene.attrs.get("source", [])),
    }
    if classified.source.files:
        found["CLOUDFIX_MASK_FILE"] = fingerprint(classified.source.files)
    if radar is not None:
        found["CLOUDFIX_SAR"] = fingerprint(radar.attrs.get("source", []))
    return found
