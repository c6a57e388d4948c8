"""`cloudfix inspect`: what is recognised in scenes, without touching them."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cloudfix.cli import console
from cloudfix.cli.opening import AllowRemote, Bands, Resolution, Sensor, open_one
from cloudfix.errors import CloudfixError, CloudfixWarning

if TYPE_CHECKING:
    from collections.abc import Iterator

    import xarray as xr


def inspect(
    files: Annotated[
        list[str],
        typer.Argument(metavar="SCENE", help="Multi-band files or products, a scene each; or one scene's band files."),
    ],
    *,
    sensor: Sensor = None,
    bands: Bands = None,
    resolution: Resolution = None,
    allow_remote: AllowRemote = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON record a line.")] = False,
) -> None:
    """Show what is recognised: sensor, level, bands, scale, nodata, grid, cloud cover.

    Scenes that cannot be read are reported, and the others shown.
    """
    from cloudfix.raster.scene import scenes_of

    code = 0
    for source in scenes_of(files, allow_remote=allow_remote):
        try:
            with warnings.catch_warnings():
                # They are printed with the rest.
                warnings.simplefilter("ignore", CloudfixWarning)
                record = _record(open_one(source, sensor, bands, resolution, allow_remote=allow_remote))
        except CloudfixError as error:
            console.error(str(error))
            code = max(code, error.exit_code)
            continue
        typer.echo(json.dumps(record) if as_json else "\n".join(_lines(record)))
    if code:
        raise typer.Exit(code)


def _record(scene: xr.DataArray) -> dict[str, Any]:
    from cloudfix import sensors
    from cloudfix.raster.grid import grid_of
    from cloudfix.raster.info import SceneInfo

    info, grid = SceneInfo.of(scene), grid_of(scene)
    bands = zip(scene["band"].values.tolist(), info.slots, info.scale, info.offset, strict=True)
    return {
        "source": scene.attrs["source"],
        "sensor": info.sensor,
        "title": sensors.get(info.sensor).title if info.sensor else "unknown sensor",
        "width": grid.width,
        "height": grid.height,
        "pixel": grid.pixel,
        "crs": grid.crs.to_string() if grid.crs else None,
        "dtype": scene.dtype.name,
        # JSON has no NaN.
        "nodata": "nan" if info.nodata is not None and info.nodata != info.nodata else info.nodata,
        "saturated": info.saturated,
        "quality_band": info.quality_band,
        "bands": [
            {"name": name, "slot": slot, "scale": scale, "offset": offset} for name, slot, scale, offset in bands
        ],
        "cover": _cover(scene),
        "notes": list(info.notes),
    }


def _cover(scene: xr.DataArray) -> dict[str, Any] | None:
    from dataclasses import asdict

    from cloudfix.errors import MaskError
    from cloudfix.restoration.cover import estimate_cover

    try:
        return asdict(estimate_cover(scene))
    except MaskError:
        return None


def _lines(record: dict[str, Any]) -> Iterator[str]:
    first, *more = record["source"]
    yield f"{first} and {len(more)} more" if more else first
    yield f"  sensor   {record['title']}" + (f" ({record['sensor']})" if record["sensor"] else "")
    yield f"  size     {record['width']} × {record['height']} pixels of {record['pixel']:g}"
    yield f"  crs      {record['crs'] or 'none'}"
    yield f"  values   {record['dtype']}, nodata {_or_none(record['nodata'])}"
    yield f"  classes  {record['quality_band'] or 'none'}"
    for band in record["bands"]:
        formula = f"reflectance = DN × {band['scale']:g} {band['offset']:+g}" if band["slot"] else ""
        yield f"  {band['name']:8} {band['slot'] or '-':11} {formula}".rstrip()
    if cover := record["cover"]:
        yield f"  cover    cloud {cover['cloud']:.0%}, shadow {cover['shadow']:.0%}, by {cover['source']}"
    for note in record["notes"]:
        yield f"  note: {note}"


def _or_none(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
