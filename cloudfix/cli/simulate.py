"""`cloudfix simulate`: a clear scene under simulated cloud, as a COG."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import Annotated

import typer

from cloudfix.cli import console
from cloudfix.cli.opening import AllowRemote, Bands, OneScene, Resolution, Sensor, open_one
from cloudfix.errors import OutputError

CLOUD = "Cloud"
OUTPUT = "Output"


def simulate(
    files: OneScene,
    output: Annotated[Path, typer.Option("--output", "-o", help="The cloudy COG to write.", rich_help_panel=OUTPUT)],
    *,
    kind: Annotated[
        str,
        typer.Option(help="thin (a veil over all of it), thick (hides parts), or all (either).", rich_help_panel=CLOUD),
    ] = "all",
    cover: Annotated[
        float | None, typer.Option(help="Share of the scene under cloud, 0 to 1.", rich_help_panel=CLOUD)
    ] = None,
    seed: Annotated[int, typer.Option(help="Another number, another sky.", rich_help_panel=CLOUD)] = 0,
    cloud_height: Annotated[float | None, typer.Option(help="Metres above the ground.", rich_help_panel=CLOUD)] = None,
    sun_azimuth: Annotated[
        float | None,
        typer.Option(help="Degrees from north over east; default the scene's.", rich_help_panel=CLOUD),
    ] = None,
    sun_elevation: Annotated[
        float | None,
        typer.Option(help="Degrees above the horizon; default the scene's.", rich_help_panel=CLOUD),
    ] = None,
    sensor: Sensor = None,
    bands: Bands = None,
    resolution: Resolution = None,
    allow_remote: AllowRemote = False,
    thickness: Annotated[
        Path | None, typer.Option(help="Write the cloud's thickness, 0 to 1, a COG.", rich_help_panel=OUTPUT)
    ] = None,
    shadow: Annotated[
        Path | None, typer.Option(help="Write the share of light that shadow takes, a COG.", rich_help_panel=OUTPUT)
    ] = None,
    mask_out: Annotated[
        Path | None, typer.Option(help="Write where cloud and shadow are, a COG.", rich_help_panel=OUTPUT)
    ] = None,
    quicklook: Annotated[
        Path | None, typer.Option(help="Write before | mask | after, a PNG.", rich_help_panel=OUTPUT)
    ] = None,
    compress: Annotated[
        str, typer.Option(help="DEFLATE, ZSTD, LERC, LZW or NONE.", rich_help_panel=OUTPUT)
    ] = "DEFLATE",
) -> None:
    """Lay simulated cloud and its shadow over a clear scene, to train with or to try a model on.

    Pixels without cloud and shadow stay exactly as they are. The same seed gives the same file.
    """
    import numpy as np

    import cloudfix
    from cloudfix.raster.plane import plane
    from cloudfix.restoration.simulated import simulate_scene

    maps = {name: path for name, path in (("thickness", thickness), ("shadow", shadow)) if path is not None}
    _check_distinct([output, *maps.values(), *(path for path in (mask_out, quicklook) if path is not None)])
    with console.interruptible():
        scene = open_one(files, sensor, bands, resolution, allow_remote=allow_remote)
        cloudy = simulate_scene(
            scene,
            seed=seed,
            kind=kind,
            cover=cover,
            cloud_height=cloud_height,
            sun_azimuth=sun_azimuth,
            sun_elevation=sun_elevation,
        )
        for name, path in maps.items():
            with console.progress(path.name) as moved:
                band = plane(cloudy[name], nodata=np.nan)
                cloudfix.write_cog(band, path, compress=compress, tags=cloudy.attrs["provenance"], progress=moved)
        with console.progress(output.name) as moved:
            cloudfix.write_cog(
                cloudy,
                output,
                mask_path=mask_out,
                quicklook=quicklook,
                before=scene if quicklook else None,
                compress=compress,
                progress=moved,
            )
    for path in (output, *maps.values()):
        typer.echo(path)


def _check_distinct(paths: list[Path]) -> None:
    """Refuse one name for two outputs, which are written one after the other.

    Raises:
        OutputError: two are the same.
    """
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            raise OutputError(f"{path}: is to be two outputs at once; give each its own name")
        seen.add(path.resolve())
