"""`cloudfix run`: cloudy scenes in, clear COGs out."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cloudfix.cli import console
from cloudfix.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloudfix.archive.options import Options
    from cloudfix.archive.tasks import Task
    from cloudfix.archive.workers import Workers

SCENE = "Scene"
MASKS = "Masks and compositing"
NETWORK = "Network"
OUTPUT = "Output"
MANY = "Many scenes"
CLUSTER = "Cluster"


def run(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SCENE…",
            help="With -o one scene: a GeoTIFF, COG, VRT or product, or its single-band files. "
            "With --out-dir any number; - reads their names from standard input.",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The COG to write, of one scene.", rich_help_panel=OUTPUT)
    ] = None,
    *,
    out_dir: Annotated[
        str | None,
        typer.Option(help="Folder or s3://… of the COGs, of many scenes; keeps what is done.", rich_help_panel=MANY),
    ] = None,
    name: Annotated[
        str,
        typer.Option(help="How the COGs are called there: {stem} of the scene, {parent} folder.", rich_help_panel=MANY),
    ] = "{stem}_clear.tif",
    from_file: Annotated[
        list[Path] | None, typer.Option(help="A file that lists scenes, one a line.", rich_help_panel=MANY)
    ] = None,
    null: Annotated[
        bool,
        typer.Option("--null", "-0", help="Names end with NUL: listed ones and printed ones.", rich_help_panel=MANY),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Make scenes again that are done.", rich_help_panel=MANY)
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try scenes again that failed.", rich_help_panel=MANY)
    ] = False,
    on_error: Annotated[
        str, typer.Option(help="When a scene fails: continue or stop.", rich_help_panel=MANY)
    ] = "continue",
    sar: Annotated[
        list[str] | None,
        typer.Option(help="Sentinel-1 VV/VH (or VV) as a guide: dB or linear, any grid.", rich_help_panel=SCENE),
    ] = None,
    sar_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder of Sentinel-1 images: each scene gets the one nearest in time.", rich_help_panel=SCENE
        ),
    ] = None,
    sar_max_days: Annotated[
        float, typer.Option(help="The furthest in time that one may be.", rich_help_panel=SCENE)
    ] = 6,
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
    resolution: Annotated[
        float | None,
        typer.Option(help="Pixels of the output, in metres; default the finest band's.", rich_help_panel=SCENE),
    ] = None,
    allow_remote: Annotated[
        bool,
        typer.Option("--allow-remote", help="Follow files that lead to others on the network.", rich_help_panel=SCENE),
    ] = False,
    mask: Annotated[
        str | None,
        typer.Option(
            help="A mask file (0 clear, 1 cloud, 2 shadow), or a plug-in: s2cloudless. "
            "Default: the product's own (SCL, QA_PIXEL, BQA), else spectral rules; for RGB, scpm.rgb.",
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
    dask: Annotated[
        str | None,
        typer.Option(
            help="Scheduler whose workers do it: tcp://host:8786.", metavar="ADDRESS", rich_help_panel=CLUSTER
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes of this machine that do it.", rich_help_panel=CLUSTER)
    ] = None,
    mask_out: Annotated[
        Path | None,
        typer.Option(help="Write the mask used, a COG; of many, a name with {stem}.", rich_help_panel=OUTPUT),
    ] = None,
    quicklook: Annotated[
        Path | None,
        typer.Option(help="Write before | mask | after, a PNG; of many, a name with {stem}.", rich_help_panel=OUTPUT),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            help="Write a page to look at, HTML; of many, an index beside their pages.", rich_help_panel=OUTPUT
        ),
    ] = None,
    stac: Annotated[
        bool,
        typer.Option(
            "--stac", help="Write a STAC Item, a mask and a quicklook beside the COG.", rich_help_panel=OUTPUT
        ),
    ] = False,
    profile: Annotated[
        Path | None,
        typer.Option(help="Write how long each stage was busy, JSON; of one scene.", rich_help_panel=OUTPUT),
    ] = None,
    compress: Annotated[
        str, typer.Option(help="DEFLATE, ZSTD, LERC, LZW or NONE.", rich_help_panel=OUTPUT)
    ] = "DEFLATE",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON record, not the path.", rich_help_panel=OUTPUT)
    ] = False,
) -> None:
    """Restore what cloud and shadow hide, and write georeferenced COGs.

    Pixels outside the buffered mask stay exactly as they are.
    """
    from cloudfix.archive.bucket import records_at
    from cloudfix.archive.cluster import reach
    from cloudfix.archive.options import Options
    from cloudfix.archive.records import make_folder
    from cloudfix.archive.run import Archive
    from cloudfix.archive.stac import require_pystac
    from cloudfix.archive.tasks import Names, Task
    from cloudfix.cli.many import Telling, run_many, tasks_of

    _check_use(files, from_file, output, out_dir)
    if on_error not in {"continue", "stop"}:
        raise UsageError(f"--on-error {on_error}: expected continue or stop")
    if sar and sar_dir:
        raise UsageError(f"--sar {sar[0]} --sar-dir {sar_dir}: expected one of them")
    if profile and (output is None or dask or workers):
        raise UsageError(f"--profile {profile}: looks at one scene in this process; leave out --out-dir and workers")
    if stac:
        require_pystac()
    options = Options(
        sensor=sensor,
        bands=tuple(bands.split(",")) if bands else None,
        resolution=resolution,
        allow_remote=allow_remote,
        sar=tuple(sar or ()),
        sar_dir=sar_dir,
        sar_max_days=sar_max_days,
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
        compress=compress,
    )
    with reach(dask, workers) as reached:
        if output is not None:
            task = Task(tuple(files or ()), output, mask_out, quicklook, report)
            _one(task.with_item() if stac else task, options, reached, as_json=as_json, profile=profile)
        elif out_dir is not None:
            pages = report.parent if report else None
            if pages:
                make_folder(pages)
            records = records_at(out_dir)
            companions = (_template(mask_out), _template(quicklook))
            names = Names(records.outputs, name, *companions, pages, items=stac, place=records.place)
            telling = Telling(as_json, null, stop=on_error == "stop", index=report)
            archive = Archive.open(records, options, overwrite=overwrite, retry_failed=retry_failed)
            tasks = tasks_of(files or (), from_file or (), names, archive, null=null)
            run_many(tasks, archive, reached, telling)


def _check_use(files: list[str] | None, from_file: list[Path] | None, output: Path | None, out_dir: str | None) -> None:
    if (output is None) == (out_dir is None):
        raise UsageError("expected either --output FILE, for one scene, or --out-dir FOLDER, for any number")
    if from_file and output is not None:
        raise UsageError("--from-file: lists many scenes, which need --out-dir, not --output")
    if not files and not from_file:
        raise UsageError("no scene named; expected files, - for a list on standard input, or --from-file LIST")


def _template(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _one(task: Task, options: Options, workers: Workers | None, *, as_json: bool, profile: Path | None) -> None:
    from cloudfix.archive.radar import Catalogue
    from cloudfix.archive.scene import Single, restore_scene

    began = time.perf_counter()
    with console.interruptible(), console.collected_notes() as notes, console.progress(task.output.name) as moved:
        catalogue = Catalogue.read(options.sar_dir, options.sar_max_days) if options.sar_dir else None
        if workers is None:
            with _profiled(profile):
                restored = restore_scene(task, options, catalogue=catalogue, count=as_json, notes=notes, progress=moved)
        else:
            restored = workers.restore(Single(options, catalogue), task)
    if not as_json:
        typer.echo(task.output)
        return
    record: dict[str, Any] = {"output": str(task.output), "source": list(task.sources), "status": "done"}
    record |= {"seconds": round(time.perf_counter() - began, 2), "warnings": notes}
    record |= {"cover": asdict(restored.cover) if restored.cover else None, **restored.provenance}
    typer.echo(json.dumps(record))


@contextmanager
def _profiled(path: Path | None) -> Iterator[None]:
    """Write a profile of what runs within, if there is a path for it.

    Raises:
        OutputError: it cannot be written.
    """
    if path is None:
        yield
        return
    from cloudfix.raster.atomic import staging, writing
    from cloudfix.restoration.profile import profiled

    with staging(path) as stage:
        with profiled() as profile:
            yield
        with writing(path):
            stage.file.write_text(json.dumps(profile.to_json(), indent=1) + "\n", encoding="utf-8")
            stage.publish()
