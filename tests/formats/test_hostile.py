"""Files made to hurt: nothing is executed, nothing hangs, and memory stays in proportion to the file."""

import gzip
import tracemalloc

import pytest

from dgm_ppl import read
from dgm_ppl.formats import FormatError

TWO = "network n { }\n" + "".join(f"variable v{i} {{ type discrete [ 2 ] {{ a, b }}; }}\n" for i in range(60))
ROOTS = "".join(f"probability ( v{i} ) {{ table 1 0; }}\n" for i in range(59))
PARENTS = ", ".join(f"v{i}" for i in range(59))
CPT = '<cpt id="a"><state id="x"/><state id="y"/><probabilities>1 0</probabilities></cpt>'
BILLION = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
MANY = 20_000

HOSTILE = {
    "states": (".bif", "network n { }\nvariable a { type discrete [ 999999999 ] { x, y }; }\nprobability ( a ) { table 1 0; }", "declares 999,999,999 states; got 2"),
    "count": (".bif", f"network n {{ }}\nvariable a {{ type discrete [ {'9' * 5000} ] {{ x, y }}; }}", "expected"),
    "default": (".bif", TWO + ROOTS + f"probability ( v59 | {PARENTS} ) {{ default 0.5 0.5; }}", "asks for a table of .* entries that it does not spell out"),
    "table": (".bif", TWO + ROOTS + f"probability ( v59 | {PARENTS} ) {{ table 0.5 0.5; }}", "expected 1,000,000,000,000,000 probabilities"),
    "parents": (".bif", TWO + f"probability ( v0 | {'v1 ' * MANY}) {{ table 0.5 0.5; }}", "no table|expected a block|twice"),
    "number": (".bif", TWO + "probability ( v0 ) { table " + "9" * 10**6, "expected a number; got '9|end of the file"),
    "xml number": (".xmlbif", "<BIF><NETWORK><VARIABLE><NAME>a</NAME></VARIABLE><DEFINITION><FOR>a</FOR><TABLE>0." + "9" * 10**6
                   + "</TABLE></DEFINITION></NETWORK></BIF>", "expected a number; got '0.9"),
    "uai number": (".uai", "BAYES\n1\n2\n1\n1 0\n2\n0.5 " + "9" * 10**6, "expected a number; got '9"),
    "json number": (".json", "0." + "9" * 10**6, "expected shorter numbers"),
    "quote": (".bif", TWO + 'property "' * MANY, "expected"),
    "comment": (".bif", TWO + "/*" * MANY, "expected"),
    "word": (".bif", "network " + "a" * 10**6, "expected '{'; got the end of the file"),
    "text": (".bif", "word " * 10**5 + "{", "expected"),
    "uai states": (".uai", "BAYES\n1\n999999999\n1\n1 0\n999999999\n0.5 0.5", "expected 999,999,999 probabilities; got 2"),
    "uai variables": (".uai", "BAYES\n999999999\n2 2", "expected a number of states; got the end"),
    "uai scope": (".uai", f"BAYES\n1\n2\n1\n{MANY} {'0 ' * MANY}\n2\n1 0", "expected scopes of different variables"),
    "uai product": (".uai", f"BAYES\n{MANY}\n{'999999999 ' * MANY}\n{MANY}\n" + "\n".join(f"1 {i}" for i in range(MANY - 1))
                    + f"\n{MANY} {' '.join(map(str, range(MANY)))}\n2\n1 0", "expected 999,999,999 probabilities"),
    "uai digits": (".uai", "BAYES\n" + "9" * 10**5, "expected the number of variables"),
    "net depth": (".net", "net { x = " + "(" * MANY + ")" * MANY + "; }", "at most 64 deep"),
    "net blocks": (".net", "net {" * MANY + "}" * MANY, "at most 64 deep"),
    "net open": (".net", "net { x = " + "(" * MANY, "got the end of the file"),
    "dot depth": (".dot", "digraph {" + "{" * MANY + "}" * MANY + "}", "at most 64 deep"),
    "dot product": (".dot", "digraph {{" + " ".join(f"a{i}" for i in range(3000)) + "} -> {" + " ".join(f"b{i}" for i in range(3000)) + "}}", "asks for"),
    "dot html": (".dot", "digraph { a [label=" + "<" * MANY + "] }", "expected"),
    "entities": (".xmlbif", BILLION + "<BIF>&b;</BIF>", "expected no entities"),
    "external": (".xdsl", '<!DOCTYPE smile SYSTEM "file:///etc/passwd"><smile>&leak;</smile>', "expected no entities"),
    "external entity": (".xdsl", '<!DOCTYPE smile [<!ENTITY leak SYSTEM "file:///etc/passwd">]><smile>&leak;</smile>', "expected no entities"),
    "attribute": (".xdsl", f'<!DOCTYPE smile [<!ATTLIST state x CDATA "{"x" * MANY}">]><smile>' + "<state/>" * 1000 + "</smile>", "expected one <nodes>"),
    "xml depth": (".xdsl", "<smile>" * MANY, "at most 100 deep"),
    "encoding": (".xdsl", '<?xml version="1.0" encoding="zlib_codec"?><smile/>', "expected a known encoding"),
    "deterministic": (".xdsl", "<smile><nodes><deterministic id='a'>" + "".join(f"<state id='s{i}'/>" for i in range(MANY)) + "<resultingstates>"
                      + "s0 " * MANY + "</resultingstates></deterministic></nodes></smile>", "asks for a table of 400,000,000 entries"),
    "json depth": (".json", "[" * 10**5, "less deep|expected JSON"),
    "json dtype": (".json", '{"dtype": "U999999999", "value": ["a"]}', "expected a dtype of float64"),
    "json digits": (".json", "9" * 10**5, "expected shorter numbers"),
    "bomb": (".bif.gz", gzip.compress(b" " * 10**8), "expands to more than 100 times its size"),
    "cut": (".bif.gz", gzip.compress(TWO.encode())[:60], "expected gzip data"),
    "name": (".xdsl", f"<smile><nodes>{CPT.replace('</cpt>', '<property id=' + chr(34) + 'dgm_ppl_states' + chr(34) + '>' + '[' * MANY + '</property></cpt>')}</nodes></smile>",
             "expected 2 labels as a JSON list"),
    "unknown": (".bif", "network n { }\n" + "".join(f"variable {'v' * 50}{i} {{ type discrete [ 2 ] {{ a, b }}; }}\n" for i in range(2000))
                + f"probability ( {'v' * 55} ) {{ table 1 0; }}", "expected a block"),
}


@pytest.mark.parametrize("case", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file(case, tmp_path):
    suffix, content, message = case
    path = tmp_path / f"net{suffix}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    read_once(tmp_path / f"warm{suffix}")
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=message):
            read(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * 10**7 + 2000 * path.stat().st_size


def read_once(path):
    """Builds the format's parser, so that what is measured is the file."""
    path.write_bytes(gzip.compress(b"") if path.suffix == ".gz" else b"")
    with pytest.raises(FormatError):
        read(path)


def test_nothing_is_executed(tmp_path):
    """A file that holds code is text: its names and labels come back as they stand."""
    code = "__import__('os').mkdir('owned')"
    path = tmp_path / "net.bif"
    path.write_text(f'network n {{ }}\nvariable "{code}" {{ type discrete [ 2 ] {{ "{code}", b }}; }}\nprobability ( "{code}" ) {{ table 1 0; }}')
    net = read(path)
    assert list(net) == [code] and net[code].labels == (code, "b") and not (tmp_path / "owned").exists()
