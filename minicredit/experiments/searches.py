"""What searches found: a table of the studies that `minicredit search` left in databases.

    python -m minicredit.experiments.searches bp=sqlite:///bp.db fa=sqlite:///fa.db --out DIR

A row for every study, under the name that stands before its database's URL.  Beside the best trial
stands how flat the place is where it was found: from where to where each option goes in the trials
that were finished and came within NEAR points of it.  Writes searches.md.
"""
import argparse
import sys
from pathlib import Path

from minicredit.errors import UserError
from minicredit.files import put
from minicredit.search import WORST, digits, first_line, opened, optuna, without_password

NEAR = 0.2                      # percent points of validation error
WORDS = 5                       # of a study's name, see minicredit.search.title
COLUMNS = ("search", "sampler", "trials", "stopped early", "diverged", "best validation error %",
           "settings", f"within {NEAR} points")


def studies(url):
    """The studies of `minicredit search` in a database; list of optuna.Study.

    Raises
    ------
    UserError
        If it cannot be opened, or holds none.
    """
    module, shown = optuna(), without_password(url)
    if url.startswith("sqlite:///") and not Path(url[10:]).is_file():      # it would be made
        raise UserError(f"wanted a file of SQLite; there is no {url[10:]}")
    try:
        storage = opened(module, url)
        found = [module.load_study(study_name=name, storage=storage)
                 for name in module.get_all_study_names(storage)]
    except Exception as error:                      # of whatever database the URL names
        raise UserError(f"wanted a storage URL of Optuna that can be opened; got {shown!r}: "
                        f"{first_line(error)}") from None
    found = [study for study in found if len(study.study_name.split()) == WORDS]
    if not found:
        raise UserError(f"wanted a database with a study of `minicredit search` in it; got "
                        f"{shown!r}, which has none")
    return found


def row(name, study):
    """One study; dict by column."""
    trials = study.get_trials(deepcopy=False)
    done = sorted((t for t in trials if t.state.name == "COMPLETE"), key=lambda t: t.value)
    pruned = sum(t.state.name == "PRUNED" for t in trials)
    *_, sampler, _ = study.study_name.split()
    line = {"search": name, "sampler": sampler, "trials": len(done) + pruned,
            "stopped early": pruned, "diverged": sum(t.value >= WORST for t in done)}
    if not done or done[0].value >= WORST:
        return line
    best, near = done[0], [t for t in done if t.value <= done[0].value + NEAR]
    ranges = {key: [t.params[key] for t in near] for key in best.params}
    return {**line, "best validation error %": f"{best.value:.2f}",
            "settings": f"`{' '.join(f'--{key} {digits(v)}' for key, v in best.params.items())}`",
            f"within {NEAR} points": f"{len(near)}: " + ", ".join(
                f"{key} {min(v):.1e} to {max(v):.1e}" for key, v in ranges.items())}


def table(lines):
    """The rows as Markdown."""
    text = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    text += ["| " + " | ".join(str(line.get(c, "")) for c in COLUMNS) + " |" for line in lines]
    return "\n".join(text) + "\n"


def main(arguments=None):
    """Write the table; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m minicredit.experiments.searches",
                                     description=__doc__.splitlines()[0])
    parser.add_argument("databases", nargs="+", metavar="NAME=URL", help="a study's database")
    parser.add_argument("--out", type=Path, default=Path("."), help="a folder (%(default)s)")
    args = parser.parse_args(arguments)
    try:
        lines = []
        for text in args.databases:
            name, equals, url = text.partition("=")
            if not equals:
                raise UserError(f"wanted NAME=URL; got {text!r}")
            lines += [row(name, study) for study in studies(url)]
        args.out.mkdir(parents=True, exist_ok=True)
        put(args.out / "searches.md", table(lines).encode())
    except (UserError, OSError) as error:
        print(f"searches: {error}", file=sys.stderr)
        return 2
    print(table(lines), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
