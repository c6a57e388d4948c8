"""The command line: one file a command. Results go to stdout, everything else to stderr."""

from __future__ import annotations

import sys
import warnings
from typing import Annotated

import typer

import cloudfix
from cloudfix.cli import console, evaluate, inspect, mask, models, run, simulate, train
from cloudfix.errors import CloudfixError, CloudfixWarning

app = typer.Typer(
    name="cloudfix",
    help="Take the clouds out of Sentinel-2 and Landsat-8 scenes.",
    epilog="Start with: cloudfix run scene.tif -o clear.tif",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.run)
app.command("inspect")(inspect.inspect)
app.command("mask")(mask.mask)
app.command("simulate")(simulate.simulate)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.add_typer(models.app, name="models")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cloudfix {cloudfix.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; a failure is one line on stderr and an exit code."""
    warnings.simplefilter("always", CloudfixWarning)
    warnings.showwarning = console.show_warning
    try:
        app()
    except CloudfixError as error:
        console.error(str(error))
        sys.exit(error.exit_code)
