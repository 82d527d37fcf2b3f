"""The figure of a comparison: error against epoch, angle to backprop by layer, test error.

`draw(results)` returns a PNG; wide for a screen or narrow for a phone, light or dark.
"""
import io
import itertools

from minicredit.summary import (angles, chosen, curve, finished, mean, numbers, runs_by_rule,
                                summary)

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


# left, bottom, width, height of each panel in inches, and the whole
WIDE = {"learning": (0.68, 0.68, 4.35, 5.67), "direction": (7.75, 4.05, 4.05, 2.3),
        "test": (7.75, 0.68, 2.95, 2.34), "size": (12, 7), "dpi": 150}
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
    """rule -> (colour, line, marker): the same in every figure, lighter on dark paper.

    "dtp-parallel" is a kind of dtp and wears its colour.
    """
    from matplotlib.colors import to_hex, to_rgb

    unknown, lines = itertools.cycle(UNKNOWN), itertools.cycle(("--", "-", ":", "-."))
    styles = {}
    for rule in rules:
        kin = max((known for known in STYLES if f"{rule}-".startswith(f"{known}-")), key=len,
                  default=None)
        colour, line, marker = STYLES[kin] if kin else next(unknown)
        if kin not in (rule, None):
            line = next(lines)
        rgb = to_rgb(colour or INK[dark])
        white = 0.6 * (1 - sum(rgb) / 3) if dark else 0.0   # more into the darker ones
        styles[rule] = to_hex([v + white * (1 - v) for v in rgb]), line, marker
    return styles


def draw_learning(axes, done, styles):
    """Validation error against epoch: mean, band over the seeds, a mark where each was chosen."""
    from matplotlib.ticker import MaxNLocator

    heading(axes, "Validation error while learning",
            "mean and range of the seeds; mark: epoch chosen")
    ends, values, veil = {}, [], 0.15 if len(done) < 7 else 0.03    # many bands lie on each other
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
