"""`cloudfix run`: one cloudy scene in, one clear COG out."""

from __future__ import annotations

import json
import time
from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import Annotated, Any

import typer

from cloudfix.cli import console

SCENE = "Scene"
MASKS = "Masks and compositing"
NETWORK = "Network"
OUTPUT = "Output"


def run(
    files: Annotated[
        list[str],
        typer.Argument(metavar="SCENE", help="One multi-band GeoTIFF, COG or VRT; or its single-band files."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The COG to write.", rich_help_panel=OUTPUT)],
    *,
    sar: Annotated[
        list[str] | None,
        typer.Option(help="Sentinel-1 VV/VH (or VV) as a guide: dB or linear, any grid.", rich_help_panel=SCENE),
    ] = None,
    sensor: Annotated[
        str | None,
        typer.Option(
            help="What the scene is: sentinel-2-l1c, sentinel-2-l2a, landsat-8-l1, landsat-8-l2 or rgb.",
            rich_help_panel=SCENE,
        ),
    ] = None,
    bands: Annotated[
        str | None,
        typer.Option(help="Names of its bands in order: B02,B03,…", rich_help_panel=SCENE),
    ] = None,
    mask: Annotated[
        str | None,
        typer.Option(
            help="A mask file (0 clear, 1 cloud, 2 shadow), or a plug-in: s2cloudless. "
            "Default: the product's own (SCL, QA_PIXEL, BQA), else spectral rules.",
            rich_help_panel=MASKS,
        ),
    ] = None,
    buffer: Annotated[
        int, typer.Option(help="Pixels around the mask over which to blend.", rich_help_panel=MASKS)
    ] = 10,
    replace_all: Annotated[
        bool, typer.Option("--replace-all", help="The network's output everywhere.", rich_help_panel=MASKS)
    ] = False,
    unknown_bands: Annotated[
        str,
        typer.Option(help="Bands the model does not know, under cloud: keep or blank (nodata).", rich_help_panel=MASKS),
    ] = "keep",
    model: Annotated[
        str | None,
        typer.Option(help="Weights: a name of `cloudfix models list`, or a file.", rich_help_panel=NETWORK),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.", rich_help_panel=NETWORK)] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.", rich_help_panel=NETWORK)] = "auto",
    tile: Annotated[
        int | None, typer.Option(help="Side of a tile, pixels; default the model's.", rich_help_panel=NETWORK)
    ] = None,
    overlap: Annotated[
        int | None, typer.Option(help="Pixels tiles share; default the model's.", rich_help_panel=NETWORK)
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Tiles at once; default by device.", rich_help_panel=NETWORK)
    ] = None,
    mask_out: Annotated[Path | None, typer.Option(help="Write the mask used, a COG.", rich_help_panel=OUTPUT)] = None,
    quicklook: Annotated[
        Path | None, typer.Option(help="Write before | mask | after, a PNG.", rich_help_panel=OUTPUT)
    ] = None,
    compress: Annotated[
        str, typer.Option(help="DEFLATE, ZSTD, LERC, LZW or NONE.", rich_help_panel=OUTPUT)
    ] = "DEFLATE",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON record, not the path.", rich_help_panel=OUTPUT)
    ] = False,
) -> None:
    """Restore what cloud and shadow hide, and write a georeferenced COG.

    Pixels outside the buffered mask stay exactly as they are.
    """
    import cloudfix

    began = time.perf_counter()
    with console.interruptible(), console.collected_notes() as notes:
        scene = cloudfix.open_scene(
            files[0] if len(files) == 1 else files,
            sensor=sensor,
            bands=bands.split(",") if bands else None,
        )
        restored = cloudfix.restore(
            scene,
            sar=sar,
            mask=mask,
            model=model,
            buffer=buffer,
            replace_all=replace_all,
            unknown_bands=unknown_bands,
            tile=tile,
            overlap=overlap,
            batch_size=batch_size,
            device=device,
            precision=precision,
        )
        with console.progress(output.name) as moved:
            path = cloudfix.write_cog(
                restored,
                output,
                mask_path=mask_out,
                quicklook=quicklook,
                before=scene if quicklook else None,
                compress=compress,
                progress=moved,
            )
    if as_json:
        typer.echo(json.dumps(_record(path, restored.attrs, notes, time.perf_counter() - began)))
    else:
        typer.echo(path)


def _record(path: Path, attrs: dict[str, Any], notes: list[str], seconds: float) -> dict[str, Any]:
    return {
        "output": str(path),
        "status": "done",
        "seconds": round(seconds, 2),
        "notes": notes,
        **attrs["provenance"],
    }
