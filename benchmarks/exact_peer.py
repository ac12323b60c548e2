"""The peers' side of `exact_posteriors.py` and `exact_likelihood.py`: answers lists on standard input, one JSON line each."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable


def posteriors(path: str, observed: list[str]) -> Callable[[list], dict]:
    """pyAgrum's marginals of every node that is not observed, row by row."""
    import pyagrum

    network = pyagrum.loadBN(path)
    hidden = [name for name in network.names() if name not in observed]
    inference = pyagrum.LazyPropagation(network)
    inference.setNumberOfThreads(1)

    def answer(rows: list) -> dict:
        first, start = None, time.process_time()
        for row in rows:
            inference.setEvidence(dict(zip(observed, row)))
            inference.makeInference()
            found = {name: inference.posterior(name).toarray() for name in hidden}
            first = first or found
        return {"seconds": time.process_time() - start, "first": {name: value.tolist() for name, value in first.items()}}
    return answer


def evidence(path: str, _: list[str]) -> Callable[[list], dict]:
    """pyAgrum's probability of each row, which observes nodes of its own."""
    import pyagrum

    inference = pyagrum.LazyPropagation(pyagrum.loadBN(path))
    inference.setNumberOfThreads(1)

    def answer(rows: list) -> dict:
        logs, start = [], time.process_time()
        for row in rows:
            inference.setEvidence(row)
            logs.append(math.log(inference.evidenceProbability()))
        return {"seconds": time.process_time() - start, "logs": logs}
    return answer


def sample(path: str, _: list[str]) -> Callable[[list], dict]:
    """pyAgrum's forward samples."""
    import pyagrum

    network = pyagrum.loadBN(path)

    def answer(counts: list) -> dict:
        generator, start = pyagrum.BNDatabaseGenerator(network), time.process_time()
        generator.setRandomVarOrder()
        generator.drawSamples(counts[0])
        return {"seconds": time.process_time() - start}
    return answer


def pgmpy(path: str, _: list[str]) -> Callable[[list], dict]:
    """pgmpy's forward samples."""
    import logging
    import warnings

    from pgmpy.readwrite import BIFReader
    from pgmpy.sampling import BayesianModelSampling

    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    sampler = BayesianModelSampling(BIFReader(path).get_model())

    def answer(counts: list) -> dict:
        start = time.process_time()
        sampler.forward_sample(size=counts[0], show_progress=False)
        return {"seconds": time.process_time() - start}
    return answer


def elimination(path: str, observed: list[str]) -> Callable[[list], dict]:
    """pgmpy's marginals of every node that is not observed, by variable elimination: one query a row, or one a node where that takes too much memory."""
    import logging
    import warnings

    from pgmpy.inference import VariableElimination
    from pgmpy.readwrite import BIFReader

    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    network = BIFReader(path).get_model()
    states, hidden = network.states, [name for name in network.nodes() if name not in observed]
    inference = VariableElimination(network)

    def answer(rows: list) -> dict:
        first, start = None, time.process_time()
        for row in rows:
            seen = {name: states[name][code] for name, code in zip(observed, row)}
            try:
                found = inference.query(hidden, evidence=seen, joint=False, show_progress=False)
            except MemoryError:
                found = {name: inference.query([name], evidence=seen, show_progress=False) for name in hidden}
            first = first or found
        seconds = time.process_time() - start
        return {"seconds": seconds, "first": {name: [float(value) for value in factor.values] for name, factor in first.items()}}
    return answer


def main() -> None:
    answer = {"posteriors": posteriors, "elimination": elimination, "evidence": evidence, "sample": sample, "pgmpy": pgmpy}[sys.argv[1]](sys.argv[2], sys.argv[3:])
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
