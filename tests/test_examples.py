"""Every example runs, with tiny arguments."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TINY = {
    "latent_diffusion": (["--steps", "20"], {"graph.svg", "samples.png", "model.safetensors"}),
    "vae": (["--epochs", "2", "--samples", "5"], {"graph.svg", "graph.png", "curves.png", "samples.png", "reconstructions.png", "model.safetensors", "guide.safetensors"}),
    "sprinkler": (["--rows", "100", "--steps", "3"], {"graph.svg"}),
    "children": (["--rows", "100"], {"graph.svg", "wrong.png"}),
    "eight_schools": (["--samples", "10", "--warmup", "10"], {"graph.svg"}),
    "deep_markov_model": (["--rows", "50", "--epochs", "2"], {"graph.svg", "sequences.png"}),
}


def test_every_example_is_listed():
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == set(TINY)


@pytest.mark.parametrize("name", TINY)
def test_it_runs(name, tmp_path):
    arguments, files = TINY[name]
    subprocess.run([sys.executable, "-W", "error::UserWarning", ROOT / "examples" / f"{name}.py", *arguments, "--out", tmp_path], check=True, cwd=tmp_path, capture_output=True, text=True, env=_environment())
    assert files <= {path.name for path in tmp_path.iterdir()}


def _environment():
    import os
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
