"""Builds the documentation: runs every Python block of the pages, from top to bottom, and writes each page with what its blocks print and draw.

    python docs/build.py [--out FOLDER] [--data FOLDER] [PAGE ...]

In a built page every block is followed by its output and by the pictures that it saved. A `text` block that follows a Python block is
that block's output as the author saw it; it is held against what was printed (`...` stands for anything).
"""

from __future__ import annotations

import argparse
import doctest
import io
import os
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<said>.*?)^```\n)?", re.MULTILINE | re.DOTALL)
UNRUN = {"architecture.md", "benchmarks.md"}        # prose and figures
PICTURES = (".svg", ".png")
ALIKE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def build(page: Path) -> tuple[str, int]:
    """The page with outputs and pictures, and how many blocks ran, all in one namespace."""
    text, names, parts, end, count = page.read_text(), {"__name__": page.stem}, [], 0, 0
    for block in BLOCK.finditer(text):
        line = text[: block.start("code")].count("\n")
        before, printed = pictures(), io.StringIO()
        with redirect_stdout(printed):
            exec(compile("\n" * line + block["code"], str(page), "exec"), names)    # the page's own line numbers in a traceback
        check(page, line, block["said"], printed.getvalue())
        parts += [text[end : block.start()], f"```python\n{block['code']}```\n", *shown(printed.getvalue(), before)]
        end, count = block.end(), count + 1
    return "".join([*parts, text[end:]]), count


def pictures() -> dict[Path, int]:
    """The pictures that are there, and when they were written."""
    return {path: path.stat().st_mtime_ns for path in sorted(Path().rglob("*")) if path.suffix in PICTURES}


def shown(printed: str, before: dict[Path, int]) -> Iterator[str]:
    """What a block left behind."""
    if printed.strip():
        yield f"\n```text\n{printed.rstrip()}\n```\n"
    for path, written in pictures().items():
        if before.get(path) != written:
            yield f"\n![{path.stem}]({path.as_posix()})\n"


def check(page: Path, line: int, said: str | None, printed: str) -> None:
    """Raises where a page shows an output that its block does not print."""
    if said is not None and not doctest.OutputChecker().check_output(said, printed, ALIKE):
        raise SystemExit(f"{page.name}, line {line}: the page shows\n{said}\nbut the block prints\n{printed}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", type=Path, help="pages to build (default: all beside this file)")
    parser.add_argument("--out", default="out/docs", help="folder for the built pages and what their blocks write")
    parser.add_argument("--data", type=Path, help="folder with the real data that the tutorial names; without it those sections are left out")
    options = parser.parse_args()
    if options.data is not None:
        os.environ["DGM_DATA"] = str(options.data.resolve())
    pages = options.pages or sorted(page for page in Path(__file__).parent.glob("*.md") if page.name not in UNRUN)
    pages = [page.resolve() for page in pages]
    os.makedirs(options.out, exist_ok=True)
    os.chdir(options.out)
    for page in pages:
        built, count = build(page)
        Path(page.name).write_text(built)
        print(f"{page.name}: {count} blocks ran")


if __name__ == "__main__":
    main()
