"""How much must a target say?  Bartunov et al. 2018, section 3: auxiliary outputs, autoencoders.

    python -m minicredit.experiments.entropy sweep --data digits --sizes 0,8,32,128,512 --out DIR
    python -m minicredit.experiments.entropy autoencoder --data mnist --limit 10000 --out DIR

Simplified difference target propagation hands ten labels down.  If it learns badly because ten
labels say too little, it must learn better where the target of the output says more:

    sweep           AO-SDTP with z of each size: the label, and n_aux fixed random features of which
                    example it was.  z = 0 is SDTP.  spread: the share of variance within a class,
                    in the last hidden layer, of what g_L says (template), of the target that
                    becomes of it, and of the activity
    autoencoder     the target of the output is the picture itself.  784-512-64-512-784, tanh,
                    linear top, squared loss, under

        bp      backprop
        dtp     first target h_hat[L-1] by a gradient step
        sdtp    first target h_hat[L] = x, what the loss likes best: no gradient, no step size

With a squared loss SDTP is DTP that begins at the output with a whole step, h[L] - (h[L] - x) = x,
and whose inverses give back the clean h[i-1].  So it is run that way: `minicredit.rules.SDTP` is
written for labels and refuses pictures.

Writes sweep.json, sweep.md and sweep.png, or the same of autoencoder.  Errors are those of the test
images at the epoch with the lowest validation error.
"""
import argparse
import io
import json
import shlex
import statistics
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from minicredit import compare, data
from minicredit.errors import UserError
from minicredit.figure import heading, look, pick_styles
from minicredit.keys import DATA
from minicredit.measure import diversity, target_diversity, template_diversity
from minicredit.network import forward
from minicredit.presets import DEFAULT_NET, make, sizes_of
from minicredit.report import put
from minicredit.rules import RULES
from minicredit.settings import hyperparameters
from minicredit.summary import plain
from minicredit.training import DECAYS, Diverged, batches, check, decayed, epochs

NETS = {"digits": "64-48-8-48-64", "mnist": "784-512-64-512-784"}
CODERS = {
    "bp": ("bp", {}),
    "dtp": ("dtp", {}),
    "sdtp": ("dtp", {"first_target": "output", "target_step": "1", "goal": "clean"}),
}
BESIDE = "bp", "dtp"            # trained beside the sweep, to compare with
ASKED = 1000                    # validation images on which spread is measured
SHOWN = 10                      # pictures to look at, one of each class


# Sweep: AO-SDTP with more and more auxiliary outputs ----------------------------------------------

def swept(name, n_aux, config, images, seed):
    """Train one rule; a dict of its errors, and of what its targets say in the last hidden layer.

    Raises
    ------
    Diverged
    """
    known = hyperparameters(name, {})
    given = {key: value for key, value in config["set"].items() if key in known}
    given |= {} if n_aux is None else {"n_aux": str(n_aux)}
    config = {**config, "rules": {name: hyperparameters(name, given)}}
    rule = compare.build(name, config, images.K, seed)
    seen = list(epochs(rule, images, config["epochs"], config["batch"], config["decay"], seed))
    best = min(seen, key=lambda epoch: epoch["validation_error"])
    record = {"rule": name, "n_aux": n_aux, "seed": seed, "best_epoch": best["epoch"],
              "test_error": best["test_error"], "validation_error": best["validation_error"],
              "train_error": best["train_error"]}
    if n_aux is not None:
        x, y = (rule.net.ops.asarray(array[:ASKED]) for array in images.validation)
        h, i = forward(rule.net, x), rule.net.L - 1
        told = {"template": template_diversity(rule, x, y)[i],
                "target": target_diversity(rule, x, y)[i],
                "activity": diversity(rule.net.ops.to_numpy(h[i]), y)}
        record |= {f"{what} {key}": getattr(one, key) for what, one in told.items()
                   for key in ("spread", "effective_rank")}
    return record


def sweep(config, images, told):
    """Every size of z, and backprop and DTP beside them, for every seed; list of dict."""
    runs = []
    for seed in range(config["seeds"]):
        for name, n_aux in [*((name, None) for name in BESIDE),
                            *(("ao-sdtp", n) for n in config["sizes"])]:
            try:
                record = swept(name, n_aux, config, images, seed)
                said = f"{record['test_error']:.2f} %"
            except Diverged as diverged:
                record = {"rule": name, "n_aux": n_aux, "seed": seed, "failed": str(diverged)}
                said = record["failed"]
            runs.append(record)
            told(f"{name}{'' if n_aux is None else f', z = {n_aux}'}, seed {seed}: {said}")
    return runs


def rows_of(runs):
    """[(rule, n_aux, its finished runs)], as they came."""
    keys = dict.fromkeys((run["rule"], run["n_aux"]) for run in runs)
    return [(*key, [run for run in runs if (run["rule"], run["n_aux"]) == key
                    and "failed" not in run]) for key in keys]


def spread(values, form="{:.2f}"):
    """The mean, and the standard deviation where there is more than one; text, a dash of none."""
    if not values:
        return "–"
    mean = form.format(statistics.fmean(values))
    return mean if len(values) == 1 else f"{mean} ± {form.format(statistics.stdev(values))}"


def sweep_table(results):
    """The Markdown table of a sweep."""
    measures = [f"{what} {key}" for what in ("template", "target", "activity")
                for key in ("spread", "effective_rank")]
    head = ["rule", "z", "test error %", "training error %", "seeds",
            *(name.replace("effective_", "") for name in measures)]
    lines = [head, ["---"] * len(head)]
    for rule, n_aux, runs in rows_of(results["runs"]):
        row = [rule, "" if n_aux is None else str(n_aux)]
        row += [spread([run[key] for run in runs]) for key in ("test_error", "train_error")]
        row.append(str(len(runs)))
        for name in measures:
            values = [run[name] for run in runs if name in run]
            form = ".3f" if name.endswith("spread") else ".1f"
            row.append(f"{statistics.fmean(values):{form}}" if values else "")
        lines.append(row)
    return [f"| {' | '.join(row)} |" for row in lines]


def draw_sweep(results):
    """Test error against the size of z, and what lies within a class; the bytes of a PNG."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    rows = [row for row in rows_of(results["runs"]) if row[2]]
    sizes = [(n, runs) for _, n, runs in rows if n is not None]
    place = range(len(sizes))
    styles = pick_styles((*BESIDE, "ao-sdtp"), dark=False)
    with rc_context(look(dark=False)):
        figure = Figure((10, 4.1), dpi=150)
        left, right = (figure.add_axes((x, 0.15, 0.37, 0.66)) for x in (0.05, 0.53))
        heading(left, "Test error of AO-SDTP", "percent; bars: standard deviation over the seeds")
        errors = [[run["test_error"] for run in runs] for _, runs in sizes]
        left.errorbar(place, [statistics.fmean(e) for e in errors],
                      [statistics.stdev(e) if len(e) > 1 else 0 for e in errors],
                      color=styles["ao-sdtp"][0], marker="o", capsize=3, clip_on=False)
        for rule, n, runs in rows:
            if n is None:
                mean = statistics.fmean(run["test_error"] for run in runs)
                left.axhline(mean, color=styles[rule][0], linewidth=1, linestyle="--")
                left.annotate(rule, (1, mean), xycoords=("axes fraction", "data"), va="center",
                              xytext=(4, 0), textcoords="offset points")
        left.set_ylim(0)
        heading(right, "What lies within a class", "share of variance, last hidden layer")
        for what, line in (("activity", ":"), ("target", "--"), ("template", "-")):
            means = [statistics.fmean(run[f"{what} spread"] for run in runs) for _, runs in sizes]
            right.plot(place, means, line, color=styles["ao-sdtp"][0], marker="o", markersize=4,
                       clip_on=False, label=what)
        right.legend(loc="lower right", frameon=False)
        right.set_ylim(0)
        for axes in (left, right):
            axes.set_xticks(list(place), [str(n) for n, _ in sizes])
            axes.set_xlabel("auxiliary outputs z (0: SDTP)")
        return png(figure)


# Autoencoder: the target says everything ----------------------------------------------------------

def wrong(net, x):
    """Mean over examples and pixels of the squared difference between answer and picture."""
    y = net.ops.to_numpy(forward(net, net.ops.asarray(x))[net.L])
    return float(((y - x).astype(np.float64)**2).mean())


def coded(name, config, images, seed, told):
    """Train one autoencoder; a dict of its errors, and its answers to the pictures `shown`.

    Raises
    ------
    Diverged
    """
    kind, given = CODERS[name]
    given = {**given, **config["rule_set"][name]}
    net = make(config["net"], config["activation"], dtype=config["dtype"], loss="squared",
               init=config["init"], seed=seed)
    rule = RULES[kind](net, seed=seed, **hyperparameters(kind, given))
    x, n, batch = images.train.x, images.train.n, config["batch"]
    done, total = 0, config["epochs"] * len(rule.passes) * -(-n // batch)
    best = {"validation": np.inf}
    for epoch in range(1, config["epochs"] + 1):
        for number, learn in enumerate(rule.passes):
            for rows in batches(n, batch, (seed, DATA, number, epoch)):
                for optimizer in rule.optimizers:
                    optimizer.scale = decayed(config["decay"], done / total)
                check(learn(x[rows], x[rows]), rule, epoch, done)
                done += 1
        validation = wrong(net, images.validation.x)
        told(f"{name}, seed {seed}, epoch {epoch}: {validation:.5f}")
        if validation < best["validation"]:
            best = {"validation": validation, "test": wrong(net, images.test.x), "epoch": epoch,
                    "train": wrong(net, x), "answers": forward(net, shown(images).x)[net.L]}
    return {"rule": name, "seed": seed, **best}


def shown(images):
    """The first test picture of each class."""
    rows = [int(np.flatnonzero(images.test.y == k)[0]) for k in range(min(images.K, SHOWN))]
    return data.Split(images.test.x[rows], images.test.y[rows])


def autoencoder(config, images, told):
    """Every rule for every seed; list of dict."""
    runs = []
    for seed in range(config["seeds"]):
        for name in CODERS:
            try:
                runs.append(coded(name, config, images, seed, told))
            except Diverged as diverged:
                told(str(diverged))
                runs.append({"rule": name, "seed": seed, "failed": str(diverged)})
    return runs


def autoencoder_table(results):
    """The Markdown table of the autoencoders."""
    head = ["rule", "test: squared error a pixel", "of the variance %", "training", "epoch chosen",
            "seeds"]
    lines, variance = [head, ["---"] * len(head)], results["config"]["variance"]
    for name in CODERS:
        runs = [run for run in results["runs"] if run["rule"] == name and "failed" not in run]
        lines.append([name, spread([run["test"] for run in runs], "{:.5f}"),
                      spread([100 * run["test"] / variance for run in runs], "{:.1f}"),
                      spread([run["train"] for run in runs], "{:.5f}"),
                      " ".join(str(run["epoch"]) for run in runs), str(len(runs))])
    return [f"| {' | '.join(row)} |" for row in lines]


def draw_autoencoder(results):
    """The pictures, and below them what each rule made of them, first seed; the bytes of a PNG."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    pictures = results["shown"]
    first = [run for run in results["runs"] if run["seed"] == 0 and "failed" not in run]
    rows = [("picture", pictures, ""), *((run["rule"], run["answers"], f"{run['test']:.4f}")
                                         for run in first)]
    side, columns = int(round(pictures.shape[1]**0.5)), len(pictures)
    with rc_context(look(dark=False)):
        figure = Figure((0.9 + 0.72 * columns, 0.45 + 0.72 * len(rows)), dpi=150)
        width, height = figure.get_size_inches()
        for down, (name, images, error) in enumerate(rows):
            bottom = (height - 0.35 - 0.72 * (down + 1)) / height
            figure.text(0.08 / width, bottom + 0.4 / height, name, weight="bold", va="center")
            figure.text(0.08 / width, bottom + 0.2 / height, error, va="center", fontsize=8)
            for column, image in enumerate(images):
                axes = figure.add_axes(((0.85 + 0.72 * column) / width, bottom, 0.68 / width,
                                        0.68 / height))
                axes.imshow(image.reshape(side, side), cmap="gray_r", vmin=0, vmax=1)
                axes.set_axis_off()
        figure.text(0.85 / width, 1 - 0.2 / height, "Test pictures, and what comes out of "
                    f"{results['config']['net']}; number: squared error a pixel", va="center")
        return png(figure)


def png(figure):
    """A figure as the bytes of a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    image = io.BytesIO()
    FigureCanvasAgg(figure).print_png(image)
    return image.getvalue()


# The command --------------------------------------------------------------------------------------

def parser():
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m minicredit.experiments.entropy",
                                  description=__doc__.splitlines()[0])
    add = top.add_argument
    add("what", choices=("sweep", "autoencoder"))
    add("--data", default="digits", metavar="NAME", help="digits or mnist (%(default)s)")
    add("--net", metavar="SIZES", help="(a default for each data set)")
    add("--sizes", default="0,8,32,128,512", metavar="N,N", help="of z, sweep (%(default)s)")
    add("--set", action="append", default=[], metavar="OPTION=VALUE", help="sweep: a "
        "hyperparameter of all rules that have it; autoencoder: RULE.OPTION=VALUE, of one")
    add("--epochs", type=int, default=20, metavar="N", help="(%(default)s)")
    add("--batch", type=int, default=32, metavar="N", help="(%(default)s)")
    add("--seeds", type=int, default=1, metavar="K", help="(%(default)s)")
    add("--decay", default="cosine", choices=DECAYS, help="(%(default)s)")
    add("--limit", type=int, metavar="N", help="use only the first N training images")
    add("--out", type=Path, metavar="DIR", help="(runs/entropy)", default=Path("runs/entropy"))
    add("--quiet", action="store_true", help="print only the table")
    return top


def configuration(args, command):
    """Everything that the numbers depend on.

    Raises
    ------
    UserError
    """
    if args.data not in NETS:
        raise UserError(f"--data: wanted one of {', '.join(NETS)}; got {args.data!r}")
    if min(args.epochs, args.batch, args.seeds, args.limit or 1) < 1:
        raise UserError("--epochs, --batch, --seeds, --limit: wanted numbers of at least 1")
    parts = args.sizes.split(",")
    if not all(part.strip().isdecimal() and int(part) <= 10**6 for part in parts):
        raise UserError(f"--sizes: wanted whole numbers like 0,8,32; got {args.sizes!r}")
    net = args.net or (DEFAULT_NET if args.what == "sweep" else NETS)[args.data]
    config = {"command": command, "data": args.data, "net": net, "activation": "tanh",
              "init": "glorot", "epochs": args.epochs, "batch": args.batch, "decay": args.decay,
              "seeds": args.seeds, "limit": args.limit, "backend": "numpy", "dtype": "float32"}
    if args.what == "sweep":
        return {**config, "sizes": [int(part) for part in parts],
                "set": options(args.set, set().union(*(hyperparameters(name, {}) for name in
                                                       (*BESIDE, "ao-sdtp"))))}
    known = {f"{name}.{key}" for name, (kind, _) in CODERS.items()
             for key in hyperparameters(kind, {})}
    given = options(args.set, known)
    return {**config, "rule_set": {name: {key.partition(".")[2]: value
                                          for key, value in given.items()
                                          if key.startswith(f"{name}.")} for name in CODERS}}


def options(texts, known):
    """{option: text} of texts like "eta=0.01".

    Raises
    ------
    UserError
        If one is not among the `known`.
    """
    given = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or key not in known:
            raise UserError(f"--set: wanted one of {', '.join(sorted(known))}, = and a value; "
                            f"got {text!r}")
        given[key] = value
    return given


def load(config, what):
    """The images, cut to `limit` for training, once the network is seen to fit them.

    Raises
    ------
    UserError
    """
    images = data.load(config["data"])
    if config["limit"]:
        images = replace(images, train=images.train.first(config["limit"]))
    sizes, n = sizes_of(config["net"]), images.train.x.shape[1]
    if what == "sweep":
        compare.check({**config, "rules": {}}, images)
    elif sizes[0] != n or sizes[-1] != n or len(sizes) < 3:
        raise UserError(f"--net: wanted {n} inputs, hidden layers and {n} outputs; "
                        f"got {config['net']}")
    return images


def main(arguments=None):
    """Run an experiment and write its files; the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    args = parser().parse_args(arguments)
    command = shlex.join(["python", "-m", "minicredit.experiments.entropy", *arguments])
    told = (lambda text: None) if args.quiet else lambda text: print(text, file=sys.stderr)
    try:
        config = configuration(args, command)
        images = load(config, args.what)
        config["variance"] = float(images.test.x.var(axis=0, dtype=np.float64).mean())
        with np.errstate(all="ignore"):             # Diverged says more
            run, table, draw = ((sweep, sweep_table, draw_sweep) if args.what == "sweep" else
                                (autoencoder, autoencoder_table, draw_autoencoder))
            results = {"config": config, "versions": compare.versions(),
                       "runs": run(config, images, told), "shown": shown(images).x}
    except UserError as error:
        print(f"entropy: {error}", file=sys.stderr)
        return 2
    text = "\n".join([f"    {command}", "", *table(results)]) + "\n"
    args.out.mkdir(parents=True, exist_ok=True)
    put(args.out / f"{args.what}.md", text.encode())
    put(args.out / f"{args.what}.png", draw(results))
    for part in (results, *results["runs"]):
        part.pop("shown", None), part.pop("answers", None)          # they are in the figure
    put(args.out / f"{args.what}.json", json.dumps(plain(results), indent=1).encode())
    print("\n".join(table(results)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
