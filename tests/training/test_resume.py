"""A run that is stopped, killed and resumed, against one that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import torch

from cloudfix.models import load
from cloudfix.training.checkpoints import JOURNAL, LAST
from cloudfix.training.recipe_files import read_recipe
from cloudfix.training.stages import Hardware, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:.*are taken")

RECIPE = """
name: aca-crnet.small
about: a test
licence: none
training_data: noise
architecture: aca-crnet
options: {blocks: 4, features: 4}
data: {crop: 16, simulated: 0.5, gain: [0.1, 0.1], workers: 1}
loss: {name: carl}
optimiser: adamw
schedule: cosine
ema: 0.9
batch: 2
steps: 40
validate_every: 4
tile: 32
overlap: 0
"""


@pytest.fixture
def data(dataset_files: Any) -> Path:
    return dataset_files.pairs("pairs", range(10), side=32)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def interrupted(data: Path, recipe: Path, tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """Starts the command and sends it a signal between two validations; returns its exit code and stderr."""

    def start(signum: int, validations: int, *options: str) -> tuple[int, str]:
        # a shell starts what runs in the background, as these tests may, deaf to Ctrl-C
        awake = ["env", "--default-signal=INT", sys.executable]
        command = [*awake, "-m", "cloudfix", "train", recipe, "--data", data, "--accelerator", "cpu"]
        process = subprocess.Popen(
            [*command, "--out", tmp_path / "cut", *options],
            # how sums are rounded depends on the number of threads, which is 1 in these tests
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        journal = tmp_path / "cut" / "train" / JOURNAL
        while not journal.exists() or len(journal.read_text().splitlines()) < validations:
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)
        time.sleep(0.05)
        process.send_signal(signum)
        return process.wait(60), process.communicate()[1]

    return start


def test_a_stopped_and_killed_run_ends_at_the_same_weights(
    interrupted: Callable[..., tuple[int, str]], data: Path, recipe: Path, tmp_path: Path
) -> None:
    code, stderr = interrupted(signal.SIGINT, 1)
    assert code == 130
    assert stderr.splitlines()[-1].startswith("error: interrupted; the same command with --resume goes on from")
    assert "Traceback" not in stderr
    code, _ = interrupted(signal.SIGKILL, 4, "--resume")
    assert code == -signal.SIGKILL
    assert 0 < torch.load(tmp_path / "cut" / "train" / LAST)["global_step"] < 40

    chosen, hardware = read_recipe(recipe), Hardware("cpu", "1")
    (resumed,) = run(chosen, data, tmp_path / "cut", resume=True, hardware=hardware)
    (whole,) = run(chosen, data, tmp_path / "whole", hardware=hardware)
    assert load(resumed)[1].checksum == load(whole)[1].checksum
    states = [torch.load(tmp_path / out / "train" / LAST) for out in ("whole", "cut")]
    assert [state["global_step"] for state in states] == [40, 40]
    for part in ("state_dict", "current_model_state"):
        assert all(torch.equal(states[0][part][name], value) for name, value in states[1][part].items())
