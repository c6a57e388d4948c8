"""`cloudfix models`: the weights there are, what is known about them, and how others come in."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloudfix.models import Card

app = typer.Typer(help="Weights: list them, show their cards, import and export them.", no_args_is_help=True)

_Model = Annotated[str, typer.Argument(metavar="NAME|FILE", help="A name that `list` prints, or a .safetensors file.")]
_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_command(as_json: _AsJson = False) -> None:
    """The weights that come with cloudfix, one a line, name first; ! before a licence for research only."""
    from cloudfix.models import list_weights, read_card

    cards = [read_card(name) for name in list_weights()]
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(card) for card in cards], indent=2))
    elif sys.stdout.isatty():
        _print_table(cards)
    else:
        for card in cards:
            typer.echo("\t".join(_summary(card)))


@app.command("show")
def show(
    model: _Model,
    as_json: _AsJson = False,
) -> None:
    """Everything that the card of a set of weights says."""
    from cloudfix.models import read_card

    record = dataclasses.asdict(read_card(model))
    if as_json:
        typer.echo(json.dumps(record, indent=2))
        return
    metrics = record.pop("metrics")
    for key, value in record.items():
        typer.echo(f"{key}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
    for line in _grouped(metrics):
        typer.echo(line)


@app.command("import")
def import_command(
    source: Annotated[Path, typer.Argument(metavar="FILE.pth", help="Checkpoint of the published code.")],
    name: Annotated[str, typer.Option("--as", metavar="NAME", help="Its architecture, or ARCHITECTURE.TAG.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.safetensors", help="Where to write it.")],
) -> None:
    """Turn a published checkpoint into weights for --model; nothing in it is executed."""
    from cloudfix.errors import UsageError
    from cloudfix.models.importing import import_checkpoint

    if output.suffix != ".safetensors":
        raise UsageError(f"--output {output}: expected a name that ends in .safetensors")
    import_checkpoint(source, name, output)
    typer.echo(output)


@app.command("export")
def export_command(
    model: _Model,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write it; .safetensors or .pth.")
    ],
) -> None:
    """Write weights for use elsewhere: .safetensors with the card, or .pth as the published code names them."""
    from cloudfix.models.exporting import export_weights

    export_weights(model, output)
    typer.echo(output)


@app.command("card")
def card_command(
    model: _Model,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.md", help="Where to write it; default stdout.")
    ] = None,
    panels: Annotated[
        list[Path] | None, typer.Option("--panel", metavar="FILE.png", help="A picture to show; any number.")
    ] = None,
) -> None:
    """The card of a set of weights as a Markdown page: data, making, accuracy, failures."""
    from cloudfix.errors import UsageError
    from cloudfix.evaluation.model_card import render
    from cloudfix.models import read_card
    from cloudfix.models.weights import write_whole

    missing = [path for path in panels or () if not path.is_file()]
    if missing:
        raise UsageError(f"--panel {missing[0]}: no such file; write panels with `cloudfix evaluate --panels DIR`")
    page = render(read_card(model), panels=panels or (), beside=output)
    if output is None:
        typer.echo(page, nl=False)
    else:
        write_whole(output, page.encode())
        typer.echo(output)


def _grouped(metrics: dict[str, float | str]) -> Iterator[str]:
    """A line for what is said of the same images, pixels and method."""
    groups: dict[str, list[str]] = {}
    for name, value in metrics.items():
        about, _, metric = name.rpartition("/")
        groups.setdefault(about, []).append(f"{metric} {format(value, '.6g') if isinstance(value, float) else value}")
    yield "metrics:" if groups else "metrics: none"
    for about, values in groups.items():
        yield f"  {about or 'training'}: {', '.join(values)}"


def _summary(card: Card) -> tuple[str, ...]:
    from cloudfix.restoration.licence import for_research_only

    licence = " ".join(str(card.licence).split())
    licence = f"! {licence}" if for_research_only(card) else licence
    inputs = f"{len(card.slots)} bands" + (f" + {'/'.join(c.slot for c in card.sar)}" if card.sar else "")
    return card.name, card.architecture, inputs, f"tile {card.tile}, overlap {card.overlap}", licence


def _print_table(cards: list[Card]) -> None:
    from rich.console import Console
    from rich.table import Table

    from cloudfix.restoration.licence import for_research_only

    table = Table("name", "architecture", "input", "tiles", "licence")
    for card in cards:
        table.add_row(*_summary(card), style="yellow" if for_research_only(card) else None)
    Console().print(table)
