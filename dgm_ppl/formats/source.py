"""A file's content and the errors that point into it; sizes that a file asks for are held against its own size."""

from __future__ import annotations

import gzip
import io
import zlib
from functools import cached_property
from pathlib import Path

from .errors import FormatError

__all__ = ["Source"]

_EXPANSION = 100
_CELLS_PER_BYTE = 16
_GRACE = 1 << 20


class Source:
    """The bytes of one file, read once.

    A compressed file may grow to 100 times its size and a megabyte, and tables that are not spelt out in full (default
    rows, deterministic nodes) may have 16 entries for each byte of the file and a million: more is refused before it
    is allocated.
    """

    def __init__(self, path: str | Path, data: bytes) -> None:
        self.path, self.data = Path(path), data
        self._left = _GRACE + _CELLS_PER_BYTE * len(data)

    @classmethod
    def open(cls, path: str | Path) -> Source:
        """Read a file, decompressing it where its name ends with `.gz`."""
        path = Path(path)
        data = path.read_bytes()
        return cls(path, _decompressed(path, data) if path.suffix.lower() == ".gz" else data)

    @property
    def plain(self) -> Path:
        """The path without `.gz`."""
        return self.path.with_suffix("") if self.path.suffix.lower() == ".gz" else self.path

    def beside(self, suffix: str) -> Source | None:
        """Read the file whose name is this one's followed by `suffix`, if there is one."""
        path = self.plain.with_name(self.plain.name + suffix)
        return Source.open(path) if path.is_file() else None

    @cached_property
    def text(self) -> str:
        """The content as text, which must be UTF-8."""
        try:
            return self.data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = self.data.count(b"\n", 0, error.start) + 1
            byte = f"0x{self.data[error.start]:02x}"
            raise self.error(f"expected UTF-8; got the byte {byte}; try saving the file as UTF-8", line, byte) from None

    def error(self, problem: str, line: int | None = None, token: str | None = None) -> FormatError:
        """Return the error that names this file, the line and the token."""
        return FormatError(problem, path=self.path.name, line=line, token=token)

    def reserve(self, cells: int, line: int | None) -> None:
        """Refuse more table entries than a file of this size may ask for without spelling them out."""
        self._left -= cells
        if self._left < 0:
            raise self.error(f"asks for a table of {cells:,} entries that it does not spell out, too many for a file of "
                             f"{len(self.data):,} bytes; write the rows out", line)


def _decompressed(path: Path, data: bytes) -> bytes:
    limit = _GRACE + _EXPANSION * len(data)
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            content = file.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise FormatError(f"expected gzip data; got {error}", path=path.name) from error
    if len(content) > limit:
        raise FormatError(f"expands to more than {_EXPANSION} times its size; decompress it first", path=path.name)
    return content
