"""The command line without a process of its own: torch and rasterio are imported once, not by every command."""

import io
import subprocess
import sys
import warnings

import pytest

from cloudfix.cli import main


@pytest.fixture
def typed(tmp_path, monkeypatch, capsys):
    """What `cloudfix` says in a folder, and its exit code, as `subprocess.run` would tell them."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments, stdin=b""):
        command = ["cloudfix", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", command)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        with warnings.catch_warnings(), pytest.raises(SystemExit) as ended:
            main()
            raise SystemExit(0)
        said = capsys.readouterr()
        return subprocess.CompletedProcess(command, ended.value.code or 0, said.out, said.err)

    return call
