"""The README does not promise what is not there."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cloudfix.cli import app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    cloudfix (.+?)(?:\s+#.*)?$", README, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_and_options_exist(command):
    words = command.split()
    name = words[:2] if words[0] == "models" else words[:1]
    result = CliRunner().invoke(app, [*name, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    for option in (word for word in words if word.startswith("-")):
        assert option in result.stdout, option


def test_links_lead_somewhere():
    for link in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / link).exists(), link


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^    make (\w+)", README, re.MULTILINE):
        assert f"\n{target}:" in makefile
