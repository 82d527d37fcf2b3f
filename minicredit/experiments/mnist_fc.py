"""MNIST on 784-5x256-10 tanh, the network of Bartunov et al. 2018, by every rule.

    python -m minicredit.experiments.mnist_fc --out DIR [--rows bp,fa] [--epochs 30] [--seeds 1]

Trains each row that DIR does not hold yet, so it can be stopped and started again, and then writes
DIR/table.md from what is there.  Adam, batch 128, rates that fall along half a cosine, which the
paper's do not; the test error is that of the epoch with the lowest validation error, where the
paper has the best of 60 configurations and 500 epochs, chosen on the test set.
"""
import argparse
import json
from pathlib import Path

from minicredit.__main__ import main as minicredit

PARTIAL = "our option: a partial step towards the label"
ROWS = {        # name: rule, its options, published test error in percent (Bartunov et al.), remark
    "bp": ("bp", "--eta 5e-4", "1.48", ""),
    "fa": ("fa", "--eta 1e-3", "1.85", ""),
    "dfa": ("dfa", "--eta 1e-3", "2.75", ""),
    "usf": ("usf", "--eta 5e-4", "", ""),
    "frsf": ("frsf", "--eta 5e-4", "", ""),
    "brsf": ("brsf", "--eta 5e-4", "", ""),
    "weight-mirror": ("weight-mirror", "--eta 5e-4", "", ""),
    "kolen-pollack": ("kolen-pollack", "--eta 1e-3 --leak 3e-5", "", ""),
    "dtp-alternating": ("dtp", "--eta 1e-3 --target_step 0.232 --sigma 0.22", "1.83", ""),
    "dtp-parallel": ("dtp", "--eta 1e-3 --target_step 0.15 --sigma 0.36 --schedule parallel",
                     "2.86", ""),
    "sdtp": ("sdtp", "--eta 3e-4 --sigma 0.118", "2.28", "as published: label_step 1"),
    "sdtp-partial": ("sdtp", "--eta 1e-3 --label_step 0.03 --sigma 0.5", "", PARTIAL),
    "ao-sdtp": ("ao-sdtp", "--eta 3e-4 --sigma 0.2 --n_aux 512", "1.86",
                "as published: label_step 1"),
    "ao-sdtp-partial": ("ao-sdtp", "--eta 1e-3 --label_step 0.03 --sigma 0.5 --n_aux 128", "",
                        PARTIAL),
    "tp": ("tp", "--eta 1e-3 --sigma 0.118", "", "first target g_L(label)"),
    "tp-gradient": ("tp", "--eta 1e-3 --first_target gradient --target_step 0.232 --sigma 0.22",
                    "", "first target by a gradient step"),
}


def train(row, args):
    """Train one row into its folder; nothing, if it is there."""
    rule, options, _, _ = ROWS[row]
    folder = args.out / row
    if finished(folder / "results.json", args):
        return
    code = minicredit(["train", rule, "--data", "mnist", "--net", "mnist-fc", "--batch", "128",
                       "--decay", "cosine", "--epochs", str(args.epochs), "--seeds",
                       str(args.seeds), "--out", str(folder), *options.split()])
    if code:
        raise SystemExit(code)


def finished(path, args):
    """Whether the row is there, with as many epochs and seeds as are asked for."""
    if not path.exists():
        return False
    results = json.loads(path.read_text())
    return results["config"]["epochs"] == args.epochs and len(results["runs"]) == args.seeds


def line(row, out):
    """One line of the table."""
    rule, options, published, remark = ROWS[row]
    results = json.loads((out / row / "results.json").read_text())
    runs, epochs = results["runs"], results["config"]["epochs"]
    if any("failed" in run for run in runs):
        return f"| {row} | `{options}` | diverged | | | {published} | | {remark} |"
    test = sum(run["test_error"] for run in runs) / len(runs)
    angles = " ".join(f"{a:.0f}" for a in runs[0]["epochs"][-1]["angle_to_backprop"])
    return (f"| {row} | `{options}` | **{test:.2f}** | {epochs} "
            f"| {runs[0]['best_epoch']} | {published} | {angles} | {remark} |")


def main():
    """Train what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=1)
    args = parser.parse_args()
    for row in args.rows.split(","):
        if row not in ROWS:
            parser.error(f"--rows: wanted some of {', '.join(ROWS)}; got {row!r}")
        train(row, args)
    lines = ["| row | options | test error % | epochs | epoch chosen | published % "
             "| angle to backprop, layers 1 to 6, last epoch | remark |", "|---" * 8 + "|"]
    lines += [line(row, args.out) for row in ROWS if (args.out / row / "results.json").exists()]
    (args.out / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
