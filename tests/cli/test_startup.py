import re
import resource
import subprocess
import sys

import pytest

from cloudfix import __version__


def _cloudfix(*arguments):
    return subprocess.run([sys.executable, "-m", "cloudfix", *arguments], capture_output=True, text=True)


def test_help_imports_neither_torch_nor_rasterio():
    code = (
        "import sys; sys.argv = ['cloudfix', '--help']\n"
        "from cloudfix.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'rasterio', 'xarray', 'dask') if m in sys.modules], file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "Usage" in result.stdout
    assert result.stderr.strip() == "[]"


def test_help_answers_in_half_a_second_of_cpu():
    _cloudfix("--help")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert _cloudfix("--help").returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


@pytest.mark.parametrize(
    "command", [["run"], ["inspect"], ["mask"], ["train"], ["evaluate"], ["models"], ["models", "import"]]
)
def test_every_command_explains_itself(command):
    result = _cloudfix(*command, "--help")
    assert result.returncode == 0
    assert re.search(r"Usage: .*" + command[-1], result.stdout)


def test_version():
    assert _cloudfix("--version").stdout.strip() == f"cloudfix {__version__}"


def test_wrong_use_is_exit_code_2():
    assert _cloudfix("run", "scene.tif").returncode == 2
    assert _cloudfix("walk").returncode == 2
