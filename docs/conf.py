"""How the web pages are made: `make site` builds a copy of this folder, so nothing is written here.

Lessons become pages by sphinx-gallery, which runs them; each rule gets a page from its file; the
tables of the README become one.  Everything is inside the folder that comes out.
"""
import os
import re
import sys
from pathlib import Path

from minicredit.rules import RULES

HERE = Path(__file__).parent
ROOT = next(folder for folder in HERE.parents if (folder / "setup.cfg").exists())
sys.path.insert(0, str(HERE))

project, author, copyright = "minicredit", "the minicredit authors", "MIT licence"
extensions = ["myst_parser", "sphinx_gallery.gen_gallery", "matplotlib.sphinxext.mathmpl"]
exclude_patterns = ["gallery", "_build"]
html_theme, html_title, html_static_path = "furo", "minicredit", ["_static"]
html_css_files = ["site.css"]
html_show_search_summary = False            # it would be fetched, which a page on a disk cannot do
html_copy_source = html_show_sourcelink = False
html_baseurl = ""
mathmpl_fontsize, mathmpl_srcset = 11.0, ["2x"]
myst_enable_extensions = ["colon_fence"]
suppress_warnings = ["config.cache"]
sphinx_gallery_conf = {
    "examples_dirs": str(HERE / "gallery"), "gallery_dirs": "lessons", "filename_pattern": r"/l\d\d_",
    "abort_on_example_error": True, "remove_config_comments": True, "show_memory": False,
    "within_subsection_order": "FileNameSortKey", "download_all_examples": False,
    "min_reported_time": 1e9, "image_srcset": ["2x"], "write_computation_times": False,
}

EQUATIONS = {
    "bp": r"\delta_{i-1} = (\delta_i W_i^T) \odot f'(a_{i-1})",
    "fa": r"\delta_{i-1} = (\delta_i B_i^T) \odot f'(a_{i-1})",
    "dfa": r"\delta_i = (\delta_L B_i^T) \odot f'(a_i)",
    "usf": r"\delta_{i-1} = (\delta_i (M_i \odot sign\, W_i)^T) \odot f'(a_{i-1})",
    "weight-mirror": r"\Delta B_i \propto s^T (f_i(s) - f_i(0)) - \lambda B_i, \quad s \sim N(0, "
                     r"\sigma^2)",
    "kolen-pollack": r"W_i \leftarrow (1 - \lambda)(W_i + u), \quad B_i \leftarrow (1 - \lambda)"
                     r"(B_i + u)",
    "tp": r"\hat{h}_{i-1} = g_i(\hat{h}_i), \quad \hat{h}_{L-1} = g_L(y)",
    "dtp": r"\hat{h}_{i-1} = h_{i-1} + g_i(\hat{h}_i) - g_i(h_i)",
    "sdtp": r"\hat{h}_{L-1} = h_{L-1} + g_L(y) - g_L(p)",
    "ao-sdtp": r"\hat{h}_{L-1} = h_{L-1} + g_L([y, z]) - g_L([p, z])",
    "kickback": r"\delta_i = \beta\, \tau_i \odot s_i, \quad \tau_i = W_{i+1} s_{i+1}",
}
EQUATIONS["frsf"] = EQUATIONS["brsf"] = EQUATIONS["usf"]
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
    lines = [f"| [{name}]({name}.md) | {rule.paper} | {rule.idea} |" for name, rule in RULES.items()]
    table = "\n".join(["| rule | paper | idea |", "|---|---|---|", *lines])
    (folder / "index.md").write_text(
        f"# The rules\n\n{table}\n\n```{{toctree}}\n:hidden:\n\n{names}\n```\n")
    for name, rule in RULES.items():
        (folder / f"{name}.md").write_text(page(name, rule))


def page(name, rule):
    """The page of one rule."""
    file = os.path.relpath(sys.modules[rule.__module__].__file__, HERE / "rules")
    read = ", ".join(f"[{n}](../lessons/{next(HERE.glob(f'gallery/l{n:02}_*.py')).stem}.rst)"
                     for n in LESSONS[name])
    return "\n".join([
        f"# {name}: {rule.title}", "", f"*{rule.paper}.* {rule.idea[0].upper()}{rule.idea[1:]}.", "",
        "```{eval-rst}", ".. mathmpl::", "", f"   {EQUATIONS[name]}", "```", "",
        f"Needs {rule.needs}. Cannot {rule.cannot}.", "", f"Lessons: {read}.", "",
        "## The whole of it", "", f"```{{literalinclude}} {file}", ":language: python", "```", "",
        "## What it is held to", "", *identities(name), "",
        "## What came of it", "", *results(name), "",
        "More, and the commands: [results](../results.md).", ""])


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
    text, found = (HERE / "results.md").read_text(), []
    for section in re.split(r"^## ", text, flags=re.M)[1:]:
        rows = [line for line in section.splitlines() if line.startswith("|")]
        mine = [row for row in rows if re.match(rf"\| {re.escape(name)}(-(alt|par|partial))? ", row)]
        if mine:
            found += [f"**{section.splitlines()[0]}**", "", *rows[:2], *mine, ""]
    return found or ["See Kickback's own table." if name == "kickback" else "No table yet."]


def speed():
    """The benchmark tables of the README, as a page."""
    text = (ROOT / "README.md").read_text()
    part = re.search(r"^## Speed\n(.*?)^## Licence", text, re.M | re.S)[1]
    part = re.sub(r"<!--.*?-->\n?", "", part)
    part = re.sub(r"\[([^]]+)\]\([^)]*\)", r"`\1`", part)       # files that are not among the pages
    (HERE / "speed.md").write_text(f"# Speed\n{part}")


lessons()
rules()
speed()
