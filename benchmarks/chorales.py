"""JSB chorales: a hidden Markov model and a factorial one, log-likelihood per time step on the validation part, beside one written by hand.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/chorales.py --data DATA --epochs 60 --json chorales.json
    OMP_WAIT_POLICY=PASSIVE python benchmarks/chorales.py --data DATA --deep --minutes 7 --rate 0.003      # a deep Markov model with its derived guide

Each step is the 88 notes of a piano at a quarter note (data of Boulanger-Lewandowski et al., 2012, https://arxiv.org/abs/1206.6392). All models
train alike: Adam with one rate, batches of 32 sequences, the same number of epochs; the hand-written one starts at the same parameters as the declared one.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from measure import environment, write_json
from torch import Tensor, nn

import dgm_ppl as dgm

NOTES, LOWEST = 88, 21
Sequences = list[Tensor]


def chorales(folder: str) -> dict[str, Sequences]:
    """The parts by name: each sequence `(steps, 88)` of zeros and ones."""
    with gzip.open(Path(folder) / "music_jsb" / "jsb_quarter_train_valid.json.gz") as file:
        read = json.load(file)
    return {part: [rolled(sequence) for sequence in sequences if sequence] for part, sequences in read.items()}


def rolled(sequence: list[list[int]]) -> Tensor:
    """A piano roll."""
    roll = torch.zeros(len(sequence), NOTES)
    for step, notes in enumerate(sequence):
        roll[step, [int(note) - LOWEST for note in notes]] = 1.0
    return roll


def markov(states: int) -> dgm.BayesNet:
    """A hidden Markov model."""
    return dgm.BayesNet(z=dgm.Categorical(states).given(dgm.lag("z")), x=dgm.Bernoulli(NOTES).given("z"), plates={"time": dgm.Chain(["z", "x"])})


def factorial(states: int) -> dgm.BayesNet:
    """Two chains with common children."""
    return dgm.BayesNet(
        a=dgm.Categorical(states).given(dgm.lag("a")), b=dgm.Categorical(states).given(dgm.lag("b")), x=dgm.Bernoulli(NOTES).given("a", "b", net=dgm.MLP(64)),
        plates={"time": dgm.Chain(["a", "b", "x"])})


class ByHand(nn.Module):
    """The hidden Markov model with the scaled forward algorithm, the gradient by autograd; padded steps are masked."""

    def __init__(self, model: dgm.Model):
        super().__init__()
        z, x = model.conditionals["z"], model.conditionals["x"]
        self.initial = nn.Parameter(z.starts[0].unconstrained["logits"].detach().clone())
        self.moves = nn.Parameter(z.main.predictor.rows["logits"].detach().clone())
        self.notes = nn.Parameter(x.main.predictor.rows["logits"].detach().clone())

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        log = x.transpose(0, 1) @ self.notes.T - nn.functional.softplus(self.notes).sum(-1)
        real = (torch.arange(len(log)).unsqueeze(1) < lengths).unsqueeze(-1)
        shift = log.amax(-1, keepdim=True)
        likelihood, moves = (log - shift).exp(), self.moves.softmax(-1)
        state = self.initial.softmax(0) * likelihood[0]
        scale = state.sum(-1, keepdim=True)
        state, total = state / scale, scale.log() + shift[0]
        for step in range(1, len(log)):
            new = (state @ moves) * likelihood[step]
            scale = new.sum(-1, keepdim=True)
            state = torch.where(real[step], new / scale, state)
            total = total + torch.where(real[step], scale.log() + shift[step], 0.0)
        return total.squeeze(-1)


def trained(loss: Callable[[Tensor, Tensor], Tensor], parameters: list[nn.Parameter], train: Sequences, epochs: int, rate: float, seed: int) -> float:
    """CPU seconds of training by a loop of our own, the same for all."""
    optimizer, dice = torch.optim.Adam(parameters, lr=rate, fused=True), torch.Generator().manual_seed(seed)
    start = time.process_time()
    for _ in range(epochs):
        for rows in torch.randperm(len(train), generator=dice).split(32):
            batch = [train[row] for row in rows.tolist()]
            optimizer.zero_grad()
            loss(nn.utils.rnn.pad_sequence(batch, batch_first=True), torch.tensor([len(one) for one in batch])).backward()
            optimizer.step()
    return time.process_time() - start


def per_step(logs: Tensor, sequences: Sequences) -> float:
    """Nats a time step: the log-likelihood of all sequences over the number of all steps."""
    return (logs.sum() / sum(map(len, sequences))).item()


def declared(net: dgm.BayesNet, parts: dict[str, Sequences], asked: argparse.Namespace) -> tuple[dgm.Model, dict[str, float]]:
    """A declared model, trained."""
    model = dgm.compile(net, seed=asked.seed)
    objective = dgm.MaximumLikelihood(model)
    seconds = trained(lambda x, lengths: objective({"x": x, "time": lengths}), list(model.parameters()), parts["train"], asked.epochs, asked.rate, asked.seed)
    return model, {part: per_step(dgm.log_prob(model, {"x": parts[part]}).value, parts[part]) for part in parts} | {"seconds": seconds}


def by_hand(states: int, parts: dict[str, Sequences], asked: argparse.Namespace) -> dict[str, float]:
    """The hand-written model from the same start."""
    model = ByHand(dgm.compile(markov(states), seed=asked.seed))
    seconds = trained(lambda x, lengths: -model(x, lengths).mean(), list(model.parameters()), parts["train"], asked.epochs, asked.rate, asked.seed)
    with torch.no_grad():
        found = {
            part: per_step(model(nn.utils.rnn.pad_sequence(parts[part], batch_first=True), torch.tensor(list(map(len, parts[part])))), parts[part]) for part in parts
        }
    return found | {"seconds": seconds}


def deep(latent: int, width: int) -> dgm.BayesNet:
    """A deep Markov model (Krishnan et al., 2017, https://arxiv.org/abs/1609.09869); what is fed back goes through bounded units, so that no scale runs away."""
    return dgm.BayesNet(
        z=dgm.Normal(latent).given(dgm.lag("z"), net=dgm.MLP(width, activation=nn.Tanh)), x=dgm.Bernoulli(NOTES).given("z", net=dgm.MLP(width, width)), plates={"time": dgm.Chain(["z", "x"])})


def batches(sequences: Sequences, size: int, dice: torch.Generator) -> list[dict[str, Tensor]]:
    """Sequences of about one length together, in random order."""
    order = (torch.tensor([float(len(one)) for one in sequences]) + 8 * torch.rand(len(sequences), generator=dice)).argsort()
    rows = list(order.split(size))
    return [padded([sequences[row] for row in rows[place].tolist()]) for place in torch.randperm(len(rows), generator=dice).tolist()]


def padded(sequences: Sequences) -> dict[str, Tensor]:
    return {"x": nn.utils.rnn.pad_sequence(sequences, batch_first=True), "time": torch.tensor(list(map(len, sequences)))}


def train_deep(parts: dict[str, Sequences], asked: argparse.Namespace) -> dict[str, object]:
    """The curve of the bound, and bounds at the weights that were best on the validation part.

    The weight of the divergence grows in the first epochs, the rate falls along a cosine over the budget (processor time, on an accelerator time on a
    clock), weights decay, and what is judged is a moving average of the weights.
    """
    net = deep(asked.latent, asked.width)
    model = dgm.compile(net, seed=asked.seed).to(asked.device)
    guide = dgm.compile(dgm.amortize(net, observed="x", net=dgm.MLP(asked.width, activation=nn.Tanh), encoder=dgm.RecurrentState(asked.state)), seed=asked.seed + 1).to(asked.device)
    step_of, last = asked.batches, asked.batches * asked.anneal
    bound, exact = dgm.ELBO(model, guide, kl_weight=lambda step: min(1.0, 0.1 + 0.9 * step / last)), dgm.ELBO(model, guide)
    parameters = [*model.parameters(), *guide.parameters()]
    optimizer, dice = torch.optim.AdamW(parameters, lr=asked.rate, weight_decay=asked.decay, fused=True), torch.Generator().manual_seed(asked.seed)
    mean = [one.detach().clone() for one in parameters]
    torch.manual_seed(asked.seed)

    @torch.no_grad()
    def exchange() -> None:
        """The weights for their moving average, and back."""
        for one, other in zip(parameters, mean):
            held = one.clone()
            one.copy_(other)
            other.copy_(held)

    def nats(part: str, draws: int) -> float:
        data = padded(parts[part])
        with torch.no_grad():
            found = torch.stack([exact(exact.prepare(data)) for _ in range(draws)]).mean().item()
        return -found * len(parts[part]) / sum(map(len, parts[part]))

    clock = time.process_time if asked.device == "cpu" else time.perf_counter
    curve, best, kept, steps, epoch, start, budget = [], float("-inf"), mean, 0, 0, clock(), 60 * asked.minutes
    while (spent := clock() - start) < budget:
        optimizer.param_groups[0]["lr"] = asked.rate * (0.02 + 0.49 * (1 + math.cos(math.pi * spent / budget)))
        for data in batches(parts["train"], -(-len(parts["train"]) // step_of), dice):
            optimizer.zero_grad()
            bound.begin_step(steps)
            bound(bound.prepare(data)).backward()
            nn.utils.clip_grad_norm_(parameters, 50.0)
            optimizer.step()
            with torch.no_grad():
                torch._foreach_lerp_(mean, parameters, max(1 - asked.average, 1 / (steps + 1)))
            steps += 1
        epoch += 1
        if epoch % 10 == 0:
            exchange()
            found = nats("valid", 4)
            curve.append((epoch, clock() - start, nats("train", 1), found))
            print("epoch {:4}  {:6.0f} s  train {:8.3f}  valid {:8.3f}".format(*curve[-1]), flush=True)
            exchange()
            if found > best:
                best, kept = found, [one.clone() for one in mean]
    with torch.no_grad():
        for one, other in zip(parameters, kept):
            one.copy_(other)
    row = {part: nats(part, 50) for part in parts}
    closer = dgm.log_prob(model, padded(parts["valid"]), method=dgm.Importance(guide, 100)).value
    print(f"best weights: bound train {row['train']:.3f}, valid {row['valid']:.3f}; 100 importance samples, valid {per_step(closer, parts['valid']):.3f}")
    return {"bound": row, "importance": per_step(closer, parts["valid"]), "curve": curve}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--states", type=int, default=32)
    parser.add_argument("--factors", type=int, default=8)
    parser.add_argument("--rate", type=float, default=0.02)
    parser.add_argument("--deep", action="store_true", help="the deep Markov model alone")
    parser.add_argument("--minutes", type=float, default=7.0, help="time to train it")
    parser.add_argument("--latent", type=int, default=64)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--state", type=int, default=200, help="width of the encoder's state")
    parser.add_argument("--anneal", type=int, default=60, help="epochs in which the weight of the divergence grows from 0.1 to 1")
    parser.add_argument("--batches", type=int, default=12, help="steps an epoch of the deep Markov model")
    parser.add_argument("--decay", type=float, default=0.0, help="weight decay of the deep Markov model")
    parser.add_argument("--average", type=float, default=0.99, help="of the moving average of its weights")
    parser.add_argument("--device", default="cpu", help="of the deep Markov model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    parts = chorales(asked.data)
    if asked.deep:
        write_json(asked.json, {"environment": environment(seed=asked.seed, threads=1, rate=asked.rate), "deep Markov model": train_deep(parts, asked)})
        return
    alone = torch.cat(parts["train"]).mean(0).clamp(1e-4, 1 - 1e-4)
    found = {"independent notes": {part: per_step(torch.distributions.Bernoulli(alone).log_prob(torch.cat(parts[part])).sum(-1), parts[part]) for part in parts} | {"seconds": 0.0}}
    print(f"{'':34}{'train':>9}{'valid':>9}{'CPU s':>8}")
    runs = {
        f"HMM, {asked.states} states, by hand": lambda: by_hand(asked.states, parts, asked),
        f"HMM, {asked.states} states": lambda: declared(markov(asked.states), parts, asked)[1],
        f"HMM, {asked.factors**2} states": lambda: declared(markov(asked.factors**2), parts, asked)[1],
        f"factorial, 2 x {asked.factors} states": lambda: declared(factorial(asked.factors), parts, asked)[1],
    }
    for name, run in runs.items():
        found[name] = run()
    for name, row in found.items():
        print(f"{name:34}{row['train']:9.3f}{row['valid']:9.3f}{row['seconds']:8.1f}")
    write_json(asked.json, {"environment": environment(seed=asked.seed, threads=1, epochs=asked.epochs, rate=asked.rate), "nats a step": found})


if __name__ == "__main__":
    main()
