"""The README says what is so: its Python runs, its commands are known, its links lead somewhere."""
import re
import shlex
from pathlib import Path

import pytest

from minicredit.arguments import parser
from minicredit.rules import RULES

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()
COMMANDS = [line.split("#")[0].strip() for block in re.findall(r"```sh\n(.*?)```", TEXT, re.S)
            for line in block.splitlines() if line.startswith("minicredit ")]


def test_the_python_of_the_readme_runs(capsys):
    block, = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    exec(compile(block, "README.md", "exec"), {})
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_line_knows_the_commands_of_the_readme(command):
    try:
        parser().parse_args(shlex.split(command)[1:])
    except SystemExit as stop:                          # --help
        assert stop.code == 0


def test_make_knows_the_targets_of_the_readme():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"(?:`|^)make ([a-z]+)\b", TEXT, re.M))
    assert {"compare", "test", "help"} <= targets
    assert all(f"\n{target}:" in makefile for target in targets)


@pytest.mark.parametrize("page", ["README.md", "docs/results.md"])
def test_links_lead_to_files(page):
    for link in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text()):
        assert link.startswith("http") or ((ROOT / page).parent / link).exists(), link


def test_every_rule_stands_in_the_table_of_the_readme():
    table = TEXT.split("## The rules")[1].split("##")[0]
    assert all(f"`{name}`" in table or f"{name}`" in table or f"`{name}," in table
               for name in RULES)
