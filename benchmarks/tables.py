"""Rows as tables: on the screen, in Markdown, as CSV, and between two markers of the README.

A row is a dict:

    group, what, threads    which table, and the first two columns
    times           {contender: seconds of each round}
    ceilings        operations a second of the machine's own product, of each round
    operations      of one step's products
    errors          {contender: how far off it was in the check}
    left_out        {contender or library: why it has no time}
    goals           {contender: how many times as fast ours is meant to be}
    memory          {contender: bytes}
    others          processors that other processes kept busy meanwhile
"""
import csv
from pathlib import Path
from statistics import median

from benchmarks.timing import QUIET, ratios, spread

BLAS = "np.matmul"              # as the ladder's rows call it
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
TITLES = {
    "dtp": "Difference target propagation, one step of inverses and forward maps",
    "bp": "Backprop step",
    "fa": "Feedback alignment and direct feedback alignment, one step",
    "targets": "Kickback, SDTP and AO-SDTP, one step",
    "lc": "Locally connected layer: forward, pull back, gradient",
    "memory": "Locally connected layer: memory that a step needs, beside what it is given, MiB",
    "start": "From starting a process to the end of its first step, seconds",
    "ladder": "The ladder: a product of matrices, an idea a rung; GF/s, and the share of NumPy's",
    "rules": "A rule's epoch of MNIST and its memory, NumPy against Numba",
}
READ = ("Cells: milliseconds a step, and how many times as long as *minicredit numba* that is: "
        "median (least to most) over the rounds. *Ceiling* is what the products of ours reach of "
        "the speed of a 2048 x 2048 float32 product by NumPy, same threads, same run. *Goal* is "
        "how many times as fast as that contender ours was meant to be, said beforehand. *torch, a "
        "loss a layer* is how public repositories write these rules, with a graph, a loss and an "
        "optimiser for each layer and each inverse; *torch, one loss* sums them and fuses the "
        "optimiser. Every contender was first checked against the NumPy reference.")
FIELDS = ("group", "what", "rule", "threads", "contender", "median_ms", "least_ms", "most_ms",
          "ours_is_times_as_fast", "least_times", "most_times", "goal", "ceiling_gflops",
          "share_of_ceiling", "peak_mib", "off_in_check", "others_busy", "left_out", "rounds_ms")


def ours(row):
    """The contender that the others are compared with."""
    return next((name for name in ("minicredit numba", "minicredit numpy")
                 if name in row["times"]), None)


def share(row, name):
    """The share of the ceiling that a contender's products reach; its median, or None."""
    if not row.get("ceilings") or name not in row["times"]:
        return None
    return median(row["operations"] / t / c for t, c in zip(row["times"][name], row["ceilings"]))


def cell(row, name):
    """A contender's time, and how it compares; text."""
    if name not in row["times"]:
        return "-"
    text, base = milliseconds(median(row["times"][name])), ours(row)
    if name == base:
        return text
    middle, least, most = ratios(row["times"], base, name)
    text += f", {middle:.2f}x ({least:.2f} to {most:.2f})"
    goal = row.get("goals", {}).get(name)
    if goal:
        text += f"; goal {goal:g}x" + ("" if middle >= goal else ", missed")
    return text


def milliseconds(seconds):
    """Three figures."""
    ms = 1e3 * seconds
    return f"{ms:.0f}" if ms >= 100 else f"{ms:.1f}" if ms >= 10 else f"{ms:.2f}"


def contenders(rows):
    """All of them, ours first."""
    names = dict.fromkeys(name for row in rows for name in row["times"])
    return sorted(names, key=lambda name: not name.startswith("minicredit"))


def mib(size):
    """Bytes as MiB."""
    return "-" if size is None else f"{size / 2**20:.1f}"


# Each table is (title, columns, lines, notes) -----------------------------------------------------

def steps_table(group, rows):
    """What a step costs, a contender a column."""
    names = contenders(rows)
    lines = []
    for row in rows:
        reached = share(row, ours(row))
        lines.append([row["what"], str(row["threads"]), *(cell(row, name) for name in names),
                      "-" if reached is None else f"{100 * reached:.0f} %"])
    return TITLES[group], ["", "threads", *names, "ceiling"], lines, notes(rows)


def memory_table(rows):
    """What a step holds at its worst moment, a contender a column."""
    names = contenders(rows)
    lines = [[row["what"], str(row["threads"]), *(mib(row["memory"].get(name)) for name in names)]
             for row in rows if row["times"]]
    return TITLES["memory"], ["", "threads", *names], lines, []


def start_table(rows):
    """Seconds until the first step is done."""
    names = contenders(rows)
    lines = [[row["what"], str(row["threads"]),
              *(f"{median(row['times'][name]):.2f}" for name in names)]
             for row in rows if row["times"]]
    return TITLES["start"], ["", "threads", *names], lines, notes(rows)


def rules_table(rows):
    """Seconds an epoch, and MiB, of each rule with both backends."""
    backprop = {(row["what"], row["threads"]): median(row["times"][ours(row)]) for row in rows
                if row.get("rule") == "bp" and row["times"]}
    lines = []
    for row in (row for row in rows if row["times"]):
        base, pair = ours(row), ("minicredit numpy", "minicredit numba")
        middle = {name: median(values) for name, values in row["times"].items()}
        bp = backprop.get((row["what"], row["threads"]))
        faster = ratios(row["times"], pair[1], pair[0])
        lines.append([f"{row['rule']} {row['what']}", str(row["threads"]),
                      *(f"{row['steps'] * middle[name]:.1f}" if name in middle else "-"
                        for name in pair),
                      f"{faster[0]:.2f}x ({faster[1]:.2f} to {faster[2]:.2f})" if faster else "-",
                      f"{middle[base] / bp:.2f}" if bp else "-",
                      *(mib(row["memory"].get(name)) for name in pair)])
    columns = ["", "threads", "NumPy, s", "Numba, s", "Numba faster", "times backprop",
               "NumPy, MiB", "Numba, MiB"]
    return TITLES["rules"], columns, lines, notes(rows)


def ladder_table(rows):
    """Operations a second of each rung, and its share of what NumPy's product reaches."""
    names = list(dict.fromkeys(name for row in rows for name in row["times"]))
    names.sort(key=lambda name: name == BLAS)
    return (TITLES["ladder"], ["", "threads", *names],
            [[row["what"], str(row["threads"]), *(rung(row, name) for name in names)]
             for row in rows if row["times"]], notes(rows))


def rung(row, name):
    """A cell of the ladder's table; text."""
    if name not in row["times"]:
        return "-"
    text = f"{row['operations'] / median(row['times'][name]) / 1e9:.1f}"
    reached, goal = ratios(row["times"], name, BLAS), row["goals"].get(name)
    if name == BLAS or not reached:
        return text
    text += f", {100 * reached[0]:.0f} %"
    return text + (f"; goal {100 * goal:.0f} %" + ", missed" * (reached[0] < goal) if goal else "")


def notes(rows):
    """Who is left out and why, and where the machine was not quiet."""
    found = {}
    for row in rows:
        for name, why in row["left_out"].items():
            found.setdefault(f"{name}: {why}", []).append(named(row))
        if row["others"] is not None and row["others"] > QUIET:
            why = "measured while other processes were busy, so not to be trusted"
            found.setdefault(why, []).append(named(row))
    return [why if len(where) == len(rows) else f"{why} [{'; '.join(where)}]"
            for why, where in found.items()]


def named(row):
    """A row, in a note."""
    return " ".join(filter(None, (row.get("rule"), row["what"], threads(row["threads"]))))


def threads(n):
    """In words."""
    return f"({n} thread{'s' * (n > 1)})"


def tables(rows):
    """All tables that the rows fill."""
    found, grouped = [], {}
    for row in rows:
        grouped.setdefault(row["group"], []).append(row)
    for group in (group for group in TITLES if group in grouped):
        of = grouped[group]
        if group == "start":
            found.append(start_table(of))
        elif group == "rules":
            found.append(rules_table(of))
        elif group == "ladder":
            found.append(ladder_table(of))
        else:
            found.append(steps_table(group, of))
        if group == "lc":
            found.append(memory_table(of))
    return found


# Where they go ------------------------------------------------------------------------------------

def show(rows, console):
    """On the screen: as in Markdown, but a contender a line where a column each is too wide."""
    for title, columns, lines, told in tables(rows):
        group = next(group for group in TITLES if TITLES[group] == title)
        if group in ("memory", "start", "rules", "ladder"):
            console.print(printed(title, columns, lines))
        else:
            console.print(printed_steps(title, [row for row in rows if row["group"] == group]))
        for note in told:
            console.print(f"- {note}", markup=False)


def printed(title, columns, lines):
    """A table for the screen."""
    from rich.table import Table
    table = Table(title=title)
    for n, column in enumerate(columns):
        table.add_column(column, justify="right" if n else "left", overflow="fold")
    for line in lines:
        table.add_row(*line)
    return table


def printed_steps(title, rows):
    """What a step costs, for the screen: a contender a line; a missed goal in red.

    "slower" is how many times as long as ours a contender takes.
    """
    table = printed(title, ["", "ms", "slower", "least to most", "goal", "ceiling"], [])
    for row in rows:
        table.add_section()
        table.add_row(f"[bold]{row['what']} {threads(row['threads'])}[/]")
        for name in (name for name in contenders(rows) if name in row["times"]):
            middle, least, most = ratios(row["times"], ours(row), name)
            goal, reached = row["goals"].get(name), share(row, name)
            style = "[red]" if goal and middle < goal else "[bold]"
            compared = (f"{style}{middle:.2f}x[/]", f"{least:.2f} to {most:.2f}",
                        f"{goal:g}x" if goal else "") if name != ours(row) else ("", "", "")
            table.add_row(f"  {name}", milliseconds(median(row["times"][name])), *compared,
                          "" if reached is None else f"{100 * reached:.0f} %")
    return table


def markdown(rows, about):
    """The same; about are the lines that say when, where and how."""
    text = [*about, ""]
    if any(row.get("ceilings") for row in rows):
        text += [READ, ""]
    for title, columns, lines, told in tables(rows):
        text += [f"**{title}**", "", *piped([columns, ["---"] + ["---:"] * (len(columns) - 1)]),
                 *piped(lines), ""]
        text += [*(f"- {note}" for note in told), ""] if told else []
    return "\n".join(text).rstrip() + "\n"


def piped(lines):
    """Lines of a Markdown table."""
    return ["| " + " | ".join(text.replace("|", "\\|") for text in line) + " |" for line in lines]


def records(rows):
    """One flat dict for each row and contender, for the CSV."""
    for row in rows:
        same = {key: row.get(key) for key in ("group", "what", "rule", "threads")}
        same["others_busy"] = row["others"]
        if row.get("ceilings"):
            same["ceiling_gflops"] = median(row["ceilings"]) / 1e9
        for name, times in row["times"].items():
            middle, least, most = (1e3 * t for t in spread(times))
            compared = ratios(row["times"], ours(row), name) or (None,) * 3
            yield {**same, "contender": name, "median_ms": middle, "least_ms": least,
                   "most_ms": most, "share_of_ceiling": share(row, name),
                   **dict(zip(FIELDS[8:11], compared)), "goal": row.get("goals", {}).get(name),
                   "peak_mib": (row.get("memory", {}).get(name) or 0) / 2**20 or None,
                   "off_in_check": row.get("errors", {}).get(name),
                   "rounds_ms": " ".join(f"{1e3 * t:.4g}" for t in times)}
        for name, why in row["left_out"].items():
            yield {**same, "contender": name, "left_out": why}


def write(rows, about, folder, name):
    """name.md and name.csv in a folder, which is made if it is not there; their paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    pages, numbers = folder / f"{name}.md", folder / f"{name}.csv"
    pages.write_text("# Benchmarks\n\n" + markdown(rows, about), encoding="utf-8")
    with numbers.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        for record in records(rows):
            writer.writerow({key: f"{value:.5g}" if isinstance(value, float) else value
                             for key, value in record.items()})
    return pages, numbers


def between_markers(page, text, begin=BEGIN, end=END):
    """The page with the text between the two markers, and nothing else changed.

    Raises
    ------
    ValueError
        If the page does not have each marker once, in this order.
    """
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
        raise ValueError(f"wanted {begin} and then {end}, once each")
    before, after = page.split(begin)[0], page.split(end)[1]
    return f"{before}{begin}\n{text}{end}{after}"
