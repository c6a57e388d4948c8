"""The options by which a scene is opened, the same for every command that takes a scene."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import xarray as xr

OneScene = Annotated[
    list[str],
    typer.Argument(metavar="SCENE", help="A GeoTIFF, COG, VRT or product; or the single-band files of one scene."),
]
Sensor = Annotated[str | None, typer.Option(help="What the scene is, where nothing tells.")]
Bands = Annotated[str | None, typer.Option(help="Names of its bands in order: B02,B03,…")]
Resolution = Annotated[float | None, typer.Option(help="Pixels of the output, in metres; default the finest band's.")]
AllowRemote = Annotated[bool, typer.Option("--allow-remote", help="Follow files that lead to others on the network.")]


def open_one(
    files: Sequence[str | Path], sensor: str | None, bands: str | None, resolution: float | None, *, allow_remote: bool
) -> xr.DataArray:
    """The one scene that a command is about, as its options say.

    Raises:
        CloudfixError: as `open_scene`.
    """
    import cloudfix

    return cloudfix.open_scene(
        files[0] if len(files) == 1 else files,
        sensor=sensor,
        bands=bands.split(",") if bands else None,
        resolution=resolution,
        allow_remote=allow_remote,
    )
