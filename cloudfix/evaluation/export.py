"""A report as files: JSON with everything, CSV with a row an image, method and part of its pixels."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import asdict, fields
from typing import TYPE_CHECKING

from cloudfix.evaluation.metrics import Scores
from cloudfix.raster.atomic import staging, writing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cloudfix.evaluation.report import Judgement, Report

_WHAT = ("image", "region", "cloud", "bands", "mask", "cover", "sar", "method")
COLUMNS = (*_WHAT, "part", *(field.name for field in fields(Scores)))
"""Of the CSV file."""


def write_json(report: Report, path: Path) -> None:
    """Write the whole report; what is infinite or not a number is null.

    Raises:
        OutputError: the file cannot be written.
    """
    _write(path, json.dumps(report.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_csv(report: Report, path: Path) -> None:
    """Write a row for each image, method and part of its pixels; what cannot be measured is empty.

    Raises:
        OutputError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for judgement in report.images:
        writer.writerows(_rows(judgement))
    _write(path, text.getvalue())


def _rows(judgement: Judgement) -> Iterator[dict[str, object]]:
    about = {name: getattr(judgement, name) for name in _WHAT}
    for part, scores in judgement.scores.items():
        measured = {
            name: "" if isinstance(value, float) and math.isnan(value) else value
            for name, value in asdict(scores).items()
        }
        yield {**about, "part": part, **measured}


def _write(path: Path, text: str) -> None:
    with staging(path) as stage, writing(path):
        stage.file.write_text(text, encoding="utf-8")
        stage.publish()
