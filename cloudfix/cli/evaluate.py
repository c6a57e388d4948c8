"""`cloudfix evaluate`: models and baselines over a data set, as tables."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cloudfix.cli import console
from cloudfix.cli.extras import require_training
from cloudfix.errors import OutputError, UsageError

if TYPE_CHECKING:
    from torch import nn

    from cloudfix.clouds.simulation import CloudRecipe
    from cloudfix.evaluation.evaluate import Judging
    from cloudfix.evaluation.methods import Models
    from cloudfix.evaluation.report import Report
    from cloudfix.models.cards import Card
    from cloudfix.training.datasets import Dataset, Split

DATA = "Data"
MODELS = "Models"
OUTPUT = "Output"


def evaluate(
    model: Annotated[
        list[str], typer.Option(help="Weights: a name of `cloudfix models list`, or a file; give several to compare.")
    ],
    data: Annotated[Path, typer.Option(help="Folder of the data set.", rich_help_panel=DATA)],
    *,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Which data set it is, where the layout does not tell; one of those that --recipe joins.",
            rich_help_panel=DATA,
        ),
    ] = None,
    split: Annotated[
        Literal["test", "validation", "train"], typer.Option(help="Which part of it.", rich_help_panel=DATA)
    ] = "test",
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Take data set, size, regions and clouds from this recipe: the images that its training held back.",
            rich_help_panel=DATA,
        ),
    ] = None,
    simulated: Annotated[
        bool,
        typer.Option("--simulated", help="Also lay simulated cloud over the clear images.", rich_help_panel=DATA),
    ] = False,
    bands: Annotated[
        list[str] | None,
        typer.Option(
            help="Show and judge only a sensor's bands: landsat-8-l2, …; `all` for all. Several make a table each.",
            rich_help_panel=DATA,
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="So many images, spread over the split.", rich_help_panel=DATA)
    ] = None,
    skip_unreadable: Annotated[
        bool,
        typer.Option("--skip-unreadable", help="Go on past files that cannot be read.", rich_help_panel=DATA),
    ] = False,
    seed: Annotated[
        int, typer.Option(min=0, help="Of simulated cloud and of the bootstrap.", rich_help_panel=DATA)
    ] = 0,
    sar: Annotated[
        bool | None,
        typer.Option(
            "--sar/--no-sar", help="Show SAR, or withhold it; default both, in two rows.", rich_help_panel=MODELS
        ),
    ] = None,
    keep_clear: Annotated[
        bool,
        typer.Option(
            "--keep-clear", help="Another row with clear pixels kept, as `run` keeps them.", rich_help_panel=MODELS
        ),
    ] = False,
    tile: Annotated[
        int | None, typer.Option(help="Side of a tile, pixels; default the model's.", rich_help_panel=MODELS)
    ] = None,
    overlap: Annotated[
        int | None, typer.Option(help="Pixels tiles share; default the model's.", rich_help_panel=MODELS)
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.", rich_help_panel=MODELS)] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.", rich_help_panel=MODELS)] = "auto",
    each: Annotated[
        bool, typer.Option("--each", help="A table with a row an image too.", rich_help_panel=OUTPUT)
    ] = False,
    as_json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write everything as JSON.", rich_help_panel=OUTPUT)
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a row an image and method.", rich_help_panel=OUTPUT)
    ] = None,
    panels: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write a PNG an image: cloudy, each method, truth; below the differences and the mask.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    write_card: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.safetensors",
            help="Write the weights here, the figures on their card.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    failures: Annotated[
        Path | None,
        typer.Option(metavar="FILE.md", help="Known failures for that card, as Markdown.", rich_help_panel=OUTPUT),
    ] = None,
) -> None:
    """Judge models beside the cloudy input and nearest-clear filling: MAE, RMSE, PSNR, SSIM, SAM, NDVI.

    By image, then averaged, over all, cloudy and clear pixels and by cloud cover, with 95 % confidence intervals. Clear
    scenes get simulated cloud that the seed decides.
    """
    from cloudfix.evaluation.evaluate import Judging
    from cloudfix.evaluation.export import write_csv, write_json
    from cloudfix.evaluation.methods import Running, load_models
    from cloudfix.evaluation.report import EVERY_BAND
    from cloudfix.restoration.network import resolve_device, resolve_precision

    _check(model, [as_json, csv, write_card], write_card, failures)
    device = resolve_device(device)
    running = Running(tile, overlap, resolve_precision(precision, device), sar, keep_clear)
    with console.interruptible():
        opened, clouds = _open(data, dataset, split, recipe, "skip" if skip_unreadable else "refuse")
        judging = Judging(
            running,
            bands=tuple(bands or [EVERY_BAND]),
            simulated=simulated,
            clouds=clouds,
            limit=limit,
            skip_unreadable=skip_unreadable,
            seed=seed,
        )
        models = load_models(model, device)
        report = _judge(models, opened, split, judging, panels)
        report = replace(report, recipe=recipe, part=dataset if recipe else None)
    if as_json:
        write_json(report, as_json)
    if csv:
        write_csv(report, csv)
    if write_card:
        _write_card(write_card, next(iter(models.values())), report, failures)
    _print(report, each=each)


def _check(models: list[str], outputs: list[Path | None], card: Path | None, failures: Path | None) -> None:
    """Find now what would spoil the end of a long run."""
    if card and len(models) > 1:
        raise UsageError(f"--write-card {card}: {len(models)} models are judged; give one --model")
    if card and card.suffix != ".safetensors":
        raise UsageError(f"--write-card {card}: expected a name that ends in .safetensors")
    if failures and not card:
        raise UsageError(f"--failures {failures}: goes onto a card; give --write-card FILE.safetensors too")
    if failures and not failures.is_file():
        raise UsageError(f"--failures {failures}: no such file; expected Markdown")
    for output in outputs:
        if output and not output.parent.is_dir():
            raise OutputError(f"{output}: there is no folder {output.parent}; create it first")


def _open(
    data: Path, name: str | None, split: Split, recipe: str | None, unreadable: Literal["refuse", "skip"]
) -> tuple[Dataset, CloudRecipe | None]:
    """The data set, and what simulated cloud is drawn from where a recipe says so."""
    from cloudfix.training.datasets import JOINT, open_dataset, regions_of

    if recipe is None:
        return open_dataset(name, data, split, unreadable=unreadable), None
    require_training("--recipe")
    from cloudfix.training.recipe_files import read_recipe

    # what stages take from each other is no data of the user's
    stages = [stage for stage in read_recipe(recipe).stages.values() if stage.source is None]
    held = stages[-1].data
    asked = name or held.dataset
    parts = (held.dataset or "").split(JOINT)
    validation, test = held.validation, held.test
    if asked in parts and len(parts) > 1:
        validation, test = (regions_of(asked, named, parts) for named in (validation, test))
    # a stage may shrink images to see more of them at once; that is no size to judge at
    sizes = [stage.data.resize for stage in stages]
    resize = None if None in sizes else max(size for size in sizes if size)
    opened = open_dataset(asked, data, split, resize=resize, validation=validation, test=test, unreadable=unreadable)
    return opened, held.cloud_recipe()


def _judge(models: Models, dataset: Dataset, split: str, judging: Judging, panels: Path | None) -> Report:
    from cloudfix.evaluation.evaluate import evaluate as judge
    from cloudfix.evaluation.panels import write_panel

    seen = None
    if panels:
        panels.mkdir(parents=True, exist_ok=True)
        seen = partial(write_panel, panels)
    with console.progress("evaluating") as moved:
        return judge(models, dataset, split, judging, seen=seen, progress=moved)


def _write_card(path: Path, model: tuple[nn.Module, Card], report: Report, failures: Path | None) -> None:
    """The weights once more, with what was found out about them."""
    from cloudfix.evaluation.figures import with_figures
    from cloudfix.models import save

    network, card = model
    text = failures.read_text(encoding="utf-8").strip() if failures else card.failures
    save(path, network, replace(with_figures(card, report), failures=text))


def _print(report: Report, *, each: bool) -> None:
    from cloudfix.evaluation.tables import draw, markdown, tables

    shown = list(tables(report, each=each))
    if sys.stdout.isatty():
        draw(shown)
    else:
        typer.echo(markdown(shown))
