"""pyAgrum's side of `exact_posteriors.py`: answers lists of rows on standard input, one JSON line each."""

from __future__ import annotations

import json
import sys
import time

import pyagrum


def main() -> None:
    network, observed = pyagrum.loadBN(sys.argv[1]), sys.argv[2:]
    hidden = [name for name in network.names() if name not in observed]
    inference = pyagrum.LazyPropagation(network)
    inference.setNumberOfThreads(1)
    for line in sys.stdin:
        rows, first = json.loads(line), None
        start = time.process_time()
        for row in rows:
            inference.setEvidence(dict(zip(observed, row)))
            inference.makeInference()
            found = {name: inference.posterior(name).toarray() for name in hidden}
            first = first or found
        seconds = time.process_time() - start
        print(json.dumps({"seconds": seconds, "first": {name: value.tolist() for name, value in first.items()}}), flush=True)


if __name__ == "__main__":
    main()
