"""A comparison becomes three files: results.json, figure.png and report.html.

    write(results, folder)    the three files, each of them complete or absent
    summary(results)          one row per rule, lowest test error first

Every number is taken at a run's chosen epoch, the one with the lowest validation error; the test
set is never used to choose.  A run that failed stays in the tables and is in no average.  A number
that is not finite is null in the file, a dash on the page, and missing from every mean.
"""
import base64
import io
import itertools
import json
import math
import os
import statistics
from collections import defaultdict
from html import escape
from pathlib import Path
from string import Template

MIB = 2**20

# One hue per family, so that 13 lines read as four groups; colours told apart by the colour-blind
# (after Okabe & Ito 2008).  Inside a family: lightness, line and marker.
FAMILIES = {
    "backprop": {"bp": (None, "-", "o")},                   # None: the colour of the text
    "feedback": {
        "fa": ("#0B58A8", "-", "s"),
        "dfa": ("#5A97EA", "-", "D"),
        "usf": ("#0092C4", "--", "^"),
        "frsf": ("#45B4DA", "-.", "v"),
        "brsf": ("#8CC8E6", ":", "<"),
        "weight-mirror": ("#2E2A78", "-.", "h"),
        "kolen-pollack": ("#7E78D2", "--", "p"),
    },
    "target": {
        "dtp": ("#D55E00", "-", "X"),
        "tp": ("#E69F00", "--", "P"),
        "sdtp": ("#94450B", "-.", "d"),
        "ao-sdtp": ("#F2A56B", ":", "*"),
    },
    "kickback": {"kickback": ("#C2347F", "-", ">")},
}
STYLES = {rule: style for family in FAMILIES.values() for rule, style in family.items()}
UNKNOWN = [("#77705F", line, marker) for line, marker in zip(("-", "--", "-.", ":"), "8H1+")]

INK = {False: "#1d1d1f", True: "#e4e4e0"}                   # False: light, True: dark
PAPER = {False: "#ffffff", True: "#17181a"}                 # the page's own backgrounds
FAINT = {False: "#6b6b70", True: "#9b9b98"}

READING = {
    "feedback": """<p><strong>Other feedback.</strong> Backprop sends errors down through the
transpose of each forward weight. These rules send them through other weights: random ones that
never change, ones that keep only the signs of the forward weights, or ones that are learned. Where
the feedback is fixed, a falling angle means that the <em>forward</em> weights have come to agree
with it.</p>""",
    "target": """<p><strong>Targets.</strong> Backprop tells a layer how to change; target
propagation tells it what it should have said. Learned inverses carry targets down, and the
direction measured is the step from a layer’s activity to its target. An angle far from 0° need not
be bad: a target may point elsewhere than the gradient and still be a good thing to have
said.</p>""",
    "kickback": """<p><strong>Kickback</strong> multiplies one global error by each unit’s direct
influence on the layer above, on networks of its own kind: look at their sizes below before you
compare its numbers with the rest.</p>""",
}


def write(results, folder, about=None):
    """Write results.json, figure.png and report.html into `folder`, in place.

    Parameters
    ----------
    results : dict
        "config" (with "rules": rule -> hyperparameters), "versions" and "runs".
    folder : path
        Made where it is missing; the three files are replaced where they are there.
    about : dict, optional
        rule -> {"title", "paper", "idea"}, plain text.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    results = in_order(plain(results))
    text = json.dumps(results, indent=2, allow_nan=False) + "\n"
    put(folder / "results.json", text.encode())             # first: hours of work, needs no figure
    wide = draw(results)
    put(folder / "figure.png", wide)
    figures = {
        "wide": wide,
        "wide_dark": draw(results, dark=True),
        "narrow": draw(results, narrow=True),
        "narrow_dark": draw(results, dark=True, narrow=True),
    }
    put(folder / "report.html", page(results, figures, about or {}).encode("utf-8", "replace"))


def put(path, data):
    """Write `data` beside `path` and rename it, so that nobody ever reads half a file."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(beside, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())                         # the name must not outrun the bytes
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


# ---- the numbers ---------------------------------------------------------------------------------


def plain(x):
    """`x` in the types JSON knows: arrays become lists, and numbers that are not finite null."""
    if hasattr(x, "tolist"):                                # NumPy's arrays and scalars
        x = x.tolist()
    if isinstance(x, dict):
        return {str(key): plain(value) for key, value in x.items()}
    if isinstance(x, (list, tuple)):
        return [plain(value) for value in x]
    if isinstance(x, float):
        return x if math.isfinite(x) else None
    return x if x is None or isinstance(x, (int, str)) else str(x)


def in_order(results):
    """`results` with its runs by rule, as the configuration names them, then by seed."""
    config, runs = results.get("config", {}), results.get("runs", [])
    rules = list(dict.fromkeys([*config.get("rules", {}), *(run["rule"] for run in runs)]))
    runs = sorted(runs, key=lambda run: (rules.index(run["rule"]), run.get("seed") or 0))
    return {"config": config, "versions": {}, **results, "runs": runs}


def summary(results):
    """One row per rule, lowest mean test error first, rules without a finished run last.

    Returns
    -------
    list of dict
        rule; seeds and failed, the numbers of finished and failed runs; test_error (mean, percent)
        and test_error_sd (None for one seed); train_error (mean, percent); seconds (mean per run);
        best_epoch (median) and best_epochs (sorted); peak_memory_bytes (largest);
        angle_to_backprop (degrees per layer, mean over seeds).  None where nothing was measured.
    """
    by_rule = runs_by_rule(plain(results))
    rows = [summarise(rule, runs) for rule, runs in by_rule.items()]
    return sorted(rows, key=lambda row: (row["test_error"] is None, row["test_error"] or 0))


def summarise(rule, runs):
    """The row of one rule; see `summary`."""
    done = [run for run in runs if finished(run)]
    test = numbers(done, "test_error")
    epochs = sorted(numbers(done, "best_epoch"))
    return {
        "rule": rule,
        "seeds": len(done),
        "failed": len(runs) - len(done),
        "test_error": mean(test),
        "test_error_sd": statistics.stdev(test) if len(test) > 1 else None,
        "train_error": mean(numbers(done, "train_error")),
        "seconds": mean(numbers(done, "seconds")),
        "best_epoch": statistics.median_low(epochs) if epochs else None,
        "best_epochs": epochs,
        "peak_memory_bytes": max(numbers(done, "peak_memory_bytes"), default=None),
        "angle_to_backprop": [mean(seeds) for seeds in angles(done)],
    }


def runs_by_rule(results):
    """rule -> its runs, in the order of `results`."""
    by_rule = defaultdict(list)
    for run in results["runs"]:
        by_rule[run["rule"]].append(run)
    return dict(by_rule)


def finished(run):
    """Whether the run has a result: it did not fail, and its test error is a number."""
    return run.get("failed") is None and run.get("test_error") is not None


def numbers(rows, key):
    """What `rows` hold under `key`, without the missing."""
    return [row[key] for row in rows if row.get(key) is not None]


def mean(values):
    """The mean, or None of nothing."""
    return statistics.fmean(values) if values else None


def chosen(run):
    """The run's record of its chosen epoch, or an empty one."""
    rows = (row for row in run.get("epochs") or [] if row["epoch"] == run.get("best_epoch"))
    return next(rows, {})


def angles(runs):
    """For every layer 1..L, the angles to backprop at each run's chosen epoch where defined."""
    lists = [chosen(run).get("angle_to_backprop") or [] for run in runs]
    layers = itertools.zip_longest(*lists)                  # seeds of one rule may differ in depth
    return [[angle for angle in layer if angle is not None] for layer in layers]


def curve(runs):
    """[(epoch, mean, lowest, highest)] of the validation error over the runs still going."""
    seeds = defaultdict(list)
    for run in runs:
        for row in run.get("epochs") or []:
            if row.get("validation_error") is not None:
                seeds[row["epoch"]].append(row["validation_error"])
    return [(k, mean(seeds[k]), min(seeds[k]), max(seeds[k])) for k in sorted(seeds)]


# ---- the figure ----------------------------------------------------------------------------------

# left, bottom, width, height of each panel in inches, and the whole
WIDE = {"learning": (0.68, 0.68, 4.35, 5.67), "direction": (7.4, 4.05, 4.4, 2.3),
        "test": (7.4, 0.68, 3.3, 2.34), "size": (12, 7), "dpi": 150}
NARROW = {"learning": (0.62, 8.2, 2.3, 3.75), "direction": (0.62, 4.5, 3.65, 2.5),
          "test": (1.22, 0.6, 2.05, 2.7), "size": (4.4, 12.55), "dpi": 160}


def draw(results, dark=False, narrow=False):
    """The figure as the bytes of a PNG: learning curves, angles to backprop, test errors."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    layout = NARROW if narrow else WIDE
    by_rule = runs_by_rule(results)
    rows = summary(results)
    styles = pick_styles(by_rule, dark)
    done = {row["rule"]: [run for run in by_rule[row["rule"]] if finished(run)] for row in rows}
    with matplotlib.rc_context(look(dark)):
        figure = Figure(layout["size"], dpi=layout["dpi"])
        draw_learning(panel(figure, layout, "learning"), done, styles)
        draw_direction(panel(figure, layout, "direction"), done, styles)
        draw_test(panel(figure, layout, "test"), rows, done, styles)
        image = io.BytesIO()
        FigureCanvasAgg(figure).print_png(image)
    return image.getvalue()


def panel(figure, layout, name):
    """New axes at their place in the layout."""
    (width, height), (left, bottom, w, h) = layout["size"], layout[name]
    return figure.add_axes((left / width, bottom / height, w / width, h / height))


def look(dark):
    """Matplotlib's settings for the figure; what it depends on is named, whatever the user set."""
    ink, paper, faint = INK[dark], PAPER[dark], FAINT[dark]
    return {
        "text.usetex": False, "text.parse_math": False,     # a rule may be called "$x$"
        "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 9.5,
        "text.color": ink, "axes.labelcolor": ink, "xtick.color": faint, "ytick.color": faint,
        "xtick.labelcolor": ink, "ytick.labelcolor": ink, "axes.edgecolor": faint,
        "figure.facecolor": paper, "axes.facecolor": paper, "axes.linewidth": 0.7,
        "axes.spines.top": False, "axes.spines.right": False, "axes.titlelocation": "left",
        "axes.titlesize": 11, "axes.titleweight": "bold", "axes.titlepad": 22,
        "lines.solid_capstyle": "round", "axes.unicode_minus": True,
    }


def pick_styles(rules, dark):
    """rule -> (colour, line, marker): the same in every figure, lighter on dark paper."""
    from matplotlib.colors import to_hex, to_rgb

    unknown = itertools.cycle(UNKNOWN)
    styles = {}
    for rule in rules:
        colour, line, marker = STYLES.get(rule) or next(unknown)
        rgb = to_rgb(colour or INK[dark])
        white = 0.6 * (1 - sum(rgb) / 3) if dark else 0.0   # more into the darker ones
        styles[rule] = to_hex([v + white * (1 - v) for v in rgb]), line, marker
    return styles


def draw_learning(axes, done, styles):
    """Validation error against epoch: mean, band over the seeds, a mark where each was chosen."""
    from matplotlib.ticker import MaxNLocator

    heading(axes, "Validation error while learning",
            "mean and range of the seeds; mark: epoch chosen")
    ends, values, veil = {}, [], 0.15 if len(done) < 7 else 0.07    # many bands lie on each other
    for rule, runs in reversed(done.items()):               # the best is drawn last, on top
        colour, line, marker = styles[rule]
        points = curve(runs)
        if not points:
            continue
        epochs, middle, low, high = zip(*points)
        axes.fill_between(epochs, low, high, color=colour, alpha=veil, linewidth=0)
        axes.plot(epochs, middle, line, color=colour, linewidth=1.6)
        best = [chosen(run) for run in runs if chosen(run).get("validation_error") is not None]
        axes.plot(numbers(best, "epoch"), numbers(best, "validation_error"), marker, color=colour,
                  markersize=5, markeredgecolor=axes.get_facecolor(), markeredgewidth=0.6)
        ends[rule] = epochs[-1], middle[-1]
        values += [*low, *high]
    axes.margins(x=0.01)
    axes.set_xlabel("epoch")
    axes.set_ylabel("validation error (%)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    error_scale(axes.yaxis, axes.set_yscale, values)
    label_ends(axes, ends, styles)


def draw_direction(axes, done, styles):
    """Angle to backprop for every layer: mean and range over the seeds, rules side by side."""
    heading(axes, "Angle to backprop, layer by layer",
            "0° is backprop’s own direction; mean, range of seeds")
    axes.axhline(90, color=axes.xaxis.label.get_color(), linewidth=0.8, linestyle=(0, (4, 3)))
    depth, top = 1, 100
    for place, (rule, runs) in enumerate(done.items()):
        colour, line, marker = styles[rule]
        shift = 0.6 * ((place + 0.5) / len(done) - 0.5)     # so that equal angles do not hide
        layers = [(i + shift, mean(a), min(a), max(a)) for i, a in enumerate(angles(runs), 1) if a]
        if not layers:
            continue
        x, middle, low, high = zip(*layers)
        axes.plot(x, middle, line, color=colour, linewidth=0.8, alpha=0.45)
        axes.vlines(x, low, high, color=colour, linewidth=1.6)
        axes.plot(x, middle, marker, color=colour, markersize=4.8,
                  markeredgecolor=axes.get_facecolor(), markeredgewidth=0.4)
        depth, top = max(depth, len(angles(runs))), max(top, *high)
    axes.set_xlim(0.5, depth + 0.5)
    axes.set_xticks(range(1, depth + 1))
    axes.set_ylim(-4, 184 if top > 100 else 104)
    axes.set_yticks([0, 45, 90, 135, 180] if top > 100 else [0, 30, 60, 90])
    axes.set_xlabel("layer (1 sees the input)")
    axes.set_ylabel("angle (degrees)")
    axes.annotate("90°: no information", (1, 90), (0, 2), xycoords=axes.get_yaxis_transform(),
                  textcoords="offset points", ha="right", va="bottom", fontsize=8)


def draw_test(axes, rows, done, styles):
    """Test error of every run, a line per rule, lowest mean on top; also the key to the colours."""
    heading(axes, "Test error at the epoch chosen", "a mark for each seed, a bar at their mean")
    points = 72 * axes.get_position().height * axes.figure.get_figheight()
    size = min(9.5, 0.85 * points / max(1, len(rows)))      # of a letter; 13 rules fit as they are
    values = []
    for place, row in enumerate(rows):
        colour, _, marker = styles[row["rule"]]
        errors = numbers(done[row["rule"]], "test_error")
        values += errors
        axes.axhline(place, color=colour, linewidth=0.5, alpha=0.35, zorder=0)
        axes.plot(errors, [place] * len(errors), marker, color=colour, markersize=5, alpha=0.8,
                  markeredgecolor=axes.get_facecolor(), markeredgewidth=0.4)
        notes = [f"{row['failed']} failed"] if row["failed"] else []
        if errors:
            axes.vlines(row["test_error"], place - 0.38, place + 0.38, color=colour, linewidth=1.8)
            notes.insert(0, f"{row['test_error']:.1f} %")
        axes.annotate(", ".join(notes), (1, place), (5, 0), va="center", fontsize=size,
                      xycoords=axes.get_yaxis_transform(), textcoords="offset points")
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), [short(row["rule"]) for row in rows], fontsize=size)
    axes.tick_params("y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("test error (%)")
    error_scale(axes.xaxis, axes.set_xscale, values)


def heading(axes, title, explanation):
    """A bold title with one plain line under it."""
    axes.set_title(title)
    axes.annotate(explanation, (0, 1), (0, 9), xycoords="axes fraction",
                  textcoords="offset points", fontsize=8.5, va="bottom")


def error_scale(axis, set_scale, values):
    """Logarithmic where the errors span more than a factor of four and none is 0."""
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    if values and min(values) > 0 and max(values) > 4 * min(values):
        set_scale("log")
        axis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
        axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))


def label_ends(axes, ends, styles):
    """Name every line at its end, moved apart where names would overlap, tied by a thin leader."""
    if not ends:
        return
    axes.autoscale_view()                                   # or the ends are not yet where they go
    area = axes.get_position()
    inch = 1 / (area.width * axes.figure.get_figwidth())                # in widths of the axes
    height = area.height * axes.figure.get_figheight() * 72             # in points
    to_axes, at = axes.transData + axes.transAxes.inverted(), axes.transAxes
    points = sorted((*to_axes.transform(end)[::-1], rule) for rule, end in ends.items())
    places = apart([y for y, _, _ in points], min(13 / height, 1 / len(points)))
    for (y, x, rule), place in zip(points, places):
        colour, line, marker = styles[rule]
        leader = [x, *(1 + inch * reach for reach in (0.05, 0.22, 0.42))]
        axes.plot(leader, [y, y, place, place], line, color=colour, linewidth=0.9, transform=at,
                  clip_on=False)
        axes.plot(1 + inch * 0.33, place, marker, color=colour, markersize=5, transform=at,
                  clip_on=False)
        axes.text(1 + inch * 0.48, place, short(rule), transform=at, va="center", fontsize=9.5)


def apart(y, gap):
    """The places nearest to the rising `y` (least squares) that stay `gap` apart, within 0..1."""
    blocks = []                                             # [sum, count] of y[n] - n gap, pooled
    for n, value in enumerate(y):
        blocks.append([value - n * gap, 1])
        while len(blocks) > 1 and blocks[-2][0] * blocks[-1][1] > blocks[-1][0] * blocks[-2][1]:
            total, count = blocks.pop()
            blocks[-1][0] += total
            blocks[-1][1] += count
    level = [total / count for total, count in blocks for _ in range(count)]
    room = max(0.0, 1 - gap * (len(y) - 1))
    return [min(max(value, 0.0), room) + n * gap for n, value in enumerate(level)]


def short(rule):
    """A rule's name, cut where it would run out of the figure."""
    return rule if len(rule) <= 16 else rule[:15] + "…"


# ---- the page ------------------------------------------------------------------------------------


def page(results, figures, about):
    """report.html: everything inside, nothing loaded, every foreign word escaped."""
    here = Path(__file__).parent
    config, rows = results["config"], summary(results)
    rules = [row["rule"] for row in rows]
    families = [name for name, family in FAMILIES.items() if set(rules) & set(family)]
    data = {name: base64.b64encode(image).decode() for name, image in figures.items()}
    return Template((here / "report.html").read_text("utf-8")).substitute(
        data,
        style=(here / "report.css").read_text("utf-8"),
        heading=escape(f"{len(rows)} rule{'s' * (len(rows) != 1)} on {config.get('data', '?')}"),
        lead=lead(config, rows, about),
        alt=escape(alt(rows)),
        rows="\n".join(table_row(row, results["runs"], about) for row in rows),
        reading="\n".join(READING.get(family, "") for family in families),
        settings=table_of({k: v for k, v in config.items() if k not in ("rules", "command")}),
        hyperparameters="\n".join(
            f"<tr><th scope='row'>{escape(rule)}</th><td>{pairs(values)}</td></tr>"
            for rule, values in config.get("rules", {}).items()),
        versions=table_of(results["versions"]),
        command=escape(str(config.get("command", ""))),
    )


def lead(config, rows, about):
    """What was compared, on what data and which network, in plain words."""
    names = [escape(title(row["rule"], about)) for row in rows]
    named = ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)
    said = {key: escape(shown(value)) for key, value in config.items()}
    network = [f"a network of sizes {said['net']}"] if "net" in said else ["a network"]
    network += [f"with {said['activation']} units"] if "activation" in said else []
    plural = "s" * (config.get("epochs") != 1)
    network += [f"for {said['epochs']} epoch{plural}"] if "epochs" in said else []
    network += [f"in batches of {said['batch']}"] if "batch" in said else []
    network += [f"from {said['seeds']} seeds"] if config.get("seeds", 1) != 1 else []
    order = ", from the lowest test error to the highest" if len(names) > 1 else ""
    return (f"Measured on {said.get('data', 'unnamed data')}{order}: {named}. Unless a rule’s own "
            f"settings below say otherwise, each trained {' '.join(network)}.")


def alt(rows):
    """The figure for those who do not see it."""
    errors = [f"{row['rule']} {number(row['test_error'], 2)} %" for row in rows]
    return ("Three panels: validation error over epochs, angle to backprop for each layer, and the "
            "test error of each seed. Mean test errors: " + ", ".join(errors) + ".")


def table_row(row, runs, about):
    """One rule of the table of results; labels let it stand alone as a card on a narrow screen."""
    rule, known = row["rule"], about.get(row["rule"], {})
    spread = f" ± {number(row['test_error_sd'], 2)}" if row["test_error_sd"] is not None else ""
    epochs = [str(epoch) for epoch in row["best_epochs"]]
    memory = row["peak_memory_bytes"] / MIB if row["peak_memory_bytes"] is not None else None
    failures = [f"<span class='failed'>seed {escape(str(run.get('seed', '?')))} failed: "
                f"{escape(str(run.get('failed') or 'no test error'))}</span>"
                for run in runs if run["rule"] == rule and not finished(run)]
    named, idea = title(rule, about), known.get("idea", "")
    name = [f"<span class='name'>{escape(named if named == rule else capital(named))}</span>"]
    name += [f"<code>{escape(rule)}</code>"] if named != rule else []
    name += [f"<span class='idea'>{escape(capital(idea))}</span>"] if idea else []
    name += [f"<span class='paper'>{escape(known['paper'])}</span>"] if known.get("paper") else []
    cells = [
        ("test error, %", f"<b>{number(row['test_error'], 2)}</b>{spread}"
                          f"<small>n = {row['seeds']}</small>"),
        ("train error, %", number(row["train_error"], 2)),
        ("angle by layer, °", " ".join(number(a, 0) for a in row["angle_to_backprop"]) or "–"),
        ("seconds a run", number(row["seconds"], 1)),
        ("peak memory, MiB", number(memory, 0 if memory and memory >= 10 else 1)),
        ("epoch chosen", "–".join(dict.fromkeys([*epochs[:1], *epochs[-1:]])) or "–"),
    ]
    return (f"<tr><th scope='row'>{' '.join(name + failures)}</th>" + "".join(
        f"<td data-label='{label}'><span>{cell}</span></td>" for label, cell in cells) + "</tr>")


def table_of(values):
    """The rows of a two-column table."""
    return "\n".join(f"<tr><th scope='row'>{escape(key)}</th><td>{escape(shown(value))}</td></tr>"
                     for key, value in values.items())


def pairs(values):
    """Hyperparameters, each on one unbroken line, as many to a line as fit."""
    if not isinstance(values, dict):
        return escape(shown(values))
    return " ".join(f"<span class='pair'>{escape(key)} <b>{escape(shown(value))}</b></span>"
                    for key, value in values.items())


def title(rule, about):
    """The rule's full name where it is known."""
    return about.get(rule, {}).get("title") or rule


def capital(text):
    """`text` as the beginning of a line; `str.capitalize` would make DTP Dtp."""
    return text[:1].upper() + text[1:]


def shown(value):
    """A setting as a person writes it: text bare, nothing as none, the rest as in the JSON file."""
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def number(value, digits):
    """A number with that many decimals, or a dash."""
    return "–" if value is None else f"{value:.{digits}f}"
