"""No documentation is unrun."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted(page.name for page in (ROOT / "docs").glob("*.md") if page.name not in ("architecture.md", "benchmarks.md"))


@pytest.mark.parametrize("page", PAGES)
def test_every_block_runs(page, tmp_path):
    arguments = [sys.executable, ROOT / "docs" / "build.py", ROOT / "docs" / page, "--out", tmp_path]
    done = subprocess.run(arguments, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert "blocks ran" in done.stdout


def test_the_readme_names_what_is_there():
    readme = (ROOT / "README.md").read_text()
    for name in ("docs/guide.md", "docs/architecture.md", "docs/benchmarks.md", "examples/vae.py", "constraints.txt"):
        assert name in readme and (ROOT / name).exists()


def test_ci_runs_the_readmes_command():
    readme, script = (ROOT / "README.md").read_text(), (ROOT / ".ci" / "run").read_text()
    command = readme.split("<!-- tests -->")[1].split("<!-- end -->")[0]
    assert "python3 -m venv" in command and "pytest" in command
    assert "<!-- tests -->" in script and "pytest" not in script            # taken from the README, not written again


def test_a_built_page_has_outputs_and_pictures_and_may_not_claim_what_is_not_printed(tmp_path):
    script, page = ROOT / "docs" / "build.py", tmp_path / "page.md"
    block = "# A page\n\n```python\nimport dgm_ppl as dgm\ndgm.draw(dgm.DAG('a -> b')).save('ab.svg')\nprint(1 + 1)\n```\n\n```text\n{}\n```\n\nEnd.\n"
    page.write_text(block.format("2"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, script, page, "--out", tmp_path / "built"], check=True, capture_output=True, env=environment)
    built = (tmp_path / "built" / "page.md").read_text()
    assert built.endswith("```\n\n```text\n2\n```\n\n![ab](ab.svg)\n\nEnd.\n") and (tmp_path / "built" / "ab.svg").is_file()
    page.write_text(block.format("3"))
    done = subprocess.run([sys.executable, script, page, "--out", tmp_path / "built"], capture_output=True, text=True, env=environment)
    assert done.returncode != 0 and "page.md, line 3: the page shows\n3\n\nbut the block prints\n2" in done.stderr
