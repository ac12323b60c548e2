"""Checkpoints: a run's state in a safetensors file, written beside and moved into place, read without running code."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from .trees import difference, pack, unpack

__all__ = ["Checkpoint", "check_same", "read", "write"]

FORMAT = "dgm_ppl checkpoint 1"


@dataclass(frozen=True)
class Checkpoint:
    """A folder that holds a run: `last.safetensors` to resume from, `best.safetensors` with the best parameters.

    Written at the end, at an interruption and, in between, when `seconds` have passed since the last writing; also every
    `steps` steps where that is given. A path in its place means the defaults.

    >>> Checkpoint("runs/vae").last.as_posix()
    'runs/vae/last.safetensors'
    """

    folder: str | os.PathLike[str]
    seconds: float = 30.0
    steps: int | None = None

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"Checkpoint: expected steps of at least 1; got {self.steps}; try steps=100")

    @property
    def last(self) -> Path:
        """The file to resume from."""
        return Path(self.folder) / "last.safetensors"

    @property
    def best(self) -> Path:
        """The file of the best parameters, under the names of the objective's `state_dict()`."""
        return Path(self.folder) / "best.safetensors"


def write(path: Path, tree: Any) -> None:
    """Stores a tree of tensors and JSON data: a reader sees the old file or the new one, never a half.

    Raises `TypeError` for a tree with other leaves, before anything is written.
    """
    skeleton, tensors = pack(tree)
    stored = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    text = json.dumps(skeleton)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(beside, "wb") as file:
            file.write(save(stored, {"format": FORMAT, "tree": text, "digest": _digest(text, stored)}))
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        _sync_folder(path.parent)
    finally:
        beside.unlink(missing_ok=True)


def read(path: Path) -> Any:
    """The tree that `write` stored, its tensors on the CPU.

    Raises `ValueError`, naming the file, for one that is no checkpoint, is cut short or was altered.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise _unusable(path, f"a file that is cut short or is no safetensors file ({error})") from None
    if metadata.get("format") != FORMAT:
        raise _unusable(path, f"a safetensors file of format {metadata.get('format')!r}")
    if metadata.get("digest") != _digest(metadata.get("tree", ""), stored):
        raise _unusable(path, "a file that was altered (its digest does not match)")
    return unpack(json.loads(metadata["tree"]), stored)


def check_same(path: Path, what: str, saved: Any, now: Any, mend: str) -> None:
    """Raises `ValueError`, with the first difference, unless the saved JSON data is that of now."""
    found = difference(saved, json.loads(json.dumps(now)))
    if found is not None:
        raise ValueError(f"checkpoint '{path}': expected the same {what}; got a difference: {found}; {mend}")


def _unusable(path: Path, got: str) -> ValueError:
    return ValueError(
        f"checkpoint '{path}': expected a checkpoint that fit wrote; got {got}; "
        "try a copy of the file, or fit(..., resume=False) to start afresh in its place"
    )


def _digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
        digest.update(memoryview(tensors[name].reshape(-1).view(torch.uint8).numpy()))
    return digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return  # Windows cannot open a folder; its rename is durable by itself
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
