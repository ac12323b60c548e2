"""A file that is wrong names itself, the line and the token, and says what it should have been."""

import numpy
import pytest

from dgm_ppl import DAG, BayesNet, Bernoulli, Categorical, Given, Normal, read, write
from dgm_ppl.formats import BIF, Document, FormatError, read_document

from .networks import GOLDEN, lawn

BIF_HEAD = "network n {\n}\nvariable a {\n  type discrete [ 2 ] { yes, no };\n}\nvariable b {\n  type discrete [ 2 ] { on, off };\n}\n"
BIF_A = "probability ( a ) {\n  table 0.5, 0.5;\n}\n"
NET_HEAD = 'net\n{\n}\nnode a\n{\n    states = ("yes" "no");\n}\n'
XML_A = "<VARIABLE><NAME>a</NAME><OUTCOME>y</OUTCOME><OUTCOME>n</OUTCOME></VARIABLE>"

WRONG = {
    "bif misspelt": (".bif", "network n {\n}\nvaraible a {\n}", 3, "v[^:]*: expected .*'?variable"),
    "bif unclosed": (".bif", BIF_HEAD + "probability ( a ) {\n  table 0.5, 0.5", 10, "expected .*';'.*; got the end of the file"),
    "bif number": (".bif", BIF_HEAD + "probability ( a ) {\n  table 0.5, O.5;\n}", 10, "at 'O.5'|at 'O'"),
    "bif states": (".bif", BIF_HEAD.replace("[ 2 ] { on", "[ 3 ] { on") + BIF_A, 7, "node 'b': declares 3 states; got 2 names"),
    "bif same state": (".bif", BIF_HEAD.replace("on, off", "on, on") + BIF_A + BIF_A.replace("( a )", "( b )"), 6, "the state 'on' is named twice"),
    "bif one state": (".bif", BIF_HEAD.replace("[ 2 ] { on, off }", "[ 1 ] { on }") + BIF_A + "probability ( b ) {\n table 1;\n}", 6, "expected at least two states; got \\['on'\\]"),
    "bif no table": (".bif", BIF_HEAD + BIF_A, 6, "node 'b': expected a block 'probability \\( b \\)"),
    "bif undeclared": (".bif", BIF_HEAD + BIF_A + BIF_A.replace("( a )", "( c )") + BIF_A.replace("( a )", "( b )"), 12, "expected a declared variable; got 'c'"),
    "bif twice": (".bif", BIF_HEAD + BIF_A + BIF_A, 12, "node 'a': has a probability block already, in line 9"),
    "bif same variable": (".bif", BIF_HEAD.replace("variable b", "variable a") + BIF_A, 6, "node 'a' is declared twice"),
    "bif parent": (".bif", BIF_HEAD + BIF_A + "probability ( b | c ) {\n (yes) 0.5 0.5;\n (no) 0.5 0.5;\n}", 6, "node 'b': no parent 'c'"),
    "bif own parent": (".bif", BIF_HEAD + BIF_A + "probability ( b | b ) {\n default 0.5 0.5;\n}", 6, "node 'b' is its own parent"),
    "bif parent twice": (".bif", BIF_HEAD + BIF_A + "probability ( b | a, a ) {\n default 0.5 0.5;\n}", 6, "node 'b' has the parent 'a' twice"),
    "bif cycle": (".bif", BIF_HEAD + "probability ( a | b ) {\n default 0.5 0.5;\n}\nprobability ( b | a ) {\n default 0.5 0.5;\n}", None, "expected no cycle; got a -> b -> a"),
    "bif joint": (".bif", BIF_HEAD + "probability ( a, b | a ) {\n table 1;\n}", 9, "expected one variable before the bar"),
    "bif size": (".bif", BIF_HEAD + "probability ( a ) {\n  table 0.5, 0.25, 0.25;\n}\n" + BIF_A.replace("a )", "b )"), 10, "node 'a': expected 2 probabilities \\(2\\); got 3"),
    "bif row size": (".bif", BIF_HEAD + BIF_A + "probability ( b | a ) {\n (yes) 0.5 0.5;\n (no) 0.5;\n}", 14, "node 'b': expected 2 probabilities, one a state; got 1"),
    "bif row state": (".bif", BIF_HEAD + BIF_A + "probability ( b | a ) {\n (yes) 0.5 0.5;\n (on) 0.5 0.5;\n}", 14, "its parent 'a' has no state 'on'"),
    "bif row names": (".bif", BIF_HEAD + BIF_A + "probability ( b | a ) {\n (yes, no) 0.5 0.5;\n (no) 0.5 0.5;\n}", 13, "name one state of each of \\['a'\\]; got \\['yes', 'no'\\]"),
    "bif row twice": (".bif", BIF_HEAD + BIF_A + "probability ( b | a ) {\n (yes) 0.5 0.5;\n (yes) 0.5 0.5;\n}", 14, "the row of \\['yes'\\] is given twice, first in line 13"),
    "bif rows missing": (".bif", BIF_HEAD + BIF_A + "probability ( b | a ) {\n (yes) 0.5 0.5;\n}", 12, "expected a row for each of 2 configurations of its parents; got 1"),
    "bif sum": (".bif", BIF_HEAD + BIF_A + "probability ( b | a ) {\n (yes) 0.5 0.5;\n (no) 0.5 0.4;\n}", 14,
                "node 'b', given a='no': the probabilities sum to 0.9; expected 1 within 1e-06; try dgm.read\\(path, normalise=True\\)"),
    "bif negative": (".bif", BIF_HEAD + BIF_A.replace("0.5, 0.5", "-0.5, 1.5") + BIF_A.replace("( a )", "( b )"), 10, "node 'a': expected probabilities; got \\[-0.5, 1.5\\]"),
    "bif overflow": (".bif", BIF_HEAD + BIF_A.replace("0.5, 0.5", "1e999, 0.5") + BIF_A.replace("( a )", "( b )"), 10, "node 'a': expected probabilities; got \\[inf, 0.5\\]"),
    "bif empty": (".bif", "network n {\n}\n", None, "expected at least one node"),
    "bif bytes": (".bif", b"network n {\n}\n\xff", 3, "expected UTF-8; got the byte 0xff; try saving the file as UTF-8"),
    "bif gzip": (".bif.gz", b"not gzip", None, "expected gzip data"),
    "xml not": (".xmlbif", "<BIF>\n<NETWORK>\n</BIF>", 3, "expected well-formed XML; got mismatched tag"),
    "xml root": (".xmlbif", "<html/>", 1, "expected the element <BIF>; got <html>"),
    "xml child": (".xmlbif", "<BIF><NETWORK>\n<VARIABEL/></NETWORK></BIF>", 2, "at 'VARIABEL': expected one of NAME, PROPERTY, VARIABLE, DEFINITION in <NETWORK>"),
    "xml decision": (".xmlbif", "<BIF><NETWORK>\n" + XML_A.replace("<VARIABLE>", '<VARIABLE TYPE="decision">') + "</NETWORK></BIF>", 2, "expected TYPE=\"nature\"; got 'decision'"),
    "xml no table": (".xmlbif", "<BIF><NETWORK>\n" + XML_A + "</NETWORK></BIF>", 2, "node 'a': expected a <DEFINITION>"),
    "xml number": (".xmlbif", "<BIF><NETWORK>" + XML_A + "<DEFINITION><FOR>a</FOR><TABLE>0.5\n\nhalf</TABLE></DEFINITION></NETWORK></BIF>", 3, "at 'half': expected a number; got 'half'"),
    "xml nan": (".xmlbif", "<BIF><NETWORK>" + XML_A + "<DEFINITION><FOR>a</FOR><TABLE>nan 1</TABLE></DEFINITION></NETWORK></BIF>", 1, "expected a number; got 'nan'"),
    "xml two fors": (".xmlbif", "<BIF><NETWORK>" + XML_A + "<DEFINITION><FOR>a</FOR><FOR>b</FOR></DEFINITION></NETWORK></BIF>", 1, "expected one <FOR> in <DEFINITION>; got 2"),
    "xdsl kind": (".xdsl", '<smile><nodes>\n<noisymax id="a"/></nodes></smile>', 2, "node 'a': expected <cpt> or <deterministic>; got <noisymax>"),
    "xdsl id": (".xdsl", "<smile><nodes>\n<cpt/></nodes></smile>", 2, "expected an id in <cpt>"),
    "xdsl parent": (".xdsl", '<smile><nodes>\n<cpt id="a"><state id="x"/><state id="y"/><parents>b</parents><probabilities>1 0</probabilities></cpt></nodes></smile>', 2,
                    "node 'a': no parent 'b'"),
    "xdsl result": (".xdsl", '<smile><nodes>\n<deterministic id="a"><state id="x"/><state id="y"/>\n<resultingstates>z</resultingstates></deterministic></nodes></smile>', 3,
                    "at 'z': node 'a': no state 'z'"),
    "uai kind": (".uai", "MARKOV\n1\n2\n", 1, "expected a BAYES network; got 'MARKOV'"),
    "uai word": (".uai", "BAYES\ntwo\n", 2, "expected the number of variables; got 'two'"),
    "uai short": (".uai", "BAYES\n1\n2\n1\n1 0\n2\n0.5", 7, "expected 2 probabilities; got 1 and the end of the file"),
    "uai long": (".uai", "BAYES\n1\n2\n1\n1 0\n2\n0.5 0.5\n7", 8, "expected the end of the file; got '7'"),
    "uai scope": (".uai", "BAYES\n2\n2 2\n2\n1 0\n1 0\n", 6, "each variable the last of one scope"),
    "uai variable": (".uai", "BAYES\n1\n2\n1\n1 4\n", 5, "expected a variable below 1; got 4"),
    "uai size": (".uai", "BAYES\n1\n2\n1\n1 0\n3\n0.5 0.25 0.25", 6, "variable 0: expected 2 probabilities \\(2\\); got 3"),
    "net kind": (".net", NET_HEAD + "continuous node c\n{\n}", 8, "expected a net, a discrete node or a potential; got 'continuous node c'"),
    "net decision": (".net", NET_HEAD + "decision d\n{\n}", 8, "expected a net, a discrete node or a potential; got 'decision d'"),
    "net no potential": (".net", NET_HEAD, 4, "node 'a': expected a block 'potential \\(a\\)"),
    "net no data": (".net", NET_HEAD + "potential (a)\n{\n}", 8, "node 'a': expected data = \\(...\\) in its potential; got none"),
    "net shape": (".net", NET_HEAD + "node b { states = (\"x\" \"y\" \"z\"); }\npotential (a) { data = (.5 .5); }\npotential (b | a)\n{ data = ((.1 .9) (.2 .8) (.3 .7)); }", 11,
                  "node 'b': expected data of 2 x 3, or without inner parentheses; got 3 x 2"),
    "net ragged": (".net", NET_HEAD + "potential (a) { data = ((1) 0); }", 8, "got lists of different sizes"),
    "net word": (".net", NET_HEAD + "potential (a) {\n data = (1 normal); }", 9, "at 'normal': expected a number; got 'normal'"),
    "net string": (".net", 'net { name = "x; }', 1, "got '\"'"),
    "dot undirected": (".dot", "graph {\n a -- b }", 1, "expected a digraph; got a graph"),
    "dot line": (".dot", "digraph {\n a -- b }", 2, "expected arrows '->'; got '--'"),
    "dot cycle": (".dot", "digraph { a -> b -> a }", None, "expected no cycle; got a -> b -> a"),
    "dot twice": (".dot", "digraph { a -> b;\n a -> b }", 2, "expected each arrow once"),
    "dot brace": (".dot", "digraph {\n a ->\n}", 3, "at '}': expected .*; got '}'"),
    "json": (".json", '{"format":\n}', 2, "expected JSON; got Expecting value"),
    "json nan": (".json", '{"format": NaN}', None, "got the number NaN"),
    "json other": (".json", '{"format": "x"}', None, "expected a dgm_ppl net, version 1; got format 'x'"),
    "json list": (".json", "[]", 1, "expected a dgm_ppl net; got a list"),
    "json half": (".json", '{"format": "dgm_ppl net", "version": 1}', None, "KeyError: 'nets'"),
}


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG)
def test_a_wrong_file(case, tmp_path):
    suffix, content, line, message = case
    path = tmp_path / f"net{suffix}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(FormatError, match=message) as raised:
        read(path)
    assert raised.value.line == line and str(raised.value).startswith(path.name + (f", line {line}" if line else ":"))


@pytest.mark.parametrize("content, expected", [("table 1, 3", [0.25, 0.75]), ("table 0.3, 0.3", [0.5, 0.5])])
def test_rows_are_normalised_on_request(content, expected, tmp_path):
    path = tmp_path / "net.bif"
    path.write_text(f"network n {{ }}\nvariable a {{ type discrete [ 2 ] {{ x, y }}; }}\nprobability ( a ) {{ {content}; }}\n")
    with pytest.raises(FormatError, match="normalise=True"):
        read(path)
    assert read(path, normalise=True)["a"].fixed["probs"].array.tolist() == expected


def test_a_row_of_zeros_cannot_be_normalised(tmp_path):
    path = tmp_path / "net.bif"
    path.write_text("network n { }\nvariable a { type discrete [ 2 ] { x, y }; }\nprobability ( a ) { table 0, 0; }\n")
    with pytest.raises(FormatError, match="node 'a': the probabilities sum to 0.0; expected 1 within 1e-06$"):
        read(path, normalise=True)


def test_names_that_belong_to_another_file(tmp_path):
    write(lawn, tmp_path / "net.uai")
    (tmp_path / "net.uai").write_text("BAYES\n1\n2\n1\n1 0\n2\n0.5 0.5")
    with pytest.raises(FormatError, match="net.uai.names.json, line 1: expected the variables of net.uai"):
        read(tmp_path / "net.uai")


UNFIT = {
    "real": (BayesNet(z=Normal(1)), "node 'z': expected a finite node with a fixed table; got Normal\\(1\\); try the suffix .json"),
    "learned": (BayesNet(a=Categorical(3)), "node 'a': expected a fixed table, probs=\\[...\\]; got Categorical\\(3\\)"),
    "given": (BayesNet(a=Given(states=2), b=Categorical(2)), "node 'a': expected a finite node"),
    "shaped": (BayesNet(a=Bernoulli(2, probs=0.5)), "node 'a': expected a finite node"),
    "plate": (BayesNet(a=Bernoulli(probs=0.5), plates={"row": ["a"]}), "node 'a': expected a node outside plates; got the plate 'row'"),
    "graph": (DAG("a -> b"), "expected a BayesNet with fixed tables; got a DAG"),
    "else": ({"a": 1}, "expected a BayesNet, a DAG or a Document; got a dict"),
}


@pytest.mark.parametrize("case", UNFIT.values(), ids=UNFIT)
def test_a_net_that_a_format_cannot_hold(case, tmp_path):
    net, message = case
    with pytest.raises(FormatError, match=f"net.bif: {message}"):
        write(net, tmp_path / "net.bif")
    assert not list(tmp_path.iterdir())


def test_characters_that_a_format_lacks(tmp_path):
    net = BayesNet({"a\x01": Categorical(["x", "y"], probs=[0.5, 0.5])})
    with pytest.raises(FormatError, match=r"net.xmlbif: expected characters that XML has; got '\\x01' in 'a\\x01'"):
        write(net, tmp_path / "net.xmlbif")
    write(net, tmp_path / "net.bif")
    assert read(tmp_path / "net.bif") == net
    with pytest.raises(FormatError, match="expected names and labels that UTF-8 has"):
        write(BayesNet({"\ud800": Categorical(["x", "y"], probs=[0.5, 0.5])}), tmp_path / "surrogate.bif")


def test_a_failed_writing_leaves_the_file_as_it_was(tmp_path):
    write(lawn, tmp_path / "net.bif")
    before = (tmp_path / "net.bif").read_bytes()
    with pytest.raises(FormatError):
        write(BayesNet(z=Normal(1)), tmp_path / "net.bif")
    assert (tmp_path / "net.bif").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_which_format(tmp_path):
    with pytest.raises(FormatError, match="net.txt: expected one of the suffixes .bif, .*; got '.txt'; try format=dgm.formats.BIF"):
        read(tmp_path / "net.txt")
    with pytest.raises(FormatError, match="MERMAID is only written"):
        read(tmp_path / "net.mmd")
    with pytest.raises(FormatError, match="expected a format such as dgm.formats.BIF; got 'bif'"):
        read(tmp_path / "net.txt", "bif")
    assert read(GOLDEN / "lawn.bif", BIF) == read_document(GOLDEN / "lawn.bif").net
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "net.bif")


def test_properties_of_a_node_that_is_not_there():

    with pytest.raises(FormatError, match="Document: expected properties of the net's nodes; got 'gras'; did you mean 'grass'?"):
        Document(lawn, node_properties={"gras": ("x = 1",)})


def test_sums_within_the_tolerance_are_kept_as_they_are(tmp_path):
    net = BayesNet(a=Categorical(["x", "y"], probs=numpy.array([0.3333333, 0.6666666])))
    write(net, tmp_path / "net.bif")
    assert read(tmp_path / "net.bif")["a"].fixed["probs"].array.tolist() == [0.3333333, 0.6666666]


def test_states_without_names(tmp_path):
    path = tmp_path / "net.bif"
    path.write_text('network n { }\nvariable a { type discrete [ 2 ] { x, "" }; }\nprobability ( a ) { table 1, 0; }\n')
    with pytest.raises(FormatError, match="net.bif, line 2: node 'a': expected states with names; got one without"):
        read(path)
    with pytest.raises(FormatError, match="node 'a': expected states with names; got one without; try the suffix .json"):
        write(BayesNet(a=Categorical(["x", ""], probs=[0.5, 0.5])), path)
