"""Rows measured on a GPU as tables: Markdown, CSV, a line on the screen, the README.

A row is what it is in `benchmarks.tables`.  Of ours there are two, one launch a step and 20 steps a
launch ("x20"); each contender is compared with the one that takes as many, and the operations of
a step with what cuBLAS reaches on two large matrices.
"""
import csv
from pathlib import Path
from statistics import median

from benchmarks.gpu_steps import compared_with
from benchmarks.tables import between_markers, piped
from benchmarks.timing import ratios, spread

LADDER, CUBLAS = "ladder ", "cuBLAS"
BEGIN, END = "<!-- bench-gpu: begin -->", "<!-- bench-gpu: end -->"
TITLES = {"products": "Products", "images": "Layers of images",
          "ladder": "The ladder: TF/s, and the share of cuBLAS's in the same run",
          "steps": "One step of a rule, microseconds",
          "epochs": "An epoch of every rule, seconds: a slice of it, times the steps of an epoch"}
READ = ("Cells: microseconds, and how many times as long as ours that is: median (least to most) "
        "over the rounds. *minicredit* launches a recorded step as one CUDA graph; *x20* is 20 "
        "steps in a launch (ours: a pass over batches that lie on the GPU, as training does it), "
        "and is compared with ours. *torch* is how public "
        "repositories write these rules, with a graph, a loss and an optimiser for each layer and "
        "each inverse; *careful* sums the losses and fuses the optimiser; *CUDA graph* is that, "
        "captured by hand. *Ceiling* is what the "
        "products of ours reach of the speed of a 4096 x 4096 float32 product by cuBLAS, same run. "
        "Contenders run without TF32; our large products are three TF32 products each, which "
        "together are as exact as float32 up to rounding, and plain TF32 is in the ladder alone. "
        "A dash: not in what could be timed. "
        "Every contender was first checked against the NumPy reference.")
FIELDS = ("group", "what", "rule", "contender", "median_us", "least_us", "most_us",
          "ours_is_times_as_fast", "least_times", "most_times", "ceiling_gflops", "gflops",
          "share_of_ceiling", "epoch_s", "off_in_check", "left_out", "rounds_us")


def ours(row, name):
    """The contender of ours that another is compared with; None if it has no times."""
    found = compared_with(name) if row["group"] == "steps" else None
    if found not in row["times"]:
        found = next((one for one in row["times"] if one.startswith("minicredit")), None)
    return found


def share(row, name):
    """The share of the ceiling that a contender's products reach; its median, or None."""
    if not row.get("ceilings") or not row.get("operations") or name not in row["times"]:
        return None
    return row["operations"] / median(row["times"][name]) / median(row["ceilings"])


def figures(number):
    """Three figures, without an exponent."""
    digits = 0 if number >= 100 else 1 if number >= 10 else 2
    return f"{number:.{digits}f}"


def percent(number):
    """Or nothing."""
    return "-" if number is None else f"{100 * number:.0f} %"


def cell(row, name):
    """A contender's time, and how it compares; text."""
    if name not in row["times"]:
        return "-"
    text, base = figures(1e6 * median(row["times"][name])), ours(row, name)
    found = ratios(row["times"], base, name) if base and name != base else None
    return text + ("" if not found else f", {found[0]:.2f}x ({found[1]:.2f} to {found[2]:.2f})")


def contenders(rows):
    """All of them, ours first."""
    names = dict.fromkeys(name for row in rows for name in row["times"])
    return sorted(names, key=lambda name: not name.startswith("minicredit"))


def contender_table(rows):
    """A contender a column, and the share of the ceiling that the best of ours reaches."""
    names, lines = contenders(rows), []
    for row in rows:
        own = [name for name in row["times"] if name.startswith("minicredit")]
        best = min(own, key=lambda name: median(row["times"][name]), default=None)
        lines.append([row["what"], *(cell(row, name) for name in names), percent(share(row, best))])
    return ["", *names, "ceiling"], [line for line in lines if set(line[1:]) != {"-"}]


def ladder_table(rows):
    """A rung a column: operations a second, and the share of cuBLAS's."""
    names, lines = list(dict.fromkeys(name for row in rows for name in row["times"])), []
    names.sort(key=lambda name: name == CUBLAS)
    for row in (row for row in rows if row["times"]):
        lines.append([row["what"].removeprefix(LADDER)])
        for name in names:
            times, reached = row["times"].get(name), ratios(row["times"], name, CUBLAS)
            lines[-1].append("-" if not times else f"{row['operations'] / median(times) / 1e12:.2f}"
                             + (f", {percent(reached[0])}" if reached and name != CUBLAS else ""))
    return ["", *names], lines


def epoch_table(rows):
    """A network a column, a rule a line; seconds."""
    nets = list(dict.fromkeys(row["what"] for row in rows))
    rules = list(dict.fromkeys(row["rule"] for row in rows if "rule" in row))
    found = {(row["rule"], row["what"]): row["steps"] * median(*row["times"].values())
             for row in rows if row["times"]}
    return ["", *nets], [[rule, *(figures(found[rule, net]) if (rule, net) in found else "-"
                                  for net in nets)] for rule in rules]


def notes(rows):
    """Who is left out and why."""
    found = {}
    for row in rows:
        where = " ".join(filter(None, (row.get("rule"), row["what"])))
        for name, why in row["left_out"].items():
            found.setdefault(f"{name}: {why}", []).append(where)
    return [why if len(where) == len(rows) > 1 else f"{why} [{'; '.join(where)}]"
            for why, where in found.items()]


def tables(rows, titles):
    """(title, columns, lines, rows) of each table that the rows fill."""
    every, groups = [c for row in rows for c in row.get("ceilings") or ()], {}
    for row in rows:
        group = "ladder" if row["what"].startswith(LADDER) else row["group"]
        groups.setdefault(group, []).append({**row, "ceilings": row.get("ceilings") or every})
    for group, of in groups.items():
        table = {"ladder": ladder_table, "epochs": epoch_table}.get(group, contender_table)
        yield titles.get(group, TITLES[group]), *table(of), of


def markdown(rows, heading, titles):
    """All tables."""
    text = [heading, "", READ, ""]
    for title, columns, lines, of in tables(rows, titles):
        text += [f"**{title}**", ""]
        text += [*piped([columns, ["---"] + ["---:"] * (len(columns) - 1), *lines]), ""]
        text += [*(f"- {note}" for note in notes(of)), ""] if notes(of) else []
    return "\n".join(text).rstrip() + "\n"


def records(rows):
    """One flat dict for each row and contender, for the CSV."""
    for row in rows:
        same = {key: row.get(key) for key in ("group", "what", "rule")}
        if row.get("ceilings"):
            same["ceiling_gflops"] = median(row["ceilings"]) / 1e9
        for name, times in row["times"].items():
            middle, least, most = (1e6 * t for t in spread(times))
            base = ours(row, name)
            compared = ratios(row["times"], base, name) if base else None
            yield {**same, "contender": name, "median_us": middle, "least_us": least,
                   "most_us": most, "share_of_ceiling": share(row, name),
                   **dict(zip(FIELDS[7:10], compared or (None,) * 3)),
                   "gflops": (row.get("operations") or 0) / middle / 1e3 or None,
                   "epoch_s": row["steps"] * middle / 1e6 if "steps" in row else None,
                   "off_in_check": row.get("errors", {}).get(name),
                   "rounds_us": " ".join(f"{1e6 * t:.4g}" for t in times)}
        for name, why in row["left_out"].items():
            yield {**same, "contender": name, "left_out": why}


def write(rows, heading, folder, name, titles):
    """name.md and name.csv in a folder, which is made if it is not there; their paths, as text."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    pages, numbers = folder / f"{name}.md", folder / f"{name}.csv"
    pages.write_text("# Benchmarks on a GPU\n\n" + markdown(rows, heading, titles),
                     encoding="utf-8")
    with numbers.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        for record in records(rows):
            writer.writerow({key: f"{value:.5g}" if isinstance(value, float) else value
                             for key, value in record.items()})
    return f"{pages} {numbers}"


def line(row):
    """A row, for the screen."""
    told = ", ".join(f"{name} {figures(1e6 * median(times))} us"
                     for name, times in row["times"].items())
    left = "; ".join(f"{name}: {why}" for name, why in row["left_out"].items())
    what = " ".join(filter(None, (row["group"], row.get("rule"), row["what"])))
    return f"{what}: {told}" + (f"  [left out: {left}]" if left else "")


def into_readme(page, text):
    """Tables, between their markers of a page; without convolutions and notes, which are many."""
    kept = [line for line in text.splitlines() if not line.startswith(("- ", "| conv_"))]
    text = "\n".join([*kept, "Convolutions, and who is left out and why, are in "
                      "[benchmarks/results/](benchmarks/results/)."])
    page.write_text(between_markers(page.read_text(encoding="utf-8"), text + "\n", BEGIN, END),
                    encoding="utf-8")
