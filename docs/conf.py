"""How the web pages are made: `make site` builds a copy of this folder, so nothing is written here.

Lessons become pages by sphinx-gallery, which runs them; each rule gets a page from its file, each
module from its docstrings; the tables of the README become one.  Equations are drawn by the
browser (`equations.py`).  Everything is inside the folder that comes out.
"""
import ast
import os
import re
import sys
from pathlib import Path

from docutils import nodes

from minicredit.rules import RULES

HERE = Path(__file__).parent
ROOT = next(folder for folder in HERE.parents if (folder / "setup.cfg").exists())
sys.path.insert(0, str(HERE))

from docstrings import escaped, to_rst
from equations import looks_like_equations, mathml

project, author, copyright = "minicredit", "the minicredit authors", "MIT licence"
extensions = ["myst_parser", "sphinx_gallery.gen_gallery", "sphinx.ext.autodoc",
              "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["gallery", "results/*", "_build"]     # kept results: see tables()
html_theme, html_title, html_static_path = "furo", "minicredit", ["_static"]
html_css_files = ["site.css"]
html_show_search_summary = False            # it would be fetched, which a page on a disk cannot do
html_copy_source = html_show_sourcelink = False
html_baseurl = ""
highlight_language, default_role = "none", "code"
autodoc_mock_imports, autodoc_member_order = ["cupy"], "bysource"
autodoc_typehints, python_maximum_signature_line_length = "none", 80
napoleon_google_docstring, napoleon_use_rtype = False, False
add_module_names, myst_heading_anchors = False, 2
myst_enable_extensions = ["colon_fence"]
suppress_warnings = ["config.cache", "ref.python"]      # two classes may have one name
sphinx_gallery_conf = {
    "examples_dirs": str(HERE / "gallery"), "gallery_dirs": "lessons",
    "filename_pattern": r"/l\d\d_",
    "abort_on_example_error": True, "remove_config_comments": True, "show_memory": False,
    "within_subsection_order": "FileNameSortKey", "download_all_examples": False,
    "min_reported_time": 1e9, "image_srcset": ["2x"], "write_computation_times": False,
}

LESSONS = {"bp": (1, 2), "fa": (3,), "dfa": (4,), "usf": (5,), "frsf": (5,), "brsf": (5,),
           "weight-mirror": (5,), "kolen-pollack": (5,), "tp": (8,), "dtp": (9, 13), "sdtp": (10,),
           "ao-sdtp": (10,), "kickback": (6, 7)}
IDENTITIES = {
    "bp": ("backprop_descends",), "fa": ("with_B_equal_to_W", "feedback_alignment_is"),
    "dfa": ("direct_feedback", "feedback_of_dfa", "seeded_feedback"),
    "usf": ("sign_symmetry_is", "magnitude"), "frsf": ("sign_symmetry_is", "magnitude"),
    "brsf": ("sign_symmetry_is", "magnitude"), "weight-mirror": ("mirror_is", "mirror_of_a_linear",
                                                                 "noise_shows"),
    "kolen-pollack": ("kolen_pollack", "approach_by_the_leak"),
    "tp": ("target_propagation", "exact_inverse"), "dtp": ("dtp", "met_target", "target_step_of"),
    "sdtp": ("sdtp", "label_step"), "ao-sdtp": ("ao_sdtp", "auxiliary", "random_features_never"),
    "kickback": ("kickback",),
}


def lessons():
    """Copy the lessons to where sphinx-gallery looks, behind a page that opens the gallery."""
    gallery = HERE / "gallery"
    gallery.mkdir(exist_ok=True)
    for lesson in (ROOT / "lessons").glob("l[0-9]*.py"):
        (gallery / lesson.name).write_text(lesson.read_text())
    (gallery / "GALLERY_HEADER.rst").write_text(
        "Fifteen lessons\n===============\n\nEach runs in seconds; every claim is an assertion in "
        "the next cell; each ends with a line to break.\n")


def rules():
    """A page for each rule: its equation, its file, what it is held to, and what came of it."""
    folder = HERE / "rules"
    folder.mkdir(exist_ok=True)
    names = "\n".join(RULES)
    lines = [f"| [{name}]({name}.md) | {rule.paper} | {rule.idea} |"
             for name, rule in RULES.items()]
    table = "\n".join(["| rule | paper | idea |", "|---|---|---|", *lines])
    (folder / "index.md").write_text(
        f"# The rules\n\n![What each rule sends down](../how-rules-send.png)\n\n{table}\n\n"
        f"```{{toctree}}\n:hidden:\n\n{names}\n```\n")
    for name, rule in RULES.items():
        (folder / f"{name}.md").write_text(page(name, rule))


def page(name, rule):
    """The page of one rule."""
    file = os.path.relpath(sys.modules[rule.__module__].__file__, HERE / "rules")
    read = ", ".join(f"[{n}](../lessons/{next(HERE.glob(f'gallery/l{n:02}_*.py')).stem}.rst)"
                     for n in LESSONS[name])
    return "\n".join([
        f"# {name}: {rule.title}", "",
        f"*{rule.paper}.* {rule.idea[0].upper()}{rule.idea[1:]}.", "",
        "```{eval-rst}", f".. automodule:: {rule.__module__}", "   :no-index:", "```", "",
        f"Needs {rule.needs}. Cannot {rule.cannot}.", "", f"Lessons: {read}.", "",
        "## The whole of it", "", f"```{{literalinclude}} {file}", ":language: python", "```", "",
        "## What it is held to", "", *identities(name), "",
        "## What came of it", "", *results(name), "",
        "More, and the commands: [results](../results.md), [tables](../tables.md).", ""])


def identities(name):
    """The tests whose names speak of the rule, as sentences."""
    found = []
    for path in sorted(ROOT.glob("tests/test_rules_*.py")) + [ROOT / "tests" / "test_kickback.py"]:
        for test in re.findall(r"^def test_(\w+)", path.read_text(), re.M):
            if any(word in test for word in IDENTITIES[name]):
                sentence = f"* {test.replace('_', ' ')} (`{path.name}`)"
                found += [sentence] * (sentence not in found)
    return found


def results(name):
    """The rows of the results' tables that are the rule's, beneath what heads each table."""
    text, found = (ROOT / "RESULTS.md").read_text() + (HERE / "results.md").read_text(), []
    for section in re.split(r"^## ", text, flags=re.M)[1:]:
        rows = [line for line in section.splitlines() if line.startswith("|")]
        start = re.compile(rf"\| {re.escape(name)}(-(alt|par|partial))? ")
        mine = [row for row in rows if start.match(row)]
        if mine:
            found += [f"**{section.splitlines()[0]}**", "", *rows[:2], *mine, ""]
    if name == "kickback":
        found.append("[Kickback on SARCOS and MNIST](../results.md#kickback), beside backprop on "
                     "the same networks.")
    return found or ["No table yet."]


def tables():
    """The tables that a command writes from kept results, as a page."""
    text = (ROOT / "RESULTS.md").read_text().replace("# Results\n", "# Tables from kept results\n")
    text = text.replace("](docs/results", "](results")
    text = re.sub(r"(?<!!)\[([^]]+)\]\((?!results\.md)[^)]*\)", r"`\1`", text)     # no pages
    (HERE / "tables.md").write_text(text)


def speed():
    """The benchmark tables of the README, as a page."""
    text = (ROOT / "README.md").read_text()
    part = re.search(r"^## Speed\n(.*?)^## Licence", text, re.M | re.S)[1]
    part = re.sub(r"<!--.*?-->\n?", "", part)
    part = re.sub(r"\[([^]]+)\]\(kernels/cuda/(\w+)\.(cuh?)\)", r"[\1](kernels/\2-\3.md)", part)
    part = re.sub(r"\[([^]]+)\]\((?!kernels/\w+-cuh?\.md)[^)]*\)", r"`\1`", part)   # no pages
    (HERE / "speed.md").write_text(f"# Speed\n{part}")


def modules():
    """The packages and modules to look things up in, by name, as they are imported."""
    for top, folder in (("minicredit", "minicredit"), ("minicredit.kernels", "kernels")):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            if parts[-1] not in ("__main__", "gpu"):        # gpu: imported where there is one
                yield ".".join([top, *(part for part in parts if part != "__init__")]), path


def api():
    """A page for each module, from its docstrings."""
    folder = HERE / "api"
    folder.mkdir(exist_ok=True)
    lines = []
    for name, path in modules():
        first = escaped(ast.get_docstring(ast.parse(path.read_text())).split("\n")[0])
        lines.append(f"* :doc:`{name} <{name}>`: {first}")
        (folder / f"{name}.rst").write_text(
            f"{name}\n{'=' * len(name)}\n\n.. automodule:: {name}\n   :members:\n"
            "   :ignore-module-all:\n")
    names = "\n".join(f"   {name}" for name, _ in modules())
    (folder / "index.rst").write_text(
        "Every module\n============\n\n" + "\n".join(lines)
        + f"\n\n.. toctree::\n   :hidden:\n\n{names}\n")


def kernels():
    """The CUDA files, and the ladder of products in Numba, as they stand."""
    folder = HERE / "kernels"
    folder.mkdir(exist_ok=True)
    files = [ROOT / "kernels" / "reference.py", ROOT / "kernels" / "cpu" / "ladder.py",
             *sorted((ROOT / "kernels" / "cuda").glob("*.cu*"))]
    for path in files:
        language = "python" if path.suffix == ".py" else "c++"
        shown = os.path.relpath(path, folder)
        name = path.relative_to(ROOT).as_posix()
        (folder / f"{path.stem}{path.suffix.replace('.', '-')}.md").write_text(
            f"# {name}\n\n```{{literalinclude}} {shown}\n:language: {language}\n```\n")
    names = "\n".join(f"{path.stem}{path.suffix.replace('.', '-')}" for path in files)
    (folder / "index.md").write_text(
        "# Kernels to read\n\nEvery operation as its equation, `reference.py`; a product of "
        "matrices from three loops\nto the machine's ceiling, `ladder.py`; and in CUDA C, an "
        "operation a file: begin with\n`matmul.cu`.\n\n"
        f"```{{toctree}}\n:maxdepth: 1\n\n{names}\n```\n")


def draw_equations(app, doctree):
    """Indented blocks that are equations become mathematics."""
    if not app.env.docname.startswith(("lessons/", "rules/", "api/")):
        return
    for block in list(doctree.findall(nodes.literal_block)):
        text = block.astext()
        if block.get("language", "none") == "none" and looks_like_equations(text):
            drawn = f'<div class="equation">{mathml(text)}</div>'
            block.replace_self(nodes.raw("", drawn, format="html"))


def read_docstring(app, what, name, obj, options, lines):
    """A docstring on its way to napoleon."""
    lines[:] = to_rst(lines)


def skip(app, what, name, obj, skipped, options):
    """The fields of a named tuple are told by its own docstring."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def source(app, name):
    """The text of a module, and the lines of what it defines; viewcode cannot read them all."""
    text = dict(modules())[name].read_text()

    def places(body, prefix=""):
        for node in body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                start = min([node.lineno, *(mark.lineno for mark in node.decorator_list)])
                kind = "class" if isinstance(node, ast.ClassDef) else "def"
                yield prefix + node.name, (kind, start, node.end_lineno)
                yield from places(node.body, f"{prefix}{node.name}.")

    return text, dict(places(ast.parse(text).body))


def setup(app):
    """What sphinx calls."""
    app.connect("viewcode-find-source", source)
    app.connect("doctree-read", draw_equations)
    app.connect("autodoc-process-docstring", read_docstring, priority=100)
    app.connect("autodoc-skip-member", skip)


lessons()
rules()
tables()
speed()
api()
kernels()
