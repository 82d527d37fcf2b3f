"""Ten labels, ten templates: why plain target propagation fails, and what z mends.

    python -m minicredit.experiments.templates --data mnist --net mnist-fc --epochs 3 --out FILE

Trains each rule below, then asks it about 1,000 validation images: how different, within a class,
is what the top inverse says (the template), and how different is the target that becomes of it?

    tp              target = template                       one target a class: spread 0, rank 0
    tp-gradient     target of the last hidden layer by a gradient step; templates below it
    sdtp            target = h + (template - what g_L says of h itself)
    ao-sdtp-n       the same, and the template sees n auxiliary outputs
    dtp             target by a gradient step; no template

spread is the share of variance that lies within classes, rank the effective number of directions
(`minicredit.measure.targets`).
"""
import argparse
from pathlib import Path

from minicredit import data
from minicredit.compare import build
from minicredit.errors import UserError
from minicredit.measure import (angle_to_backprop, diversity, evaluate, target_diversity,
                                template_diversity)
from minicredit.network import forward
from minicredit.presets import DEFAULT_NET
from minicredit.report import put
from minicredit.screen import degrees
from minicredit.settings import hyperparameters
from minicredit.training import epochs

ASKED = 1000
ROWS = {
    "tp": ("tp", {}),
    "tp-gradient": ("tp", {"first_target": "gradient"}),
    "sdtp": ("sdtp", {}),
    "ao-sdtp-32": ("ao-sdtp", {"n_aux": "32"}),
    "ao-sdtp-128": ("ao-sdtp", {"n_aux": "128"}),
    "ao-sdtp-512": ("ao-sdtp", {"n_aux": "512"}),
    "dtp": ("dtp", {}),
}
HEAD = ("| rule | test error % | template: spread | rank | target: spread | rank "
        "| activity: spread | rank | angle to backprop, layers 1.. |")


def row(name, config, images):
    """Train one rule and measure it; a line of the table."""
    rule_name, given = ROWS[name]
    settings = hyperparameters(rule_name, {"eta": "1e-3", **given})
    config = {**config, "rules": {rule_name: settings}}
    rule = build(rule_name, config, images.K, seed=0)
    for epoch in epochs(rule, images, config["epochs"], config["batch"], config["decay"], seed=0):
        print(f"{name:12} epoch {epoch['epoch']}: {epoch['validation_error']:.2f} %", flush=True)
    net, ops = rule.net, rule.net.ops
    x, y = (ops.asarray(array[:ASKED]) for array in images.validation)
    h, i = forward(net, x), net.L - 1
    told = (template_diversity(rule, x, y).get(i), target_diversity(rule, x, y)[i],
            diversity(ops.to_numpy(h[i]), y))
    numbers = " | ".join("- | -" if d is None else f"{d.spread:.3f} | {d.effective_rank:.1f}"
                         for d in told)
    error = evaluate(net, *images.test).error
    return f"| {name} | {error:.2f} | {numbers} | {degrees(angle_to_backprop(rule, x, y))} |"


def main():
    """Train, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="digits")
    parser.add_argument("--net")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    config = {"net": args.net or DEFAULT_NET.get(args.data), "activation": "tanh", "init": "glorot",
              "backend": "numpy", "dtype": "float32", "epochs": args.epochs, "batch": args.batch,
              "decay": "cosine"}
    for name in args.rows.split(","):
        if name not in ROWS:
            parser.error(f"--rows: wanted some of {', '.join(ROWS)}; got {name!r}")
    try:
        images = data.load(args.data)
    except UserError as error:
        parser.error(str(error))
    lines = [HEAD, "|---" * 9 + "|"] + [row(name, config, images) for name in args.rows.split(",")]
    print("\n".join(lines))
    if args.out:
        put(args.out, ("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main()
