"""Estimands: formulas over the distribution that is observed, as values that print."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from .names import quoted

__all__ = ["Expression", "Fraction", "Probability", "Product", "Sum"]

Primes = Mapping[str, int]
"""How many primes each name carries where it is printed."""


@dataclass(frozen=True)
class Probability:
    """`P(of | given)`."""

    of: tuple[str, ...]
    given: tuple[str, ...] = ()

    @property
    def free(self) -> frozenset[str]:
        """The names that a value must be given for."""
        return frozenset(self.of + self.given)

    def text(self, primes: Primes) -> str:
        """Write it, each name with its primes."""
        bar = f" | {_names(self.given, primes)}" if self.given else ""
        return f"P({_names(self.of, primes)}{bar})"

    def __str__(self) -> str:
        return self.text(dict.fromkeys(self.free, 0))


@dataclass(frozen=True)
class Product:
    """The product of `factors`."""

    factors: tuple["Expression", ...]

    @property
    def free(self) -> frozenset[str]:
        """The names that a value must be given for."""
        return frozenset().union(*(factor.free for factor in self.factors))

    def text(self, primes: Primes) -> str:
        """Write it, each name with its primes."""
        return " ".join(f"({factor.text(primes)})" if isinstance(factor, Sum) else factor.text(primes)
                        for factor in self.factors) or "1"

    def __str__(self) -> str:
        return self.text(dict.fromkeys(self.free, 0))


@dataclass(frozen=True)
class Sum:
    """The sum of `body` over every value of the names `over`; integrals, where they are continuous."""

    over: tuple[str, ...]
    body: "Expression"

    @property
    def free(self) -> frozenset[str]:
        """The names that a value must be given for."""
        return self.body.free.difference(self.over)

    def text(self, primes: Primes) -> str:
        """Write it; a name that already means something outside the sum gets a prime."""
        inner = {**primes, **{name: primes[name] + 1 for name in self.over if name in primes}}
        inner.update((name, 0) for name in self.over if name not in primes)
        over = _names(self.over, inner)
        return f"sum_{over if len(self.over) == 1 else '{' + over + '}'} {self.body.text(inner)}"

    def __str__(self) -> str:
        return self.text(dict.fromkeys(self.free, 0))


@dataclass(frozen=True)
class Fraction:
    """`top / bottom`."""

    top: "Expression"
    bottom: "Expression"

    @property
    def free(self) -> frozenset[str]:
        """The names that a value must be given for."""
        return self.top.free | self.bottom.free

    def text(self, primes: Primes) -> str:
        """Write it, each name with its primes."""
        return f"[{self.top.text(primes)}] / [{self.bottom.text(primes)}]"

    def __str__(self) -> str:
        return self.text(dict.fromkeys(self.free, 0))


Expression = Probability | Product | Sum | Fraction


def product_of(factors: Iterable[Expression]) -> Expression:
    """Return the product, flat and without a wrapper around a single factor."""
    flat = [one for factor in factors for one in (factor.factors if isinstance(factor, Product) else (factor,))]
    return flat[0] if len(flat) == 1 else Product(tuple(sorted(flat, key=lambda one: isinstance(one, Sum))))


def sum_of(over: Collection[str], body: Expression) -> Expression:
    """Return the sum over `over`, leaving out what need not be summed.

    A factor `P(v | ...)` sums to one where nothing else has `v`, and a sum over no name is its body.
    """
    rest = tuple(over)
    for name in over:
        factors = body.factors if isinstance(body, Product) else (body,)
        having = [factor for factor in factors if name in factor.free]
        alone = having[0] if len(having) == 1 else None
        if isinstance(alone, Probability) and name in alone.of:
            kept = tuple(one for one in alone.of if one != name)
            body = product_of(Probability(kept, factor.given) if factor is alone else factor
                              for factor in factors if factor is not alone or kept)
            return sum_of([one for one in rest if one != name], body)
    if isinstance(body, Sum) and rest and not set(rest) & set(body.over):
        return sum_of(rest + body.over, body.body)
    return Sum(rest, body) if rest else body


def _names(names: Iterable[str], primes: Primes) -> str:
    return ", ".join(quoted(name) + "'" * primes.get(name, 0) for name in names)
