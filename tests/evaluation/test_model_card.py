"""Figures onto a card, and from the card to a page."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from cloudfix.evaluation.evaluate import Judging, evaluate
from cloudfix.evaluation.figures import on_card, with_figures
from cloudfix.evaluation.methods import Running
from cloudfix.evaluation.model_card import render
from cloudfix.models import Card, SarInput

SAR = (SarInput("vv", (-25, 0), 0.08, 2), SarInput("vh", (-32.5, 0), 2 / 32.5, 2))


@pytest.fixture(scope="module")
def judged(squares, shift):
    network, card = shift(name="shift.test", by=0.05, sar=SAR)
    judging = Judging(Running(keep_clear=True, tile=32), bands=("all", "landsat-8-l2"), simulated=True)
    report = evaluate({"shift.test": (network, card)}, squares(sar=True), "test", judging)
    return report, with_figures(replace(card, metrics={"minutes": 3.0, "hardware": "two cores"}), report)


def test_the_network_goes_by_that_name(judged) -> None:
    _, card = judged
    assert {figure.method for figure in on_card(card.metrics)} == {
        "copy",
        "nearest-clear",
        "network",
        "network, no SAR",
        "network, clear kept",
    }


def test_figures_are_the_means_of_the_report(judged) -> None:
    report, card = judged
    section = report.sections[0]
    psnr = next(m for m in section.methods if m.name == "shift.test").part("cloudy").metrics["psnr"].mean
    key = "test/real cloud/all bands/cloudy pixels/network/psnr"
    assert card.metrics[key] == pytest.approx(psnr, abs=1e-5)
    assert card.metrics["test/real cloud/all bands/all pixels/copy/images"] == 4
    assert "test/simulated cloud/landsat-8-l2/all pixels/network/sam_degrees" in card.metrics


def test_what_the_card_said_before_stays(judged) -> None:
    report, card = judged
    assert (card.metrics["minutes"], card.metrics["hardware"]) == (3.0, "two cores")
    stale = "test/real cloud/all bands/all pixels/network, flipped/psnr"
    other = "validation/real cloud/all bands/all pixels/network/psnr"
    again = with_figures(replace(card, metrics={**card.metrics, stale: 1.0, other: 2.0}), report)
    assert stale not in again.metrics
    assert again.metrics[other] == 2
    assert {**card.metrics, other: 2.0} == again.metrics
    assert again.metrics["test/chosen by"] == "--dataset squares --split test"
    held_back = with_figures(card, replace(report, recipe="aca-crnet-multi"))
    assert held_back.metrics["test/chosen by"] == "--recipe aca-crnet-multi --split test"
    of_one = with_figures(card, replace(report, recipe="aca-crnet-rgb", part="rice2"))
    assert of_one.metrics["test/chosen by"] == "--recipe aca-crnet-rgb --dataset rice2 --split test"


def test_the_tiles_that_gave_the_figures_are_on_the_card(judged) -> None:
    assert (judged[1].tile, judged[1].overlap) == (32, 0)


def test_what_is_infinite_stays_off_the_card(judged) -> None:
    assert all(math.isfinite(figure.value) for figure in on_card(judged[1].metrics))


def test_the_page_holds_the_metadata(judged) -> None:
    card = replace(
        judged[1],
        licence="CC BY 4.0",
        training_data="noise",
        recipe=json.dumps({"lr": 0.1, "command": "cloudfix train"}),
        failures="- Snow is taken for cloud.",
    )
    page = render(card)
    for text in ("# shift.test", "CC BY 4.0", "noise", "lr: 0.1", "minutes: 3", "two cores", "Snow is taken"):
        assert text in page
    assert "| radar | VV -25 to 0 dB, VH -32.5 to 0 dB |" in page


def test_the_page_holds_the_figures(judged) -> None:
    card = judged[1]
    page = render(card)
    low, high = (card.metrics[f"test/real cloud/all bands/all pixels/network/psnr_{end}"] for end in ("low", "high"))
    mean = card.metrics["test/real cloud/all bands/all pixels/network/psnr"]
    assert f"| network | {mean:.2f} [{low:.2f}, {high:.2f}] |" in page
    assert "    cloudfix evaluate --model shift.test --data DIR --dataset squares --split test" in page
    assert "### Test split, simulated cloud" in page
    bands = page[page.index("### Test split, real cloud: PSNR by band set") :].splitlines()
    assert [line.split(" | ")[0] for line in bands[2:6]] == ["| bands", "| ---", "| all bands", "| landsat-8-l2"]


def test_panels_are_linked_from_the_page(judged, tmp_path) -> None:
    page = render(judged[1], panels=[tmp_path / "images" / "good.png"], beside=tmp_path / "models" / "card.md")
    assert "![good](../images/good.png)" in page
    assert "## Panels" not in render(judged[1])


def test_text_cannot_break_the_table(judged) -> None:
    page = render(replace(judged[1], training_data="here\n\nthere | everywhere", recipe="7"))
    assert "| training data | here there \\| everywhere |" in page
    assert "- recipe: 7" in page


def test_a_bare_card_has_a_page() -> None:
    page = render(Card("scpm.bare", "scpm", {}, ("red", "green", "blue"), role="thickness"))
    assert "a map of the cloud's thickness" in page
    assert "## Accuracy" not in page
    assert "None is recorded" in page
    assert Path.cwd().name not in page
