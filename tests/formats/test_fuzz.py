"""A few hundred damaged files; `benchmarks/fuzz_formats.py` reads ten thousand."""

import importlib.util
import random
from pathlib import Path

import pytest

from .networks import GOLDEN

PATH = Path(__file__).parents[2] / "benchmarks" / "fuzz_formats.py"


@pytest.fixture(scope="module")
def fuzz():
    spec = importlib.util.spec_from_file_location("fuzz_formats", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("suffix", [".bif", ".xmlbif", ".xdsl", ".uai", ".net", ".dot", ".json"])
def test_damaged_files_give_a_net_or_the_error(suffix, fuzz, tmp_path):
    rng, path = random.Random(suffix), tmp_path / f"damaged{suffix}"
    files = fuzz.groups_of(list(GOLDEN.iterdir()))[suffix]
    found = set()
    for _ in range(60):
        path.write_bytes(fuzz.mutated(rng, files))
        found.add(fuzz.outcome(path))
    assert found <= {"net", "refused"} and "refused" in found
