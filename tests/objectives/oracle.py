"""Linear-Gaussian nets on random graphs: joint, evidence and exact inverses in closed form."""

from __future__ import annotations

import torch
from torch import Tensor

import dgm_ppl as dgm


class LinearGaussian:
    """x_v = b_v + sum_u w_uv x_u + s_v noise on a DAG given as `{node: parents}`, parents first."""

    def __init__(self, parents: dict[str, tuple[str, ...]], seed: int = 0):
        draw = torch.Generator().manual_seed(seed)
        self.names, self.parents = tuple(parents), parents
        size = len(parents)
        self.weight, self.bias = torch.zeros(size, size), torch.randn(size, generator=draw)
        self.scale = 0.4 + torch.rand(size, generator=draw)
        for child, above in parents.items():
            for parent in above:
                self.weight[self.names.index(child), self.names.index(parent)] = 0.5 + torch.rand((), generator=draw)
        spread = torch.linalg.inv(torch.eye(size) - self.weight)
        self.mean, self.covariance = spread @ self.bias, spread @ self.scale.diag().square() @ spread.T

    def net(self) -> dgm.BayesNet:
        return dgm.BayesNet({name: dgm.Normal(loc=self._loc(i), scale=self.scale[i].item()) for i, name in enumerate(self.names)})

    def _loc(self, i: int):
        terms = [self.weight[i, self.names.index(parent)].item() * dgm.Ref(parent) for parent in self.parents[self.names[i]]]
        return sum(terms[1:], start=terms[0]) + self.bias[i].item() if terms else self.bias[i].item()

    def at(self, names) -> list[int]:
        return [self.names.index(name) for name in names]

    def evidence(self, data: dict[str, Tensor]) -> Tensor:
        """log p of the columns, the other nodes integrated out."""
        at = self.at(data)
        marginal = torch.distributions.MultivariateNormal(self.mean[at], self.covariance[at][:, at])
        return marginal.log_prob(torch.stack(list(data.values()), -1))

    def regression(self, name: str, given) -> tuple[Tensor, float, float]:
        """Coefficients, intercept and standard deviation of a node given others."""
        v, at = self.at([name]), self.at(given)
        coefficients = torch.linalg.solve(self.covariance[at][:, at], self.covariance[at][:, v]).squeeze(-1)
        variance = self.covariance[v, v].squeeze() - self.covariance[v][:, at].squeeze(0) @ coefficients
        return coefficients, (self.mean[v].squeeze() - coefficients @ self.mean[at]).item(), variance.sqrt().item()

    def set_exact(self, guide: dgm.Model) -> dgm.Model:
        """Sets a guide of linear networks to the exact conditionals."""
        for node in guide.schedule:
            if list(node.conditional.parameters()) and node.parents:
                coefficients, intercept, deviation = self.regression(node.name, node.parents)
                linear = node.conditional.predictor.network[0]
                with torch.no_grad():
                    linear.weight.copy_(torch.stack([coefficients, torch.zeros_like(coefficients)]))
                    linear.bias.copy_(torch.tensor([intercept, torch.tensor(deviation).log().item()]))
        return guide


TREE = {"a": (), "b": ("a",), "c": ("a",), "x": ("b",), "y": ("b", "c"), "w": ("c",)}
COLLIDERS = {"a": (), "b": (), "c": (), "x": ("a", "b"), "y": ("b", "c")}
CHAIN = {"z1": (), "z2": ("z1",), "z3": ("z2",), "x1": ("z1",), "x2": ("z2",), "x3": ("z3",), "spare": ("z2",)}
