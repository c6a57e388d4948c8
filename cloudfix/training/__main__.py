"""`python -m cloudfix.training RECIPE.yaml --data DIR --out DIR`: train, until `cloudfix train` does it."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import torch

from cloudfix.errors import CloudfixError
from cloudfix.training.corpus import build, load
from cloudfix.training.loop import Training
from cloudfix.training.recipe import Recipe


def main() -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m cloudfix.training", description=__doc__)
    parser.add_argument("recipe", type=Path, help="a YAML file, such as cloudfix/training/recipes/aca-crnet-multi.yaml")
    parser.add_argument("--data", type=Path, required=True, help="folder with the original images")
    parser.add_argument("--out", type=Path, required=True, help="folder for the cache, the weights and the log")
    parser.add_argument("--start", type=Path, help="weights to go on from; anew if left out")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    # the loop has its own threads, see Training
    torch.set_num_threads(1)
    try:
        recipe = Recipe.read(arguments.recipe)
        build(arguments.data, arguments.out / "cache")
        samples = load(arguments.out / "cache")
        weights = Training(recipe, samples, arguments.out, start=arguments.start).run()
    except CloudfixError as error:
        logging.getLogger(__name__).error("%s", error)  # noqa: TRY400 - one line is what the user needs
        return error.exit_code
    sys.stdout.write(f"{weights}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
