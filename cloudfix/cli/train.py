"""`cloudfix train`: a recipe and a folder of data in, weights with their card out."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cloudfix.cli import console
from cloudfix.cli.extras import require_training
from cloudfix.errors import InterruptionError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cloudfix.training.recipe import Recipe

HARDWARE = "Hardware"


def train(
    recipe: Annotated[
        str | None,
        typer.Argument(metavar="RECIPE", help="A name that --list prints, or a YAML file.", show_default=False),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Other settings: lr=1e-4 data.crop=128, or STAGE.KEY=VALUE for one stage.",
            show_default=False,
        ),
    ] = None,
    *,
    data: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the data set.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the run; default runs/RECIPE.", show_default=False)
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out, with the same data in the same order.")
    ] = False,
    stage: Annotated[
        str | None, typer.Option(metavar="STAGE", help="Run this stage alone, on what the others left in --out.")
    ] = None,
    list_them: Annotated[bool, typer.Option("--list", help="Name the recipes, and end.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Print all settings of the recipe as YAML, and end.")] = False,
    accelerator: Annotated[
        str, typer.Option(help="auto, cpu, gpu or another of Lightning's.", rich_help_panel=HARDWARE)
    ] = "auto",
    devices: Annotated[str, typer.Option(help="How many a machine, or auto.", rich_help_panel=HARDWARE)] = "auto",
    nodes: Annotated[int, typer.Option(help="How many machines.", rich_help_panel=HARDWARE)] = 1,
) -> None:
    r"""Train as a recipe says, and print the path of the weights, ready for `cloudfix run --model`.

    \b
    cloudfix train --list
    cloudfix train aca-crnet-rice1 --data RICE1 --out runs/rice1
    cloudfix train aca-crnet-rice1 --data RICE1 --out runs/rice1 --resume
    cloudfix train thiefcloud --data T-CLOUD data.crop=128 tunable.lr=1e-4
    cloudfix train aca-crnet-scenes --data my-clear-scenes

    Losses, metrics and images while it runs: tensorboard --logdir runs/rice1
    """
    require_training("train")
    if list_them:
        _print_recipes()
        return
    if recipe is None:
        raise UsageError("train: no recipe; name one, `cloudfix train --list` prints them")
    chosen = _chosen(recipe, settings or [])
    if show:
        _print_settings(chosen)
        return
    if data is None:
        raise UsageError("train: --data is missing; name the folder of the data set")
    folder = out or Path("runs") / Path(recipe).stem
    from cloudfix.training.stages import Hardware, is_first, run

    hardware = Hardware(accelerator, int(devices) if devices.isdigit() else devices, nodes)
    try:
        with _notes_once(seen=is_first()):
            products = run(
                chosen, data, folder, resume=resume, only=stage, hardware=hardware, progress=console.progress
            )
    except KeyboardInterrupt:
        raise InterruptionError("interrupted; the same command with --resume goes on") from None
    for path in products:
        typer.echo(path)


def _chosen(recipe: str, settings: Sequence[str]) -> Recipe:
    from cloudfix.training.overrides import with_overrides
    from cloudfix.training.recipe_files import read_recipe

    return with_overrides(read_recipe(recipe), settings)


def _print_recipes() -> None:
    from cloudfix.training.recipe_files import list_recipes, read_recipe

    names = list_recipes()
    for name in names:
        typer.echo(f"{name:{max(map(len, names))}}  {read_recipe(name).about}")


def _print_settings(recipe: Recipe) -> None:
    from cloudfix.training.recipe_files import dump

    typer.echo(dump(recipe), nl=False)


@contextmanager
def _notes_once(*, seen: bool) -> Iterator[None]:
    """Each stage opens the data anew, and would say the same of them, as would each of several processes."""
    shown, told = warnings.showwarning, set()

    def show(message: Warning | str, *args: Any, **kwargs: Any) -> None:
        if seen and str(message) not in told:
            told.add(str(message))
            shown(message, *args, **kwargs)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = shown
