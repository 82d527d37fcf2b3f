"""Do units change sign, and how often?

    python -m minicredit.experiments.signs --rules bp,fa,dfa,dtp,kickback --data mnist --epochs 5

Kickback demands that no unit ever changes sign: what pushes the answer up must always push it up.
Whether units of a free network do change sign, and how often, is asked where Kickback is discussed
and answered nowhere.  So each rule trains its network, and two things are watched:

    weights   after every step: is the sign of w the one it had at the start?
    units     at the start, after ten steps and after every epoch: with which sign does unit j move
              class c, e_jc = dz_c/dh_j minus its mean over classes, on 1,000 test images?

Written into --out: signs.md (a table), signs.png, signs.json (everything).  The definitions are in
`minicredit.measure.signs` and `minicredit.measure.slopes`.
"""
import argparse
import io
import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path

from minicredit import compare, data
from minicredit.arguments import rules_and_options
from minicredit.errors import UserError
from minicredit.figure import look, pick_styles
from minicredit.measure import SignWatch, effect_signs, inputs_ever_on, majority_change
from minicredit.presets import DEFAULT_NET
from minicredit.report import put
from minicredit.screen import screen
from minicredit.summary import plain
from minicredit.training import DECAYS, Diverged, epochs

FIRST = 10                      # steps after which everything is looked at for the first time
IMAGES = 1000                   # test images on which units' effects are measured


class Observer:
    """Looks at one rule while it trains.  `tell` is called after every step, `epoch` after each.

    Of a rule's passes over the data the last is the one that moves the forward weights; only its
    steps are counted.

    Parameters
    ----------
    rule : any rule of `minicredit.rules`
    train, test : Split
    batch : int
    tell : function of the share of steps that is done, called in turn
    """

    def __init__(self, rule, train, test, batch, tell):
        self.rule, self.x, self.batch, self.tell_screen = rule, test.x[:IMAGES], batch, tell
        self.steps, self.passes, self.done = -(-len(train.y) // batch), len(rule.passes), 0
        self.watch = SignWatch(rule, mask=inputs_ever_on(train.x))
        self.seen, self.first, self.last = [], None, None
        self.look("start")

    def tell(self, share):
        """A step is done."""
        if self.done // self.steps % self.passes == self.passes - 1:
            self.watch.see()
            if self.watch.looks == FIRST:
                self.look(f"{FIRST} steps")
        self.done += 1
        self.tell_screen(share)

    def epoch(self, number):
        """An epoch is done."""
        self.look(f"epoch {number}")

    def look(self, when):
        """Write down the weights' signs so far, and the units' effects now."""
        now = effect_signs(self.rule.net, self.rule.net.ops.asarray(self.x), self.batch)
        self.first, self.last = self.first or now, self.last or now
        units = [{**found._asdict(), "moved": majority_change(first, found),
                  "moved_lately": majority_change(last, found)}
                 for first, last, found in zip(self.first, self.last, now)]
        for unit in units:
            del unit["majority"]                            # 2,560 signs: too many for a file
        self.seen.append({"when": when, "steps": self.watch.looks, "units": units,
                          "weights": [count._asdict() for count in self.watch.report()]})
        self.last = now


def run(name, config, loaded, shown):
    """Train one rule and watch it; a dict of its epochs and of what was `seen`."""
    record = {"rule": name, "seed": config["seed"], "epochs": []}
    shown.begin(name, 0)
    rule = compare.build(name, config, loaded.K, config["seed"])
    observer = Observer(rule, loaded.train, loaded.test, config["batch"], shown.tell)
    try:
        for epoch in epochs(rule, loaded, config["epochs"], config["batch"], config["decay"],
                            config["seed"], observer.tell):
            observer.epoch(epoch["epoch"])
            record["epochs"].append(epoch)
            shown.epoch(epoch)
    except Diverged as diverged:
        record["failed"] = str(diverged)
    if record["epochs"]:
        last = record["epochs"][-1]
        record.update(best_epoch=last["epoch"], test_error=last["test_error"],
                      validation_error=last["validation_error"],
                      seconds=sum(epoch["seconds"] for epoch in record["epochs"]))
    record["seen"], record["sizes"] = observer.seen, list(rule.net.sizes)
    shown.end(record)
    return record


# The table ----------------------------------------------------------------------------------------

COLUMNS = ("rule", "layer", "test error %", "changed: 10 steps", "1 epoch", "end", "began big",
           "began small", "ever", "flips a weight", "the most", "outer flips", "is 0",
           "units: both signs", "rarer sign", "majority moved", "in the last epoch")


def table(results):
    """The Markdown table, one row a rule and layer, and what its columns mean."""
    config = results["config"]
    rows = [COLUMNS, ("---",) * len(COLUMNS)]
    for record in results["runs"]:
        if record["epochs"]:
            rows += rows_of(record)
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    failed = [f"{record['rule']}: {record['failed']}" for record in results["runs"]
              if "failed" in record]
    return "\n".join(["# Do weights and units change sign?", "", f"    {config['command']}", "",
                      *lines, "", *failed, about(config)])


def rows_of(record):
    """The rows of one rule, a layer each."""
    seen = record["seen"]
    start, first, one, end = seen[0], seen[1], seen[2], seen[-1]
    for i, w in enumerate(end["weights"]):
        error = f"{record['test_error']:.2f}" if i == 0 else ""
        row = [record["rule"] if i == 0 else "", f"{i + 1}", error]
        row += [number(s["weights"][i]["changed"]) for s in (first, one, end)]
        row += [number(w[key]) for key in ("changed_big", "changed_small", "ever", "flips")]
        row += [str(w["most_flips"]), number(w["outer_flips"]), number(w["zero"])]
        if i < len(end["units"]):
            before, after = start["units"][i], end["units"][i]
            row += [f"{number(before[key])} to {number(after[key])}" for key in
                    ("both", "minority")]
            row += [number(after["moved"]), number(after["moved_lately"])]
        else:
            row += [""] * 4
        yield row


def number(x):
    """Three decimals at most: .123, 1.2, 12; 0 only where it is exactly 0."""
    if x == 0 or x != x:
        return "0" if x == 0 else "–"
    if x < 0.0005:
        return "<.001"
    return f"{x:.3f}".lstrip("0") if x < 1 else f"{x:.2g}" if x < 10 else f"{x:.0f}"


def about(config):
    """What the columns mean."""
    pixels = "standardised pixels" if config["standardise"] else "pixels in 0..1"
    return f"""
{config['data']}, {pixels}, {config['net']} {config['activation']}, {config['epochs']} epochs of
batches of {config['batch']}, decay {config['decay']}, seed {config['seed']}; Kickback has a
coherent network of its own, one a class, from the same sizes.
Weights: share whose sign is not the one at the start, after ten steps, one epoch and at the end;
at the end of those that began above and below the median size; share that ever flipped; flips a
weight, mean and most; outer flips, across a dead band of 0.1 standard deviations; share that is
exactly 0.  Weights of inputs that are 0 in every image are left out.
Units, hidden layers, {IMAGES} test images: share of (unit, class) pairs whose effect takes both
signs in one batch, share of images with the rarer sign, both from start to end; share of pairs
whose commoner sign at the end is not the one at the start, or before the last epoch.
"""


# The figure ---------------------------------------------------------------------------------------

ACROSS, PANEL, GAP = 3, (3.3, 2.1), (0.95, 1.15)            # panels in a row; inches
LEFT, RIGHT, TOP, BOTTOM = 0.7, 0.55, 1.0, 0.6


def draw(results):
    """The figure as the bytes of a PNG."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    runs = [record for record in results["runs"] if record["epochs"]]
    styles = pick_styles([record["rule"] for record in runs], dark=False)
    L = max(len(record["seen"][0]["weights"]) for record in runs)
    panels = [("weights", i, "changed") for i in range(L)]
    panels += [("units", i, "minority") for i in range(L - 2)]
    panels += [("units", i, "moved") for i in range(L - 1)]
    down = -(-len(panels) // ACROSS)
    width = LEFT + ACROSS * PANEL[0] + (ACROSS - 1) * GAP[0] + RIGHT
    height = TOP + down * PANEL[1] + (down - 1) * GAP[1] + BOTTOM
    with matplotlib.rc_context(look(dark=False)):
        figure = Figure((width, height), dpi=150)
        for place, what in enumerate(panels):
            row, column = divmod(place, ACROSS)
            left = LEFT + column * (PANEL[0] + GAP[0])
            bottom = height - TOP - (row + 1) * PANEL[1] - row * GAP[1]
            axes = figure.add_axes((left / width, bottom / height, PANEL[0] / width,
                                    PANEL[1] / height))
            draw_panel(axes, runs, what, styles)
        handles = figure.axes[0].get_lines()[:len(runs)]
        figure.legend(handles, [record["rule"] for record in runs], loc="upper left",
                      bbox_to_anchor=((LEFT - 0.1) / width, 1 - 0.08 / height), ncols=len(runs),
                      frameon=False, borderaxespad=0)
        image = io.BytesIO()
        FigureCanvasAgg(figure).print_png(image)
    return image.getvalue()


TITLES = {"changed": ("Layer {}: weights", "share whose sign is not the first one"),
          "minority": ("Hidden layer {}: from image to image", "share of images on which a unit's "
                       "effect\non a class has its rarer sign"),
          "moved": ("Hidden layer {}: over training", "share of (unit, class) effects whose "
                    "usual\nsign is not the first one")}


def draw_panel(axes, runs, what, styles):
    """One number against steps, a line a rule; the start stands where step 1 would."""
    from matplotlib.ticker import PercentFormatter

    kind, i, key = what
    for record in runs:
        colour, line, marker = styles[record["rule"]]
        seen = [s for s in record["seen"] if i < len(s[kind])]
        marked = [0, *(1 + 2**n for n in range(12) if 2**n < len(seen) - 2), len(seen) - 1]
        axes.plot([max(1, s["steps"]) for s in seen], [s[kind][i][key] for s in seen], line,
                  color=colour, marker=marker, markersize=4.5, linewidth=1.4, clip_on=False,
                  zorder=3, markevery=[1, *marked])
    title, explanation = TITLES[key]
    axes.set_title(title.format(i + 1), pad=34 if "\n" in explanation else 22)
    axes.annotate(explanation, (0, 1), (0, 7), xycoords="axes fraction",
                  textcoords="offset points", fontsize=8.5, va="bottom")
    axes.set_xscale("log")
    ends = [s["steps"] for s in runs[0]["seen"][2:]]
    ticks = {1: "start", FIRST: f"{FIRST} steps", ends[0]: "1", ends[-1]: f"{len(ends)} epochs"}
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.minorticks_off()
    axes.set_xlim(1, ends[-1])
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    largest = max(s[kind][j][key] for record in runs for s in record["seen"]
                  for j in range(len(s[kind])))
    axes.set_ylim(0, max(0.05, 1.05 * largest))             # the same in every layer


# The command --------------------------------------------------------------------------------------

def parser():
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m minicredit.experiments.signs",
                                  description="Do weights and units change sign, and how often?")
    add = top.add_argument
    add("--rules", default="bp,fa,dfa,dtp,kickback", metavar="A,B", help="(%(default)s)")
    add("--set", action="append", default=[], metavar="RULE.OPTION=VALUE",
        help="a hyperparameter of one rule; may be repeated")
    add("--data", default="mnist", metavar="NAME", help="(%(default)s)")
    add("--net", metavar="SIZES", help="(a default for each data set)")
    add("--activation", default="relu", metavar="F", help="of all but Kickback's (%(default)s)")
    add("--epochs", type=int, default=5, metavar="N", help="(%(default)s)")
    add("--batch", type=int, default=100, metavar="N", help="(%(default)s)")
    add("--decay", default="constant", choices=DECAYS, help="(%(default)s)")
    add("--seed", type=int, default=0, metavar="N", help="(%(default)s)")
    add("--limit", type=int, metavar="N", help="use only the first N training images")
    add("--standardise", action="store_true", help="pixels minus their mean, over their standard "
        "deviation, instead of in 0..1")
    add("--out", type=Path, default=Path("runs/signs"), metavar="DIR", help="(%(default)s)")
    add("--quiet", action="store_true", help="print only the table")
    return top


def configuration(args, command):
    """Everything that the numbers depend on."""
    if min(args.epochs, args.batch) < 1:
        raise UserError("--epochs, --batch: wanted numbers of at least 1")
    net = args.net or DEFAULT_NET.get(args.data)
    return {"command": command, "data": args.data, "net": net, "activation": args.activation,
            "init": "glorot", "epochs": args.epochs, "batch": args.batch, "decay": args.decay,
            "seeds": 1, "seed": args.seed, "limit": args.limit,
            "standardise": args.standardise, "backend": "numpy", "dtype": "float32",
            "rules": rules_and_options(args.rules, args.set)}


def main(arguments=None):
    """Run the experiment and write its files; the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    args = parser().parse_args(arguments)
    try:
        results = work(args, shlex.join(["python", "-m", "minicredit.experiments.signs",
                                         *arguments]))
    except UserError as error:
        print(f"signs: {error}", file=sys.stderr)
        return 2
    args.out.mkdir(parents=True, exist_ok=True)
    put(args.out / "signs.json", json.dumps(plain(results), indent=1).encode())
    put(args.out / "signs.md", table(results).encode())
    if any(record["epochs"] for record in results["runs"]):
        put(args.out / "signs.png", draw(results))
    print(table(results))
    return 0


def work(args, command):
    """Train and watch every rule; {"config", "versions", "runs"}."""
    config = configuration(args, command)
    loaded = images(config)
    compare.check(config, loaded)
    steps = -(-len(loaded.train.y) // config["batch"])
    if steps <= FIRST:
        raise UserError(f"--batch: wanted more than {FIRST} steps an epoch; got {steps}")
    with screen(config, args.quiet) as shown:
        shown.expect(compare.expected(config, loaded))
        runs = [run(name, config, loaded, shown) for name in config["rules"]]
    return {"config": config, "versions": compare.versions(), "runs": runs}


def images(config):
    """The data set, cut to `limit` training images, standardised if that is asked."""
    loaded = data.load(config["data"])
    x, y = (array[:config["limit"]] for array in loaded.train)
    splits = {"train": type(loaded.train)(x, y), "validation": loaded.validation,
              "test": loaded.test}
    if config["standardise"]:
        splits = {name: split._replace(x=(split.x - x.mean()) / x.std())
                  for name, split in splits.items()}
    return replace(loaded, **splits)


if __name__ == "__main__":
    sys.exit(main())
