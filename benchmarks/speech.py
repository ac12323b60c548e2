"""Spoken digits with a small WaveNet: bits per sample of 8-bit mu-law codes at 8 kHz, and audible samples.

    python benchmarks/speech.py --data FOLDER [--minutes 6] [--device cuda] [--wav FOLDER] [--json FILE]

Takes 0 and 1 of every speaker and digit are the test. Recordings are cut to windows of 2,048 samples (the last is padded with silence, which
is not counted), each predicted from its own beginning and from the digit. Adam with a learning rate that falls along a cosine over the
budget, processor time and one thread on a CPU, time on a clock on an accelerator.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read once, when torch loads OpenMP

import argparse
import math
import time
import wave
from pathlib import Path

import dgm_ppl as dgm
import numpy as np
import torch
from torch import Tensor

from measure import environment, write_json

WINDOW, BATCH, RATE, SILENCE = 2048, 8, 2e-3, 128
NET = dgm.WaveNet(32, layers=9, cycles=2)


def declared(length: int) -> dgm.BayesNet:
    """Codes of a waveform of so many samples given the digit that is said."""
    return dgm.BayesNet(digit=dgm.Given(states=10), x=dgm.Autoregressive(dgm.Categorical(256, length), net=NET).given("digit"))


def windows(folder: Path) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    """Codes, digits and how many samples of each window count, for training and test."""
    with np.load(folder / "audio_fsdd" / "fsdd_small.npz", allow_pickle=False) as arrays:
        pcm, offset, digit, take = (arrays[name] for name in ("pcm", "offset", "digit", "take"))
    found: dict[str, list] = {"train": [], "test": []}
    for place in range(len(digit)):
        codes = dgm.mu_law(torch.from_numpy(pcm[offset[place]: offset[place + 1]].astype(np.float32)) / 32768)
        for piece in codes.split(WINDOW):
            padded = torch.full((WINDOW,), SILENCE)
            padded[: len(piece)] = piece
            found["test" if take[place] < 2 else "train"].append((padded, int(digit[place]), len(piece)))
    return {part: (torch.stack([row[0] for row in rows]), torch.tensor([row[1] for row in rows]), torch.tensor([row[2] for row in rows])) for part, rows in found.items()}


@torch.no_grad()
def bits(model: dgm.Model, part: tuple[Tensor, Tensor, Tensor]) -> float:
    """Bits a sample over the samples that count."""
    conditional, total = model.conditional("x"), 0.0
    for codes, digits, counts in zip(*(values.split(16) for values in part)):
        terms = conditional.residuals(codes.to(model.device), conditional.prepare(digits.to(model.device))).cpu()
        total += float(terms[torch.arange(WINDOW) < counts[:, None]].sum())
    return total / math.log(2) / int(part[2].sum())


def train(parts: dict, options: argparse.Namespace) -> tuple[dgm.Model, list]:
    model = dgm.compile(declared(WINDOW), seed=options.seed).to(options.device)
    clock = time.process_time if options.device == "cpu" else time.perf_counter
    objective = dgm.MaximumLikelihood(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)
    codes, digits, _ = (column.to(options.device) for column in parts["train"])
    budget, begin, curve, step = 60 * options.minutes, clock(), [], 0
    while (spent := clock() - begin) < budget:
        rows = torch.randint(len(codes), (options.batch_size,), device=options.device)
        optimizer.param_groups[0]["lr"] = 1e-6 + RATE * 0.5 * (1 + math.cos(math.pi * spent / budget))
        optimizer.zero_grad()
        loss = objective({"x": codes[rows], "digit": digits[rows]})
        loss.backward()
        optimizer.step()
        if step % 50 == 0:
            curve.append((step, float(loss.detach()) / WINDOW / math.log(2)))
            print(f"step {step:5}  {spent / 60:5.2f} min  training {curve[-1][1]:.3f} bits a sample", flush=True)
        step += 1
    return model.eval(), curve


def write_wav(path: Path, codes: Tensor) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes((dgm.mu_law_inverse(codes) * 32767).short().numpy().tobytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds audio_fsdd/")
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--batch-size", type=int, default=BATCH)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--wav", type=Path, help="write half a second for every digit here")
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    about = environment(seed=options.seed, minutes=options.minutes, batch=options.batch_size, device=options.device)
    print("\n".join(f"{key}: {value}" for key, value in about.items()))
    parts = windows(options.data)
    model, curve = train(parts, options)
    counts = torch.bincount(torch.cat([row[:count] for row, count in zip(parts["train"][0], parts["train"][2])]), minlength=256).float() + 1
    independent = float(-(counts / counts.sum()).log2()[torch.cat([row[:count] for row, count in zip(parts["test"][0], parts["test"][2])])].mean())
    result = {"bits": bits(model, parts["test"]), "independent": independent, "parameters": sum(weight.numel() for weight in model.parameters()), "curve": curve}
    print(f"test {result['bits']:.3f} bits a sample ({independent:.3f} with samples independent), {result['parameters']:,} parameters")
    if options.wav:
        options.wav.mkdir(parents=True, exist_ok=True)
        longer = dgm.compile(declared(4000)).to(options.device)
        longer.load_state_dict(model.state_dict())                          # nothing in the net depends on the length
        spoken = longer.sample(10, given={"digit": torch.arange(10)})["x"].cpu()
        for digit, codes in enumerate(spoken):
            write_wav(options.wav / f"digit_{digit}.wav", codes)
    write_json(options.json, {"environment": about, "declaration": repr(NET), **result})


if __name__ == "__main__":
    main()
