"""What do skip connections do for credit?

    python -m minicredit.experiments.skips --data digits --depth 16 --rules bp,fa,dtp --out DIR

Each rule trains a deep network twice, from the same seed: n-width-width-...-K of dense layers, and
the same with every layer between the first and the top residual, h[i] = h[i-1] + f(h[i-1] W + b).
Before training and after, it is asked about validation images, layer by layer:

    signal      root mean square of |delta[i]| over images, relative to that of the top hidden
                layer; of a residual layer the half that its weights hear
    angle       of the weight gradient to backprop's, in degrees
    toward      rules of targets: the angle of h_hat[i] - h[i] to -dloss/dh[i], mean over images
    inverse     rules of inverses: mean |g_i(h[i]) - h[i-1]|^2 / variance of h[i-1]

Writes skips.json, skips.md and skips.png.  The test error is that of the epoch with the lowest
validation error; all else is of the last epoch.
"""
import argparse
import io
import json
import shlex
import sys
from pathlib import Path

import numpy as np

from minicredit import compare
from minicredit.arguments import rules_and_options
from minicredit.errors import UserError
from minicredit.experiments.signs import images
from minicredit.figure import heading, look, pick_styles
from minicredit.measure import angle_to_backprop, angles, inverse_error
from minicredit.network import forward
from minicredit.report import put
from minicredit.rules.backprop import Backprop
from minicredit.screen import screen
from minicredit.summary import plain
from minicredit.training import DECAYS, WATCHED, Diverged, epochs


# What is measured ---------------------------------------------------------------------------------

def measured(rule, x, y):
    """What a rule tells each layer; changes nothing.

    Parameters
    ----------
    rule : any rule of `minicredit.rules`, but Kickback
    x : array (N, sizes[0])
    y : int array (N,)

    Returns
    -------
    dict of lists, an entry for each hidden layer, 1..L-1; NaN where there is nothing to measure
        signal, angle, toward, inverse (entry i - 1: of g_i), as at the top of this file
    """
    net, x, y = rule.net, rule.net.ops.asarray(x), rule.net.ops.asarray(y)
    h = forward(net, x)
    told, true = rule.feedback(h, y), Backprop(net).feedback(h, y)
    size = [loudness(net, told.delta[i], i) for i in range(1, net.L)]
    wrong = inverse_error(rule, x)
    return {"signal": [s / size[-1] if size[-1] else float("nan") for s in size],
            "angle": angle_to_backprop(rule, x, y)[:-1],
            "toward": [toward(net, h, told.h_hat, true.delta, i) for i in range(1, net.L)],
            "inverse": [wrong.get(i, float("nan")) for i in range(1, net.L)]}


def loudness(net, delta, i):
    """Root mean square over examples of |delta[i]|; of a residual layer, of what W hears."""
    own = net.ops.to_numpy(delta)[:, :net.sizes[i]].astype(np.float64)
    return float(np.sqrt((own**2).sum(axis=1).mean()))


def toward(net, h, h_hat, true, i):
    """The angle of h_hat[i] - h[i] to -dloss/dh[i], mean over examples; NaN without targets."""
    if h_hat is None or h_hat[i] is None:
        return float("nan")
    e = net.layers[i + 1].pull_back(true[i + 1])                    # dloss/dh[i], by backprop
    each = angles(net.ops.to_numpy(h_hat[i] - h[i]), -net.ops.to_numpy(e))
    each = each[np.isfinite(each)]
    return float(each.mean()) if each.size else float("nan")


def run(row, config, loaded, shown):
    """Train one rule on one of the two networks; a dict of its epochs, and of `start` and `end`."""
    name, skips = row
    record = {"rule": label(row), "of": name, "skips": skips, "seed": config["seed"], "epochs": []}
    config = {**config, "net": config["nets"][skips]}
    x, y = (array[:WATCHED] for array in (loaded.validation.x, loaded.validation.y))
    shown.begin(record["rule"], 0)
    rule = compare.build(name, config, loaded.K, config["seed"])
    record["start"] = measured(rule, x, y)
    try:
        for epoch in epochs(rule, loaded, config["epochs"], config["batch"], config["decay"],
                            config["seed"], shown.tell):
            record["epochs"].append(epoch)
            shown.epoch(epoch)
        record["end"] = measured(rule, x, y)
    except Diverged as diverged:
        record["failed"] = str(diverged)
    if record["epochs"]:
        best = min(record["epochs"], key=lambda epoch: epoch["validation_error"])
        record.update(best_epoch=best["epoch"], test_error=best["test_error"],
                      validation_error=best["validation_error"],
                      seconds=sum(epoch["seconds"] for epoch in record["epochs"]))
    shown.end(record)
    return record


def label(row):
    """A rule and whether it has skips, in words."""
    return f"{row[0]}, {'with' if row[1] else 'no'} skips"


# The table ----------------------------------------------------------------------------------------

COLUMNS = ("rule", "skips", "test error %", "signal at layer 1: start", "end",
           "angle to backprop: start", "end", "target to -gradient: start", "end",
           "inverse error: start", "end")


def table(results):
    """The Markdown table, one row a rule and network, and what its columns mean."""
    config = results["config"]
    rows = [COLUMNS, ("---",) * len(COLUMNS)] + [cells(record) for record in results["runs"]]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    failed = [f"{record['rule']}: {record['failed']}" for record in results["runs"]
              if "failed" in record]
    return "\n".join(["# What do skip connections do for credit?", "",
                      f"    {config['command']}", "", *lines, "", *failed, about(config)])


def cells(record):
    """One row; what a run that diverged did not reach is a dash."""
    row = [record["of"], "yes" if record["skips"] else "no"]
    row.append(f"{record['test_error']:.2f}" if "test_error" in record else "–")
    looks = [record["start"], record.get("end")]
    row += [f"{look['signal'][0]:.2g}" if look else "–" for look in looks]
    for key, form in (("angle", "{:.0f}"), ("toward", "{:.0f}"), ("inverse", "{:.2g}")):
        row += [three(look[key], form) if look else "–" for look in looks]
    return row


def three(values, form):
    """The lowest, the middle and the highest layer that have a value; a dash if none has."""
    values = [value for value in values if np.isfinite(value)]
    if not values:
        return "–"
    return " ".join(form.format(values[n]) for n in (0, len(values) // 2, -1))


def about(config):
    """What the columns mean."""
    return f"""
{config['data']}, {config['nets'][False]} and {config['nets'][True]} {config['activation']},
{config['epochs']} epochs of batches of {config['batch']}, decay {config['decay']}, seed \
{config['seed']}.

Signal: the teaching signal at layer 1 over that at the top hidden layer, of the half of a residual
layer's that its weights hear.  Three numbers are of the lowest, the middle and
the highest hidden layer: the angle of the weight gradient to backprop's; the angle of h_hat - h to
the negative gradient at h, mean over images; what the inverse gets wrong, relative to the variance
(1: no better than the mean).  All but the test error on {WATCHED} validation images or fewer.
"""


# The figure ---------------------------------------------------------------------------------------

SIZE, PANEL, LEFTS, BOTTOMS = (10.1, 7.75), (4.4, 2.55), (0.85, 5.55), (4.15, 0.65)      # inches
SMALLEST = 1e-8                         # of a signal; what is fainter is drawn at the lower edge


def draw(results):
    """The figure as the bytes of a PNG: signals above, angles below; start left, end right."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    runs, config = results["runs"], results["config"]
    styles = pick_styles(dict.fromkeys(record["of"] for record in runs), dark=False)
    whens = {"start": "at the start", "end": f"after {config['epochs']} epochs"}
    with rc_context(look(dark=False)):
        figure = Figure(SIZE, dpi=150)
        for kind, bottom in zip((draw_signal, draw_angle), BOTTOMS):
            row = []
            for when, left in zip(whens, LEFTS):
                place = left / SIZE[0], bottom / SIZE[1], PANEL[0] / SIZE[0], PANEL[1] / SIZE[1]
                row.append(figure.add_axes(place, sharey=row[0] if row else None))
                seen = [(record, record[when]) for record in runs if when in record]
                kind(row[-1], seen, styles, whens[when])
            row[1].set_ylabel("")
            row[1].tick_params("y", labelleft=False)
        draw_key(figure, styles)
        image = io.BytesIO()
        FigureCanvasAgg(figure).print_png(image)
    return image.getvalue()


def draw_signal(axes, seen, styles, when):
    """The size of the teaching signal against depth, logarithmic."""
    from matplotlib.ticker import NullFormatter, StrMethodFormatter

    heading(axes, f"Teaching signal, {when}", "relative to the top hidden layer")
    for record, now in seen:
        draw_line(axes, [max(s, SMALLEST) for s in now["signal"]], record, styles)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))     # no mathematics in `look`
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel("size")


def draw_angle(axes, seen, styles, when):
    """The angle to backprop against depth; backprop's own would be 0."""
    heading(axes, f"Angle to backprop, {when}", "of each layer’s weight gradient; 90° is no "
            "information")
    for record, now in seen:
        if record["of"] != "bp":
            draw_line(axes, now["angle"], record, styles)
    axes.axhline(90, color=axes.xaxis.label.get_color(), linewidth=0.8, linestyle=(0, (1, 3)))
    beyond = any(a > 120 for _, now in seen for a in now["angle"])
    top = 180 if beyond or axes.get_ylim()[1] == 180 else 120      # both panels have one scale
    axes.set_ylim(0, top)
    axes.set_yticks(range(0, top + 1, 30))
    axes.set_xlabel("layer (1 sees the input)")
    axes.set_ylabel("angle (degrees)")


def draw_line(axes, values, record, styles):
    """One line by layer: solid with skips, dashed without."""
    colour, _, marker = styles[record["of"]]
    line, inside = ("-", colour) if record["skips"] else ((0, (4, 2)), axes.get_facecolor())
    axes.plot(range(1, len(values) + 1), values, linestyle=line, color=colour, marker=marker,
              markersize=5, markerfacecolor=inside, linewidth=1.5, clip_on=False, zorder=3)
    axes.set_xlim(0.5, len(values) + 0.5)
    axes.set_xticks(range(1, len(values) + 1, -(-len(values) // 8)))


def draw_key(figure, styles):
    """What the colours and lines mean, along the top."""
    from matplotlib.lines import Line2D

    ink = figure.axes[0].xaxis.label.get_color()
    handles = [Line2D([], [], color=colour, marker=marker, linewidth=1.5)
               for colour, _, marker in styles.values()]
    handles += [Line2D([], [], color=ink, linewidth=1.5),
                Line2D([], [], color=ink, linewidth=1.5, linestyle=(0, (4, 2)))]
    figure.legend(handles, [*styles, "with skips", "without"], loc="upper left", frameon=False,
                  bbox_to_anchor=((LEFTS[0] - 0.1) / SIZE[0], 1 - 0.12 / SIZE[1]),
                  ncols=len(handles), borderaxespad=0, handlelength=3)


# The command --------------------------------------------------------------------------------------

def parser():
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m minicredit.experiments.skips",
                                  description=__doc__.splitlines()[0])
    add = top.add_argument
    add("--rules", default="bp,fa,dtp", metavar="A,B", help="(%(default)s)")
    add("--set", action="append", default=[], metavar="RULE.OPTION=VALUE",
        help="a hyperparameter of one rule; may be repeated")
    add("--data", default="digits", metavar="NAME", help="digits or mnist (%(default)s)")
    add("--depth", type=int, default=16, metavar="L", help="layers, top included (%(default)s)")
    add("--width", type=int, default=64, metavar="N", help="(%(default)s)")
    add("--activation", default="tanh", metavar="F", help="(%(default)s)")
    add("--epochs", type=int, default=10, metavar="N", help="(%(default)s)")
    add("--batch", type=int, default=32, metavar="N", help="(%(default)s)")
    add("--decay", default="cosine", choices=DECAYS, help="(%(default)s)")
    add("--seed", type=int, default=0, metavar="N", help="(%(default)s)")
    add("--limit", type=int, metavar="N", help="use only the first N training images")
    add("--out", type=Path, default=Path("runs/skips"), metavar="DIR", help="(%(default)s)")
    add("--quiet", action="store_true", help="print only the table")
    return top


def configuration(args, command):
    """Everything that the numbers depend on, but the networks, whose ends the data decide."""
    if args.depth < 4 or min(args.width, args.epochs, args.batch) < 1:
        raise UserError("--depth, --width, --epochs, --batch: wanted numbers of at least 4, 1, 1 "
                        f"and 1; got {args.depth}, {args.width}, {args.epochs}, {args.batch}")
    return {"command": command, "data": args.data, "depth": args.depth, "width": args.width,
            "activation": args.activation, "init": "glorot", "epochs": args.epochs,
            "batch": args.batch, "decay": args.decay, "seeds": 1, "seed": args.seed,
            "limit": args.limit, "standardise": False, "backend": "numpy", "dtype": "float32",
            "rules": rules_and_options(args.rules, args.set)}


def networks(config, loaded):
    """The two networks, as they are written: {False: dense, True: residual}."""
    n, K, depth, width = loaded.train.x.shape[1], loaded.K, config["depth"], config["width"]
    return {False: f"{n}-{depth - 1}x{width}-{K}", True: f"{n}-{width}-{depth - 2}xres{width}-{K}"}


def work(args, command):
    """Train every rule on both networks; {"config", "versions", "runs"}."""
    config = configuration(args, command)
    loaded = images(config)
    config["nets"] = networks(config, loaded)
    rows = [(name, skips) for name in config["rules"] for skips in (False, True)]
    seconds = {skips: compare.expected({**config, "net": net}, loaded)
               for skips, net in config["nets"].items()}
    with screen({**config, "rules": [label(row) for row in rows]}, args.quiet) as shown:
        shown.expect({label(row): seconds[row[1]][row[0]] for row in rows})
        runs = [run(row, config, loaded, shown) for row in rows]
    return {"config": config, "versions": compare.versions(), "runs": runs}


def main(arguments=None):
    """Run the experiment and write its files; the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    args = parser().parse_args(arguments)
    try:
        results = work(args, shlex.join(["python", "-m", "minicredit.experiments.skips",
                                         *arguments]))
    except UserError as error:
        print(f"skips: {error}", file=sys.stderr)
        return 2
    args.out.mkdir(parents=True, exist_ok=True)
    put(args.out / "skips.json", json.dumps(plain(results), indent=1, allow_nan=False).encode())
    put(args.out / "skips.md", table(results).encode())
    put(args.out / "skips.png", draw(results))
    print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
