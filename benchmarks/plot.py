"""The records in `benchmarks/results` as a picture: `python -m benchmarks.plot` (`pip install 'cloudfix[bench]'`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RESULTS = Path(__file__).parent / "results"
PICTURE = Path(__file__).parent.parent / "docs" / "images" / "benchmarks.svg"
CHANNELS = 48
"""Those of the weights that come with the package."""


def main() -> None:
    """Draw it."""
    # The same records give the same file.
    mpl.rcParams["svg.hashsalt"] = "cloudfix"
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    attention, cover, size = figure.subplots(1, 3)
    draw_attention(attention, record("attention")["rows"])
    pipeline = record("pipeline")
    draw_cover(cover, pipeline)
    draw_size(size, pipeline["by_side"])
    figure.savefig(PICTURE, metadata={"Date": None})
    print(PICTURE)


def record(name: str) -> dict[str, Any]:
    """What `--json` of a benchmark wrote."""
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return found


def draw_attention(axes: Axes, rows: list[dict[str, Any]]) -> None:
    """Time of each form of the attention over the number of positions."""
    rows = [row for row in rows if row["channels"] == CHANNELS]
    for way in rows[0]["seconds"]:
        shown = [row for row in rows if way in row["seconds"]]
        axes.loglog(
            [row["positions"] for row in shown],
            [row["seconds"][way]["median"] for row in shown],
            marker="o",
            label=way,
        )
    axes.set(title=f"AC-Attention, {CHANNELS} channels, one core", xlabel="positions", ylabel="seconds")
    axes.legend()


def draw_cover(axes: Axes, pipeline: dict[str, Any]) -> None:
    """Time of a run over cloud cover, beside the network alone."""
    rows = pipeline["by_cover"]
    axes.plot([100 * row["cover"] for row in rows], [row["seconds"] for row in rows], marker="o", label="cloudfix run")
    axes.axhline(pipeline["floor"], color="grey", linestyle="--", label="network alone, all tiles")
    axes.set(title=f"{rows[0]['side']}² pixels, 13 bands", xlabel="cloud cover, %", ylabel="seconds", ylim=(0, None))
    axes.legend()


def draw_size(axes: Axes, rows: list[dict[str, Any]]) -> None:
    """Time and memory of a run over the size of the scene."""
    millions = [row["side"] ** 2 / 1e6 for row in rows]
    axes.plot(millions, [row["seconds"] for row in rows], marker="o", label="seconds")
    axes.plot(millions, [row["peak_mb"] / 10 for row in rows], marker="s", label="peak memory, 10 MB")
    axes.set(title="10 % cloud", xlabel="million pixels", ylim=(0, None))
    axes.legend()


if __name__ == "__main__":
    main()
