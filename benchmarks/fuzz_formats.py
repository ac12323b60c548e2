"""Damaged files against every reader: each must give a net or `FormatError`, soon, and in little memory.

    python benchmarks/fuzz_formats.py [--files 10000] [--seed 0] [--keep FOLDER] [FILE ...]

The files that are damaged are those of `tests/formats/golden` and those that are named. A reading that takes more than
`--seconds` counts as a hang. Reported are the outcomes by format, the slowest reading and the growth of the process.
"""

from __future__ import annotations

import argparse
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from dgm_ppl import read
from dgm_ppl.formats import FormatError

GOLDEN = Path(__file__).parents[1] / "tests" / "formats" / "golden"
TOKENS = (
    b"{", b"}", b"(", b")", b"((((((((", b"))))", b"[", b"]", b"<", b">", b"</", b"/>", b"&", b"&#0;", b"&x;", b";", b",", b"|", b'"', b"'", b"\\", b'\\"', b"=", b":", b"->", b"--",
    b"//", b"/*", b"*/", b"%", b"#", b"\n", b"\0", b"\xff", b"\xc3\xa9", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"nan", b"inf", b"-1", b"1e999", b"1e-999", b"0", b"999999999",
    b"99999999999999999999", b"9" * 5000, b"0.5 " * 50, b"table", b"default", b"network", b"variable a", b"probability ( a )", b"property x;", b"node", b"potential", b"data",
    b"class", b"digraph", b"subgraph", b"<!ENTITY x 'y'>", b"<!DOCTYPE a []>", b"<![CDATA[", b"]]>", b"<!--", b"-->", b'"dtype": "U99999999"', b"null", b"[]", b"{}", b"true",
)


def mutated(rng: random.Random, files: Sequence[bytes]) -> bytes:
    """Damage one of the files in one to five places.

    >>> mutated(random.Random(0), [b"network n { }"]) != b"network n { }"
    True
    """
    content = rng.choice(files)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
        start = rng.randrange(len(content) + 1)
        end = min(len(content), start + rng.choice((1, 1, 2, 4, 10, 40, 200)))
        content = rng.choice(DAMAGES)(rng, content, start, end, files)
    return content


Damage = Callable[[random.Random, bytes, int, int, Sequence[bytes]], bytes]


def _cut(rng: random.Random, content: bytes, start: int, end: int, files: Sequence[bytes]) -> bytes:
    return content[:start] + content[end:]


def _repeat(rng: random.Random, content: bytes, start: int, end: int, files: Sequence[bytes]) -> bytes:
    return content[:end] + content[start:end] * rng.choice((1, 1, 2, 50)) + content[end:]


def _insert(rng: random.Random, content: bytes, start: int, end: int, files: Sequence[bytes]) -> bytes:
    return content[:start] + rng.choice(TOKENS) * rng.choice((1, 1, 1, 2, 1000)) + content[start:]


def _replace(rng: random.Random, content: bytes, start: int, end: int, files: Sequence[bytes]) -> bytes:
    return content[:start] + rng.choice(TOKENS) + content[end:]


def _flip(rng: random.Random, content: bytes, start: int, end: int, files: Sequence[bytes]) -> bytes:
    return content[:start] + rng.randbytes(min(end - start, 4)) + content[start + min(end - start, 4):]


def _truncate(rng: random.Random, content: bytes, start: int, end: int, files: Sequence[bytes]) -> bytes:
    return content[:start]


def _splice(rng: random.Random, content: bytes, start: int, end: int, files: Sequence[bytes]) -> bytes:
    other = rng.choice(files)
    return content[:start] + other[rng.randrange(len(other) + 1):]


def _swap(rng: random.Random, content: bytes, start: int, end: int, files: Sequence[bytes]) -> bytes:
    lines = content.splitlines(keepends=True) or [b""]
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[i], lines[j] = lines[j], lines[i]
    return b"".join(lines)


DAMAGES: tuple[Damage, ...] = (_cut, _cut, _repeat, _insert, _insert, _replace, _replace, _flip, _truncate, _splice, _swap)


def outcome(path: Path) -> str:
    """Read a file and say what came of it: `net`, `refused`, or the name of an error that should not be.

    >>> outcome(GOLDEN / "lawn.bif")
    'net'
    """
    try:
        read(path)
    except FormatError:
        return "refused"
    except Exception as error:  # noqa: BLE001 - finding these is what it is for
        return type(error).__name__
    return "net"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="more files to damage")
    parser.add_argument("--files", dest="count", type=int, default=10_000, help="how many damaged files (default 10,000)")
    parser.add_argument("--seed", type=int, default=0, help="of the damages (default 0)")
    parser.add_argument("--seconds", type=int, default=20, help="what counts as a hang (default 20)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where files go that cause another error")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    rng, groups = random.Random(options.seed), groups_of([*GOLDEN.iterdir(), *options.files])
    signal.signal(signal.SIGALRM, _hang)
    counts: Counter[tuple[str, str]] = Counter()
    slowest, before = (0.0, ""), _megabytes()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.count):
            suffix = rng.choice(list(groups))
            path = Path(folder) / f"damaged{suffix}"
            path.write_bytes(mutated(rng, groups[suffix]))
            started = time.perf_counter()
            signal.alarm(options.seconds)
            found = outcome(path)
            signal.alarm(0)
            slowest = max(slowest, (time.perf_counter() - started, f"{number}{suffix}"))
            counts[suffix, found] += 1
            if options.keep and found not in ("net", "refused"):
                options.keep.mkdir(parents=True, exist_ok=True)
                (options.keep / f"{number}{suffix}").write_bytes(path.read_bytes())
    for (suffix, found), count in sorted(counts.items()):
        print(f"{suffix:12} {found:24} {count:7,}")
    print(f"slowest {slowest[0]:.2f} s ({slowest[1]}); the process grew by {_megabytes() - before:.0f} MB")
    sys.exit(any(found not in ("net", "refused") for _, found in counts))


def groups_of(paths: Sequence[Path]) -> dict[str, list[bytes]]:
    """The files' contents by suffix."""
    groups: dict[str, list[bytes]] = {}
    for path in sorted(paths):
        if not path.name.endswith(".names.json"):
            groups.setdefault("".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix, []).append(path.read_bytes())
    return groups


def _hang(*_: object) -> None:
    raise TimeoutError("the reading hangs")


def _megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
