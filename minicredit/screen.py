"""What a person sees while rules are trained: a table that fills, with the time that is left.

Three screens take the same calls: `Live` redraws a table in a terminal, `Lines` prints a line for
each run where there is no terminal, and `Quiet` says nothing.  They are drawn from the training
loop itself, four times a second at most: no thread runs beside the arithmetic.
"""
from time import perf_counter

from rich.console import Console
from rich.live import Live as RichLive
from rich.table import Table

from minicredit.memory import size

COLUMNS = ("rule", "seed", "epoch", "training loss", "validation error", "angle to backprop",
           "memory expected", "seconds", "left")


class Quiet:
    """Says nothing, but keeps the time."""

    def __init__(self, config):
        self.config, self.expected, self.share, self.now = config, {}, 0.0, None
        self.spent, self.foreseen, self.waiting = 0.0, 0.0, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def foresee(self, needs):
        """How much memory each rule is expected to take; dict of `minicredit.memory.Need`."""

    def expect(self, seconds):
        """How long one run of each rule is expected to take; dict of seconds."""
        self.expected = seconds
        self.waiting = [(name, seed) for seed in range(self.config["seeds"]) for name in seconds]

    def begin(self, name, seed):
        """A run starts."""
        self.now, self.share, self.start = (name, seed), 0.0, perf_counter()
        self.waiting.remove(self.now)

    def tell(self, share):
        """A step is done; `share` of the run's steps are."""
        self.share = share

    def epoch(self, epoch):
        """An epoch is done; the dict that `training.epochs` yields."""

    def end(self, record):
        """A run is over; the dict that goes into results.json."""
        self.spent += perf_counter() - self.start
        self.foreseen += self.expected[self.now[0]]
        self.now = None

    def left_of_run(self):
        """Seconds left of the run that is under way."""
        if self.share < 0.02:
            return self.expected[self.now[0]]
        return (perf_counter() - self.start) * (1 - self.share) / self.share

    def left(self):
        """Seconds left of all runs; past runs correct what was expected of those to come."""
        correction = self.spent / self.foreseen if self.foreseen else 1.0
        coming = correction * sum(self.expected[name] for name, _ in self.waiting)
        return coming + (self.left_of_run() if self.now else 0.0)


class Lines(Quiet):
    """One line a run, for logs and pipes."""

    def __init__(self, config):
        super().__init__(config)
        self.console = Console(highlight=False, soft_wrap=True)

    def foresee(self, needs):
        """See `Quiet`."""
        most = "at most " if self.config["backend"] != "numpy" else ""
        for name, need in needs.items():
            self.console.print(f"{name:>14}  memory expected: {most}{size(need.steps)} to learn, "
                               f"{size(need.run)} with its instruments")

    def expect(self, seconds):
        """See `Quiet`."""
        super().expect(seconds)
        self.console.print(f"{len(self.waiting)} runs, about {clock(self.left())}")

    def end(self, record):
        """See `Quiet`."""
        super().end(record)
        self.console.print(f"{record['rule']:>14}  seed {record['seed']}  {outcome(record)}  "
                           f"left {clock(self.left())}")


class Live(Quiet):
    """A table, one row a rule, redrawn in place."""

    def __init__(self, config):
        super().__init__(config)
        self.rows = {name: dict.fromkeys(COLUMNS, "") for name in config["rules"]}
        self.live = RichLive(auto_refresh=False, console=Console(highlight=False))
        self.drawn = 0.0

    def __enter__(self):
        self.live.__enter__()
        return self

    def __exit__(self, *problem):
        self.draw()
        self.live.__exit__(*problem)

    def draw(self):
        """Redraw now."""
        table = Table(caption=f"left: {clock(self.left())}", caption_justify="left")
        for column in COLUMNS:
            table.add_column(column, justify="left" if column == "rule" else "right")
        for name, row in self.rows.items():
            row = {**row, "rule": name}
            if self.now and self.now[0] == name:
                row["left"] = clock(self.left_of_run())
            table.add_row(*(row[column] for column in COLUMNS),
                          style="bold" if self.now and self.now[0] == name else "")
        self.live.update(table, refresh=True)
        self.drawn = perf_counter()

    def foresee(self, needs):
        """See `Quiet`."""
        for name, need in needs.items():
            self.rows[name]["memory expected"] = size(need.steps)
        self.draw()

    def expect(self, seconds):
        """See `Quiet`."""
        super().expect(seconds)
        for name, value in seconds.items():
            self.rows[name]["left"] = clock(value * self.config["seeds"])
        self.draw()

    def begin(self, name, seed):
        """See `Quiet`."""
        super().begin(name, seed)
        self.rows[name].update({"seed": f"{seed + 1}/{self.config['seeds']}", "epoch": "0"})
        self.draw()

    def tell(self, share):
        """See `Quiet`."""
        self.share = share
        if perf_counter() - self.drawn > 0.25:
            self.draw()

    def epoch(self, epoch):
        """See `Quiet`."""
        row = self.rows[self.now[0]]
        row.update({"epoch": f"{epoch['epoch']}/{self.config['epochs']}",
                    "training loss": f"{epoch['train_loss']:.4f}",
                    "validation error": f"{epoch['validation_error']:.2f} %",
                    "angle to backprop": degrees(epoch["angle_to_backprop"]),
                    "seconds": f"{perf_counter() - self.start:.1f}"})

    def end(self, record):
        """See `Quiet`."""
        name = record["rule"]
        super().end(record)
        self.rows[name]["left"] = clock(self.expected[name] * sum(n == name
                                                                  for n, _ in self.waiting))
        if "failed" in record:
            self.rows[name]["validation error"] = "diverged"
        self.draw()


def screen(config, quiet):
    """The screen that suits where the output goes."""
    if quiet:
        return Quiet(config)
    return Live(config) if Console().is_terminal else Lines(config)


def console():
    """Where tables are printed; wide enough where the output is not a terminal."""
    out = Console(highlight=False)
    return out if out.is_terminal else Console(highlight=False, width=140)


def clock(seconds):
    """65 -> "1:05"; 0 -> "done"."""
    if seconds <= 0:
        return "done"
    minutes, seconds = divmod(int(seconds + 0.999), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def degrees(angles):
    """Angles per layer, first layer first: "62 40 0"."""
    return " ".join("-" if a is None or a != a else f"{a:.0f}" for a in angles) + "°"


def outcome(record):
    """What became of a run, in words."""
    if "failed" in record:
        return f"diverged: {record['failed']}"
    last = record["epochs"][-1]
    top5 = f"top-5 {record['test_error_top5']:5.2f} %  " if "test_error_top5" in record else ""
    return (f"test error {record['test_error']:5.2f} % at epoch {record['best_epoch']:3}  {top5}"
            f"validation {record['validation_error']:5.2f} %  "
            f"angle {degrees(last['angle_to_backprop'])}  {record['seconds']:.1f} s")
