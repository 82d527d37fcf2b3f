"""A published table, run again: its rows beside ours.

A table is a TOML file in `minicredit/experiments/rows/`.  Its head holds the title, the source of
the published figures and the options that all rows share; each row holds its rule, the options that
are its own, the published test error in percent where there is one, and a remark.  A row is one
`minicredit train` command.  It keeps its results in a folder of its own and is never run twice, so
a table can be stopped, and gone on with by the same command.

Two test errors stand side by side: at the epoch with the lowest validation error, which is what a
person who does not look at the test set gets, and the lowest of all epochs, which is how the
published ones were chosen.
"""
import csv
import io
import json
import statistics
import sys
from pathlib import Path

from minicredit import results
from minicredit.errors import UserError
from minicredit.files import put
from minicredit.job import unfinished
from minicredit.presets import PRESETS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROWS = Path(__file__).parent / "experiments" / "rows"
TABLES = tuple(sorted(path.stem for path in ROWS.glob("*.toml")))
HEAD = {"title": str, "source": str, "train": str, "rows": dict}
ROW = {"rule": str, "options": str, "published": (float, int), "remark": str}
FREE = "published", "remark"            # what a row may lack
KINDS = {str: "a text", dict: "a table", (float, int): "a number"}
COLUMNS = ("row", "options", "test error %", "best on test %", "published %", "top-5 error %",
           "training error %", "epochs", "chosen", "seeds", "angle to backprop, layers 1..L",
           "seconds an epoch", "memory MiB", "remark")


def read(table):
    """A table as its file has it: dict with title, source, train and rows.

    Raises
    ------
    UserError
        If there is no such table.
    """
    if table not in TABLES:
        raise UserError(f"reproduce: wanted one of {', '.join(TABLES)}; got {table!r}")
    path = ROWS / f"{table}.toml"
    return parsed(path.read_bytes(), path)


def parsed(data, path):
    """The table in the bytes `data`, which were read from `path`.

    Raises
    ------
    UserError
        If it is no TOML, or a part is missing or has another type.
    """
    try:
        table = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:       # both of TOML and of UTF-8
        raise UserError(f"{path}: wanted a table in TOML, got something else: "
                        f"{' '.join(str(error).split())}") from None
    require(path, "the table", table, HEAD)
    for name, row in table["rows"].items():
        if not name or Path(name).name != name:             # it is the name of a folder
            raise UserError(f"{path}: wanted a row's name without slashes; got {name!r}")
        require(path, f"row {name!r}", row, ROW)
    return table


def require(path, where, part, wanted):
    """Refuse a part of a table that lacks something, or has it of another type.

    Raises
    ------
    UserError
    """
    if not isinstance(part, dict):
        raise UserError(f"{path}: wanted {where} to have {', '.join(wanted)}; got {part!r}"[:300])
    for key, kind in wanted.items():
        if not isinstance(part.get(key), kind) and not (key in FREE and key not in part):
            raise UserError(f"{path}: wanted {key} of {where} to be {KINDS[kind]}; got "
                            f"{part.get(key, 'none')!r}"[:300])


def words(table, row, given):
    """The `minicredit train` command of a row; a later option outdoes an earlier one.

    Parameters
    ----------
    table : dict, as `read` gives it
    row : str
    given : list of str
        Options of the command line.

    Raises
    ------
    UserError
        If neither the table nor the command line says which data.
    """
    spec = table["rows"][row]
    command = ["train", spec["rule"], *table["train"].split(), *spec["options"].split(), *given]
    if "--data" not in command:
        raise UserError("reproduce: wanted --data folder:PATH, the pictures of this table; "
                        "got none")
    return command


def rows_of(table, names):
    """The rows that a text like "bp,fa" names, all of them for "all".

    Raises
    ------
    UserError
        If there is no such row.
    """
    rows = list(table["rows"]) if names == "all" else [n.strip() for n in names.split(",")]
    for row in rows:
        if row not in table["rows"]:
            raise UserError(f"--rows: wanted all or some of {', '.join(table['rows'])}; "
                            f"got {row!r}")
    return rows


def finished(folder, config):
    """Whether the folder holds this row, run as it would be now.

    Raises
    ------
    UserError
        If it holds a row that was run otherwise.
    """
    path = folder / "results.json"
    if not path.exists() or unfinished(folder):
        return False
    there = results.read(path, whole=False)["config"]
    fixed = [key for key in config if key not in ("command", "backend")
             and not (key == "net" and "{" in PRESETS.get(config[key], ""))]    # filled in by data
    differ = [key for key in fixed if there.get(key) != json.loads(json.dumps(config[key]))]
    if differ:
        key = differ[0]
        raise UserError(f"--out: {folder} holds this row with {key} {there.get(key)}, and now "
                        f"{key} is {config[key]}; name another folder, or remove this one")
    return True


def measured(row, spec, folder):
    """One line of the table; dict by column.  None if the row is not there."""
    path = folder / "results.json"
    if not path.exists():
        return None
    found = results.read(path)
    runs, config = found["runs"], found["config"]
    line = {"row": row, "options": spec["options"], "published %": spec.get("published", ""),
            "remark": spec.get("remark", ""), "epochs": config["epochs"], "seeds": len(runs)}
    if any("failed" in run for run in runs):
        return {**line, "test error %": "diverged"}
    epochs = [epoch for run in runs for epoch in run["epochs"]]
    line.update({
        "test error %": spread([run["test_error"] for run in runs]),
        "best on test %": spread([min(e["test_error"] for e in run["epochs"]) for run in runs]),
        "training error %": spread([run["train_error"] for run in runs]),
        "chosen": " ".join(str(run["best_epoch"]) for run in runs),
        "angle to backprop, layers 1..L": degrees(runs[0]["epochs"][-1]["angle_to_backprop"]),
        "seconds an epoch": f"{statistics.median(e['seconds'] for e in epochs):.0f}",
        "memory MiB": f"{max(run['peak_memory_bytes'] for run in runs) / 2**20:.0f}"})
    if "test_error_top5" in runs[0]:
        line["top-5 error %"] = spread([run["test_error_top5"] for run in runs])
    return line


def spread(values):
    """The mean, with the standard deviation where there is more than one; text."""
    mean = f"{statistics.fmean(values):.2f}"
    return f"{mean} ± {statistics.stdev(values):.2f}" if len(values) > 1 else mean


def degrees(angles):
    """Angles in whole degrees; text."""
    return " ".join("-" if a is None else f"{a:.0f}" for a in angles)


def together(table, out):
    """The results of all rows that are there, as one comparison whose rules are the rows."""
    config, runs = None, []
    for row in table["rows"]:
        path = out / row / "results.json"
        if path.exists():
            found = results.read(path)
            config = config or {**found["config"], "rules": {}}
            config["rules"][row] = next(iter(found["config"]["rules"].values()))
            versions = found["versions"]
            runs += [{**run, "rule": row} for run in found["runs"]]
    return {"config": config, "versions": versions, "runs": runs} if runs else None


def write(table, out):
    """table.md, table.csv and figure.png, from the rows that are there; the lines of the table."""
    from minicredit.figure import draw
    lines = [measured(row, spec, out / row) for row, spec in table["rows"].items()]
    lines = [line for line in lines if line]
    columns = [c for c in COLUMNS if any(line.get(c, "") != "" for line in lines)]
    text = markdown(lines, columns)
    put(out / "table.md", ("\n".join(text) + "\n").encode())
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, columns, restval="", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(lines)
    put(out / "table.csv", file.getvalue().encode())
    all_rows = together(table, out)
    if all_rows:
        put(out / "figure.png", draw(all_rows))
    return text


def markdown(lines, columns):
    """The table as Markdown, line by line."""
    text = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for line in lines:
        shown = {**line, "options": f"`{line['options']}`",
                 "test error %": f"**{line['test error %']}**"}
        text.append("| " + " | ".join(str(shown.get(c, "")) for c in columns) + " |")
    return text
