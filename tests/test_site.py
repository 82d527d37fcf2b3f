"""What the web pages are made of.  `make site` makes them, and walks every link."""
import ast
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from minicredit.rules import RULES

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))

import check
import docstrings
import equations

TESTS = "\n".join(path.read_text() for path in (ROOT / "tests").glob("test_*.py"))


def shown(text):
    """What a block of equations shows, as text: a subscript after _, a superscript after ^."""
    def read(node):
        inside = [read(child) for child in node]
        if node.tag == "msub":
            return f"{inside[0]}_{inside[1]}"
        if node.tag == "msup":
            return f"{inside[0]}^{inside[1]}"
        if node.tag == "msubsup":
            return f"{inside[0]}_{inside[1]}^{inside[2]}"
        if node.tag == "mfrac":
            return f"({inside[0]})/({inside[1]})"
        if node.tag == "munder":
            return f"{inside[0]}_{inside[1]} "
        return (node.text or "") + "".join(inside)
    tree = ElementTree.fromstring(equations.mathml(text).replace("&#160;", " "))
    return ["|".join(read(cell) for cell in line) for line in tree.find("mtable")]


@pytest.mark.parametrize("text, want", [
    ("dW[i] = h[i-1]^T delta[i] / N", "dW_i|=h_i−1^Tδ_i/N"),
    ("delta2 = p - onehot(y)", "δ_2|=p−onehot(y)"),
    ("delta[L] = dloss/dh[L]", "δ_L|=(dloss)/(dh_L)"),
    ("h_hat[i-1] = g_i(h_hat[i])", "h^_i−1|=g_i(h^_i)"),
    ("tau[i]_j = sum_k W[i+1]_jk s[i+1]_k", "τ_i,j|=∑_k W_i+1,jks_i+1,k"),
    ("W <- (1 - leak) (W + u)", "W|←(1−leak)(W+u)"),
    ("1/2 |f_i(h') - h_hat[i]|^2", "(1)/(2)|f_i(h′)−h^_i|^2"),
    ("B[i] = 0     random, fixed", "B_i|=0|random, fixed"),
    ("top   a[i] = 1   i = 1 .. L-1", "top|a_i|=1|i=1…L−1"),
])
def test_an_equation_is_drawn_as_it_is_meant(text, want):
    line, = shown(text)
    assert line == want


@pytest.mark.parametrize("text", ["for i in range(3):\n    x = i", "python -m minicredit --help",
                                  "x.y = 3", "W[1] += 2; print('a')", "run = [f`x`]",
                                  "usf    one number a layer", "assert a == b",
                                  "a    how many\nb    what then\nc    target = template"])
def test_code_commands_and_tables_are_not_drawn_as_equations(text):
    assert not equations.looks_like_equations(text)


@pytest.mark.parametrize("name", RULES)
def test_the_equations_of_every_rule_are_drawn(name):
    text = sys.modules[RULES[name].__module__].__doc__
    blocks = re.findall(r"(?:^    .*\n)+", text + "\n", re.M)
    assert any(equations.looks_like_equations(block) for block in blocks)
    for block in blocks:
        ElementTree.fromstring(equations.mathml(block))


def test_the_files_that_pages_are_made_from_are_there():
    text = (DOCS / "conf.py").read_text()
    for name in re.findall(r'ROOT / "([\w.]+)"', text) + ["docs/results.md"]:
        assert (ROOT / name).exists(), name


def test_what_a_docstring_says_means_itself():
    text = "a_ * b of |x| and `net_`, *really*.\n\n    W[i] = |x|\n\nParameters\n----------\nx : a_"
    assert docstrings.to_rst(text.split("\n")) == [
        r"a\_ \* b of \|x\| and `net_`, *really*.", "", "::", "", "    W[i] = |x|", "",
        "Parameters", "----------", "x : a_"]


def test_every_test_that_a_page_names_is_there():
    for page in ("known-errors.md", "symbols.md"):
        for name in re.findall(r"`(test_\w+)`", (DOCS / page).read_text()):
            assert f"def {name}(" in TESTS, f"{page}: {name}"


def test_the_pages_say_which_lessons_teach_a_rule_and_which_tests_hold_it():
    conf, tables = (DOCS / "conf.py").read_text(), {}
    for name in ("LESSONS", "IDENTITIES"):
        exec(re.search(rf"^{name} = \{{[^}}]*\}}", conf, re.M)[0], tables)
        assert set(tables[name]) == set(RULES)
    tests = re.findall(r"^def test_(\w+)", TESTS, re.M)
    assert all(any(word in test for test in tests)
               for words in tables["IDENTITIES"].values() for word in words)
    for name, numbers in tables["LESSONS"].items():
        for number in numbers:
            lesson, = (ROOT / "lessons").glob(f"l{number:02}_*.py")
            module = RULES[name].__module__.replace(".", "/") + ".py"
            text = lesson.read_text()
            assert module in text or RULES[name].__name__ in text


def test_links_of_the_pages_lead_somewhere():
    made = {"lessons/index", "rules/index", "api/index", "kernels/index", "tables", "speed"}
    for page in DOCS.glob("*.md"):
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
    for block in re.findall(r"```{toctree}\n(.*?)```", (DOCS / "index.md").read_text(), re.S):
        for name in re.findall(r"^[\w/-]+$", block, re.M):
            assert name in made or (DOCS / f"{name}.md").exists(), name


@pytest.mark.parametrize("html, wrong", [
    ("<a href='b.html#there'>", ""), ("<a href='b.html#nowhere'>", "b.html#nowhere has no such"),
    ("<a href='c.html'>", "c.html is not there"), ("<img src='c.png'>", "c.png is not there"),
    ("<a href='#'>", ""), ("<a href='https://x.org'>", ""), ("<img src='data:,'>", ""),
    ("<script src='https://x.org/y.js'></script>", "fetches https://x.org/y.js"),
    ("<img src='b.html' srcset='b.html 1x, d.png 2x'>", "d.png is not there")])
def test_a_link_that_leads_nowhere_is_found_and_nothing_is_fetched(html, wrong, tmp_path):
    (tmp_path / "a.html").write_text(html)
    (tmp_path / "b.html").write_text("<p id='there'>")
    found = list(check.broken(tmp_path))
    assert len(found) == bool(wrong) and all(wrong in line for line in found)


def test_nothing_the_pages_show_is_drawn_as_mathematics_by_mistake():
    for folder in ("minicredit", "kernels"):
        for path in (ROOT / folder).rglob("*.py"):
            for block in re.findall(r"(?:^    .*\n)+", ast.get_docstring(
                    ast.parse(path.read_text())) or "", re.M):
                if equations.looks_like_equations(block):
                    assert "()" not in block and "import " not in block, path.name
                    ElementTree.fromstring(equations.mathml(block))
