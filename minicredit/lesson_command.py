"""`minicredit lessons` and `minicredit lesson N`: what there is to read, and one of them at work.

    minicredit lessons                          the table of contents
    minicredit lesson 7                         run it; its figures go to figures/
    minicredit lesson 7 --backend numba         on other kernels
    minicredit lesson 7 --notebook seven.ipynb  written as a notebook, and not run

A lesson is a Python file in cells, `# %%` code and `# %% [markdown]` text; it needs none of this:
`python lessons/l07_*.py` does the same.  One line of a lesson, BACKEND = "...", names its kernels,
and says in its comment which others it runs on.
"""
import json
import re
import sys
from importlib.util import find_spec
from pathlib import Path

from minicredit.errors import UserError

CELL = re.compile(r"^# %%( \[markdown\])?\n", re.M)
BACKEND = re.compile(r'^BACKEND = "(\w+)"(.*)$', re.M)


def add(commands):
    """The words of these commands; `commands` is what argparse's add_subparsers returns."""
    commands.add_parser("lessons", help="fifteen lessons: the table of contents")
    lesson = commands.add_parser("lesson", help="run one of them, or write it as a notebook")
    lesson.add_argument("number", metavar="N", help="as `minicredit lessons` counts them")
    lesson.add_argument("--backend", metavar="NAME", help="in the place of the lesson's own")
    lesson.add_argument("--notebook", type=Path, metavar="FILE", help="write it there as a Jupyter "
                        "notebook, and do not run it")


def lessons():
    """{number: path}, in reading order."""
    folder = Path(find_spec("minicredit.lessons").origin).parent
    return {int(path.name[1:3]): path for path in sorted(folder.glob("l[0-9][0-9]_*.py"))}


def contents(_):
    """`lessons`: print the table; the exit code."""
    from rich.markup import escape
    from rich.table import Table

    from minicredit.screen import console
    table = Table("", "lesson", "afterwards", show_lines=True)
    for number, path in lessons().items():
        title, afterwards = about(path.read_text(encoding="utf-8"))
        table.add_row(str(number), f"[bold]{escape(title)}[/]\n{path.name}", escape(afterwards))
    console().print(table)
    print("minicredit lesson N runs one; in an editor, open its file and step through it")
    return 0


def about(text):
    """The title of a lesson, and what one knows afterwards."""
    head = " ".join(CELL.split(text)[2].strip('"\n').split())
    title = re.match(r"Lesson \d+: (.*?) =+ ", head)[1]
    return title, re.search(r"Afterwards (.*?)\.(?: |$)", head)[1].replace("*", "")


def run(args):
    """`lesson N`: run it, or write it as a notebook; the exit code.

    Raises
    ------
    UserError
    """
    known = lessons()
    if not args.number.isdecimal() or int(args.number) not in known:
        raise UserError(f"lesson: wanted a number from 1 to {len(known)}; got {args.number!r}")
    path = known[int(args.number)]
    text = on_backend(path.read_text(encoding="utf-8"), args.backend)
    if args.notebook:
        write(args.notebook, notebook(text))
        return 0
    names = {"__name__": "__main__", "__file__": str(path)}
    exec(compile(text, str(path), "exec"), names)           # lines are where an editor shows them
    for figure in sorted(Path("figures").glob(f"{path.name[:3]}_*.png")):
        print(f"figure: {figure}")
    return 0


def on_backend(text, name):
    """The lesson on other kernels; None leaves it as it is.

    Raises
    ------
    UserError
        If it does not run on these.
    """
    own, comment = BACKEND.search(text).groups()
    known = [own, *re.findall(r'"(\w+)"', comment)]
    if name is None or name == own:
        return text
    if name not in known:
        raise UserError(f"--backend: wanted {' or '.join(known)} for this lesson; got {name!r}")
    return BACKEND.sub(f'BACKEND = "{name}"', text)


def cells(text):
    """[(is it text?, what it says)] of a lesson; text as Markdown."""
    parts, found = CELL.split(text)[1:], []
    for mark, body in zip(parts[::2], parts[1::2]):
        found.append((bool(mark), markdown(body) if mark else body.strip("\n")))
    return found


def markdown(body):
    """A text cell, in quotes or behind #, as Markdown: what is written here is nearly that."""
    body = body.strip("\n")
    if body.startswith('"""'):
        lines = body.strip('"\n').splitlines()
    else:
        lines = [line[2:] for line in body.splitlines()]
    return "\n".join(re.sub(r"::$", ":", line) for line in lines)


def notebook(text):
    """The notebook of a lesson, as what is in its file."""
    made = []
    for i, (prose, body) in enumerate(cells(text), 1):
        cell = {"cell_type": "markdown" if prose else "code", "id": f"cell-{i}", "metadata": {},
                "source": body.splitlines(keepends=True)}
        made.append(cell if prose else {**cell, "execution_count": None, "outputs": []})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return json.dumps({"cells": made, "metadata": {"kernelspec": kernel}, "nbformat": 4,
                       "nbformat_minor": 5}, indent=1)


def write(path, text):
    """Write a file, and say so.

    Raises
    ------
    UserError
        If it cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"--notebook: wanted a file that can be written; got {path}: "
                        f"{error.strerror}") from None
    print(f"wrote {path}", file=sys.stderr)
