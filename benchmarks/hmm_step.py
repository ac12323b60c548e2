"""Training steps of hidden Markov models: exact likelihood along a declared chain against hand-written forward algorithms and Pyro.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/hmm_step.py --rounds 15 --json hmm_step.json

The model has 16 states, Normal observations of two numbers, 50 steps and 64 sequences. Every contender has the same parameters and fused Adam; seconds
are CPU time of one step (loss, gradient, update), contenders taking turns.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable

import pyro
import pyro.distributions as dist
import torch
from measure import environment, interleaved, ratios, table, write_json
from torch import Tensor, nn

import dgm_ppl as dgm

STATES, NUMBERS = 16, 2


class ByHand(nn.Module):
    """The parameters of the model; `emissions` are log-likelihoods `(steps, sequences, states)`."""

    def __init__(self) -> None:
        super().__init__()
        self.initial, self.moves = nn.Parameter(torch.zeros(STATES)), nn.Parameter(0.1 * torch.randn(STATES, STATES))
        self.loc, self.log_scale = nn.Parameter(0.1 * torch.randn(STATES, NUMBERS)), nn.Parameter(0.1 * torch.randn(STATES, NUMBERS))

    def emissions(self, x: Tensor) -> Tensor:
        standard = (x.transpose(0, 1).unsqueeze(2) - self.loc) / self.log_scale.exp()
        return (-0.5 * standard.square() - self.log_scale - 0.5 * math.log(2 * math.pi)).sum(-1)


class Scaled(ByHand):
    """The forward algorithm with scaled probabilities (Rabiner, 1989), the gradient by autograd."""

    def forward(self, x: Tensor) -> Tensor:
        log, moves = self.emissions(x), self.moves.softmax(-1)
        shift = log.amax(-1, keepdim=True)
        likelihood = (log - shift).exp()
        state = self.initial.softmax(0) * likelihood[0]
        scale = state.sum(-1, keepdim=True)
        state, total = state / scale, scale.log()
        for step in likelihood[1:]:
            state = (state @ moves) * step
            scale = state.sum(-1, keepdim=True)
            state, total = state / scale, total + scale.log()
        return -(total + shift.sum(0)).mean()


class LogSpace(ByHand):
    """The forward algorithm as textbooks have it for floating point: log-sum-exp."""

    def forward(self, x: Tensor) -> Tensor:
        log, moves = self.emissions(x), self.moves.log_softmax(-1)
        state = self.initial.log_softmax(0) + log[0]
        for step in log[1:]:
            state = (state.unsqueeze(-1) + moves).logsumexp(1) + step
        return -state.logsumexp(-1).mean()


class Discrete(ByHand):
    """Pyro's DiscreteHMM, whose messages go by an associative scan."""

    def forward(self, x: Tensor) -> Tensor:
        emission = dist.Normal(self.loc, self.log_scale.exp()).to_event(1)
        return -dist.DiscreteHMM(self.initial, self.moves, emission, duration=x.shape[1]).log_prob(x).mean()


class Enumerated(ByHand):
    """A Pyro model with `pyro.markov`, the states enumerated by TraceEnum_ELBO."""

    def __init__(self) -> None:
        super().__init__()
        self.elbo = pyro.infer.TraceEnum_ELBO(max_plate_nesting=1)

    def model(self, x: Tensor) -> None:
        with pyro.plate("sequences", len(x), dim=-1):
            state = None
            for step in pyro.markov(range(x.shape[1])):
                logits = self.initial if state is None else self.moves[state]
                state = pyro.sample(f"z{step}", dist.Categorical(logits=logits), infer={"enumerate": "parallel"})
                pyro.sample(f"x{step}", dist.Normal(self.loc[state], self.log_scale.exp()[state]).to_event(1), obs=x[:, step])

    def forward(self, x: Tensor) -> Tensor:
        return self.elbo.differentiable_loss(self.model, lambda x: None, x) / len(x)


def declared(x: Tensor) -> tuple[nn.Module, Callable[[], Tensor]]:
    """The library's: a declaration, compiled."""
    net = dgm.BayesNet(z=dgm.Categorical(STATES).given(dgm.lag("z")), x=dgm.Normal(NUMBERS).given("z"), plates={"time": dgm.Chain(["z", "x"])})
    objective = dgm.MaximumLikelihood(dgm.compile(net))
    batch = objective.prepare({"x": x})
    return objective, lambda: objective(batch)


def aligned(objective: dgm.MaximumLikelihood, hand: ByHand) -> None:
    """Gives the declared model the parameters of a hand-written one, so that the losses can be compared."""
    z, x = objective.model.conditionals["z"], objective.model.conditionals["x"]
    with torch.no_grad():
        z.starts[0].unconstrained["logits"].copy_(hand.initial)
        z.main.predictor.rows["logits"].copy_(hand.moves)
        x.main.predictor.rows["loc"].copy_(hand.loc)
        x.main.predictor.rows["scale"].copy_(hand.log_scale)


def stepper(module: nn.Module, loss: Callable[[], Tensor], repeats: int) -> Callable[[], float]:
    """CPU seconds of a training step."""
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-4, fused=True)

    def once() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    def timer() -> float:
        start = time.process_time()
        for _ in range(repeats):
            once()
        return (time.process_time() - start) / repeats

    once()
    return timer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--sequences", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(asked.seed)
    x = torch.randn(asked.sequences, asked.steps, NUMBERS)
    objective, loss = declared(x)
    timers, losses = {"dgm_ppl": stepper(objective, loss, 10)}, {}
    for name, kind, repeats in (("scaled forward, by hand", Scaled, 5), ("log space, by hand", LogSpace, 3), ("Pyro DiscreteHMM", Discrete, 3), ("Pyro TraceEnum_ELBO", Enumerated, 1)):
        torch.manual_seed(asked.seed)
        module = kind()
        if kind is not Discrete:                                            # its initial logits precede the first move
            aligned(objective, module)
            losses[name] = abs(loss().item() - module(x).item())
        timers[name] = stepper(module, lambda module=module: module(x), repeats)
    summary = ratios(interleaved(timers, asked.rounds), "scaled forward, by hand")
    print(table(summary))
    print("difference of the losses at equal parameters:", {name: f"{value:.1e}" for name, value in losses.items()})
    write_json(asked.json, {"environment": environment(seed=asked.seed, threads=1, sequences=asked.sequences, steps=asked.steps), "step": summary, "loss differences": losses})


if __name__ == "__main__":
    main()
