"""A training gives what it gave: 50 losses and gradient norms, to a relative 1e-4."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).parent / "golden" / "losses.py"


def golden() -> Any:
    """The script that writes the file."""
    spec = importlib.util.spec_from_file_location("golden_losses", GOLDEN)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_fifty_steps_are_those_of_the_golden_file(tmp_path: Path) -> None:
    expected = json.loads(GOLDEN.with_suffix(".json").read_text("utf-8"))
    found = golden().measured(tmp_path)
    assert len(found) == len(expected) == 50
    for key in ("loss", "gradient_norm"):
        series = [[row[key] for row in rows] for rows in (found, expected)]
        np.testing.assert_allclose(*series, rtol=1e-4, err_msg=key)
        assert np.ptp(series[1]) > 0.1
