"""`cloudfix mask`: where cloud and shadow are, as a COG."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import Annotated

import typer

from cloudfix.cli import console
from cloudfix.cli.opening import AllowRemote, Bands, OneScene, Resolution, Sensor, open_one


def mask(
    files: OneScene,
    output: Annotated[Path, typer.Option("--output", "-o", help="0 clear, 1 cloud, 2 shadow, 255 nodata; a COG.")],
    *,
    thickness: Annotated[Path | None, typer.Option(help="Map the thickness of the cloud here, 0 to 1; a COG.")] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--mask", help="What decides: a plug-in (s2cloudless) or thickness weights; default as for `cloudfix run`."
        ),
    ] = None,
    sensor: Sensor = None,
    bands: Bands = None,
    resolution: Resolution = None,
    allow_remote: AllowRemote = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
) -> None:
    """Write the cloud and shadow mask that `cloudfix run` would use, to look at or to edit."""
    import numpy as np

    import cloudfix
    from cloudfix.clouds.classes import NODATA
    from cloudfix.raster.plane import plane

    with console.interruptible():
        scene = open_one(files, sensor, bands, resolution, allow_remote=allow_remote)
        found = cloudfix.cloud_mask(
            scene, mask=source, thickness=thickness is not None, device=device, precision=precision
        )
        outputs = [(output, plane(found["mask"], nodata=NODATA))]
        if thickness is not None:
            outputs.append((thickness, plane(found["thickness"], nodata=np.nan)))
        for path, band in outputs:
            with console.progress(path.name) as moved:
                written = cloudfix.write_cog(band, path, tags=found.attrs["provenance"], progress=moved)
            typer.echo(written)
