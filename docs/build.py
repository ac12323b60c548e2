"""Runs every Python block of the pages, each page from top to bottom, so that no documentation is unrun; pictures land in a folder.

    python docs/build.py [--out FOLDER] [PAGE ...]
"""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
UNRUN = {"architecture.md", "benchmarks.md"}        # prose and figures


def run(page: Path) -> int:
    """Runs a page's blocks in one namespace; returns how many there are."""
    text, names = page.read_text(), {"__name__": page.stem}
    blocks = list(BLOCK.finditer(text))
    for block in blocks:
        line = text[: block.start(1)].count("\n")
        exec(compile("\n" * line + block[1], str(page), "exec"), names)     # the page's own line numbers in a traceback
    return len(blocks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", type=Path, help="pages to run (default: all beside this file)")
    parser.add_argument("--out", default="out/docs", help="folder for what the blocks write")
    options = parser.parse_args()
    pages = options.pages or sorted(page for page in Path(__file__).parent.glob("*.md") if page.name not in UNRUN)
    pages = [page.resolve() for page in pages]
    os.makedirs(options.out, exist_ok=True)
    os.chdir(options.out)
    for page in pages:
        print(f"{page.name}: {run(page)} blocks ran")


if __name__ == "__main__":
    main()
