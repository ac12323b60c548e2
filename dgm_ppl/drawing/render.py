"""Running the program that draws DOT sources: the system's `dot`, else the one inside the wheel `graphviz-pure`."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from .dot import Source

__all__ = ["programs", "render"]

_WHEEL = "graphviz-pure"


def render(source: Source, kind: str, *options: str) -> bytes:
    """Return a source drawn as `kind`: what `dot -T` calls `svg`, `png` or `json`.

    Raises `RuntimeError` where no program can.
    """
    said = []
    for program in programs():
        command = [program, f"-T{kind}", *source.options, *options]
        done = subprocess.run(command, input=source.text.encode(), capture_output=True, check=False)
        if done.returncode == 0 and done.stdout:
            return done.stdout
        said.append(f"{program}: {done.stderr.decode(errors='replace').strip()}")
    raise RuntimeError(f"draw: expected a program that draws {kind}; got {'; '.join(said) or 'none'}; "
                       f"try pip install {_WHEEL}, or save the source: picture.save('picture.dot')")


def programs() -> Iterator[str]:
    """Yield the programs that may draw, best first."""
    system = shutil.which("dot")
    if system:
        yield system
    wheel = _of_wheel() or shutil.which(_WHEEL)
    if wheel:
        yield wheel


def _of_wheel() -> str | None:
    """The wheel's program where this Python has it installed, on PATH or not."""
    try:
        inside = files(_WHEEL) or []
    except PackageNotFoundError:
        return None
    found = (Path(file.locate()).resolve() for file in inside if file.stem == _WHEEL and file.suffix in ("", ".exe"))
    return next((str(path) for path in found if path.is_file()), None)
