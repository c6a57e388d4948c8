"""Several processes train as one does with a batch as large as all of theirs."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from cloudfix.training.checkpoints import JOURNAL
from cloudfix.training.overrides import with_overrides
from cloudfix.training.recipe_files import read_recipe
from cloudfix.training.stages import Hardware, run

if TYPE_CHECKING:
    from pathlib import Path

RECIPE = """
name: aca-crnet.small
about: a test
licence: none
training_data: noise
architecture: aca-crnet
options: {blocks: 4, features: 4}
data: {crop: 16, workers: 0}
lr: 1.0e-3
ema: 0.9
steps: 12
validate_every: 2
tile: 32
overlap: 0
"""

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def journal(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "train" / JOURNAL).read_text().splitlines()]


@pytest.mark.filterwarnings("ignore:.*are taken")
def test_two_processes_give_the_loss_curve_of_one(dataset_files: Any, tmp_path: Path) -> None:
    # three validation images, which do not come out even
    data = dataset_files.pairs("pairs", range(30), side=32)
    recipe = tmp_path / "small.yaml"
    recipe.write_text(RECIPE)
    run(with_overrides(read_recipe(recipe), ["batch=6"]), data, tmp_path / "one", hardware=Hardware("cpu", "1"))
    command = ["-m", "cloudfix", "train", recipe, "batch=3", "--data", data, "--out", tmp_path / "two"]
    done = subprocess.run(
        [sys.executable, *TORCHRUN, *command, "--accelerator", "cpu"], capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'two' / 'aca-crnet.small.safetensors'}\n"

    one, two = journal(tmp_path / "one"), journal(tmp_path / "two")
    assert len(one) == len(two) == 6
    for alone, together in zip(one, two, strict=True):
        for name in ("loss", "psnr", "mae", "sam"):
            assert together[name] == pytest.approx(alone[name], rel=1e-4)
    assert one[-1]["loss"] < one[0]["loss"]
