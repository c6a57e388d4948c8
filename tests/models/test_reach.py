from __future__ import annotations

import subprocess
import sys


def test_models_are_reached_from_the_package_without_torch() -> None:
    code = (
        "import sys, cloudfix\n"
        "assert 'cloudfix.models' not in sys.modules\n"
        "assert callable(cloudfix.models.create) and callable(cloudfix.models.published.convert)\n"
        "print([m for m in ('torch', 'rasterio') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
