"""What a comparison leaves behind: results.json, figure.png and report.html."""
import io
import json
import math
import os
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread

from minicredit import figure, report, summary

#        final error %, learning time in epochs, angle of the lowest and the highest hidden layer
SHAPES = {"bp": (1.9, 2.0, 0, 0), "fa": (2.6, 4.0, 52, 24), "dfa": (2.4, 3.5, 58, 30),
          "dtp": (2.2, 3.0, 71, 38), "tp": (7.5, 6.0, 93, 80), "sdtp": (3.1, 5.0, 84, 61),
          "ao-sdtp": (2.8, 4.5, 80, 55), "kickback": (4.2, 2.5, 18, 4), "usf": (2.0, 2.2, 35, 14),
          "frsf": (2.1, 2.4, 44, 20), "brsf": (2.3, 2.6, 49, 23),
          "weight-mirror": (2.05, 2.6, 17, 8), "kolen-pollack": (1.95, 2.4, 9, 4)}
ABOUT = {
    "bp": {"title": "Backpropagation", "paper": "Rumelhart, Hinton & Williams 1986",
           "idea": "Send the error down through the transpose of every weight."},
    "fa": {"title": "Feedback alignment", "paper": "Lillicrap et al. 2016",
           "idea": "Send the error down through fixed random weights."},
    "dfa": {"title": "Direct feedback alignment", "paper": "Nøkland 2016",
            "idea": "Send the output error straight to every layer."},
    "dtp": {"title": "Difference target propagation", "paper": "Lee et al. 2015",
            "idea": "Tell every layer what it should have said, through learned inverses."},
}


def sample(rules=("bp", "fa", "dfa", "dtp"), seeds=3, L=4, epochs=30):
    """Results that look like those of a real comparison."""
    runs = [sample_run(rule, seed, L, epochs) for rule in rules for seed in range(seeds)]
    hyperparameters = {"optimizer": "adam", "eta": 0.001, "beta1": 0.9, "beta2": 0.999,
                       "epsilon": 1e-08, "eta_inverse": 0.002, "sigma": 0.1, "target_step": 0.3}
    return {
        "config": {"command": "minicredit compare --data digits --rules " + ",".join(rules),
                   "data": "digits", "net": "-".join(["64"] * L + ["10"]), "activation": "tanh",
                   "epochs": epochs, "batch": 32, "seeds": seeds, "backend": "numpy",
                   "dtype": "float32", "rules": {rule: hyperparameters for rule in rules}},
        "versions": {"minicredit": "0.1.0", "python": "3.11.7", "numpy": "2.4.6",
                     "platform": "Linux-6.1-x86_64"},
        "runs": runs,
    }


def sample_run(rule, seed, L, epochs):
    """One run: errors fall like exp(-t), angles from 90 degrees to the rule's own."""
    final, time, low_layer, high_layer = SHAPES.get(rule, SHAPES["fa"])
    rng = np.random.default_rng((seed, *rule.encode()))
    L = L - 1 if rule == "kickback" else L
    own = [*np.linspace(low_layer, high_layer, L - 1), 0.0]
    rows = []
    for epoch in range(1, epochs + 1):
        left = math.exp(-epoch / time)
        validation = final * 1.1 + 60 * left + rng.normal(0, 0.12)
        noisy = [a + (90 - a) * left * (a > 0) + rng.normal(0, 1.5) * (a > 0) for a in own]
        rows.append({"epoch": epoch, "train_loss": 2.3 * left + 0.02 * final,
                     "train_error": max(0.0, 60 * left + final - 1.8),
                     "validation_error": validation,
                     "test_error": final + 60 * left + rng.normal(0, 0.1), "seconds": 0.4 * time,
                     "angle_to_backprop": noisy})
    best = min(rows, key=lambda row: row["validation_error"])
    return {"rule": rule, "seed": seed, "epochs": rows, "best_epoch": best["epoch"],
            "test_error": best["test_error"], "train_error": best["train_error"],
            "seconds": 0.4 * time * epochs, "peak_memory_bytes": 180_000_000 + 10_000_000 * seed}


class Page(HTMLParser):
    """The tags, attributes and visible text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.words = [], [], []
        self.feed(text)
        self.text = "".join(self.words)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data):
        if self.tags[-1:] not in (["style"], ["script"]):
            self.words.append(data)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder with the three files of a comparison of four rules."""
    folder = tmp_path_factory.mktemp("report") / "made" / "on the way"
    report.write(sample(epochs=12), folder, ABOUT)
    return folder


@pytest.fixture
def undrawn(monkeypatch):
    """A figure that takes no time, for tests of the page and of the files alone."""
    monkeypatch.setattr(report, "draw", lambda *_, **__: b"a picture")


def row_of(rule, results):
    return next(row for row in summary.summary(results) if row["rule"] == rule)


def strict(path):
    """The content of a JSON file; NaN and Infinity, which JSON does not have, are errors."""
    def refuse(word):
        raise ValueError(f"{word} is not JSON")
    return json.loads(path.read_text("utf-8"), parse_constant=refuse)


# ---- the page


def test_the_page_loads_nothing_from_outside(written):
    text = (written / "report.html").read_text("utf-8")
    page = Page(text)
    loads = [value for _, name, value in page.attributes
             if name in ("src", "srcset", "href", "data", "poster", "action", "background")]
    assert len(loads) >= 5 and all(value.startswith("data:") for value in loads)
    assert "url(" not in text and "@import" not in text and "fetch(" not in text
    assert ("meta", "http-equiv", "Content-Security-Policy") in page.attributes
    assert any("default-src 'none'" in value for _, _, value in page.attributes)


def test_the_page_holds_the_figure_and_says_what_it_shows(written):
    attributes = Page((written / "report.html").read_text("utf-8")).attributes
    images = [value for tag, name, value in attributes if (tag, name) == ("img", "src")]
    alts = [value for tag, name, value in attributes if (tag, name) == ("img", "alt")]
    drawn = report.base64.b64encode((written / "figure.png").read_bytes()).decode()
    assert images == ["data:image/png;base64," + drawn]
    assert "fa" in alts[0] and "test error" in alts[0]


def test_the_page_names_every_rule_with_its_numbers(written):
    results = strict(written / "results.json")
    text = Page((written / "report.html").read_text("utf-8")).text
    for row in summary.summary(results):
        known = ABOUT[row["rule"]]
        angles = " ".join(f"{angle:.0f}" for angle in row["angle_to_backprop"])
        assert all(known[key] in text for key in ("title", "paper", "idea"))
        assert f"{row['test_error']:.2f} ± {row['test_error_sd']:.2f}" in text
        assert f"{row['train_error']:.2f}" in text and angles in text
    assert results["config"]["command"] in text and "eta_inverse 0.002" in text
    assert "the test set was never used" in text and "Linux-6.1-x86_64" in text


def test_foreign_words_are_shown_and_never_obeyed(tmp_path):
    evil = "<img src=x onerror=alert(1)>'\" onload=x $style ${rows} &amp; </script> </pre>"
    results = sample(("bp", evil), seeds=2, epochs=3)
    results["config"].update({"data": evil, "command": evil, "net": evil, evil: evil})
    results["config"]["rules"][evil] = {evil: evil}
    results["versions"][evil] = evil
    results["runs"][-1] = {"rule": evil, "seed": 1, "failed": evil}
    about = {evil: {"title": evil + "!", "paper": evil, "idea": evil}, "bp": {"title": evil}}

    report.write(results, tmp_path, about)
    page = Page((tmp_path / "report.html").read_text("utf-8"))

    assert [page.tags.count(tag) for tag in ("img", "script", "style", "pre")] == [1, 1, 1, 1]
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert page.text.count(evil) >= 12


# ---- the numbers


def test_a_number_that_is_not_finite_is_null_and_the_file_is_strict_json(tmp_path, undrawn):
    results = sample(("bp",), seeds=1, epochs=2)
    results["config"]["rules"] = {"bp": {"eta": math.inf}}
    results["runs"][0]["epochs"][0]["train_loss"] = math.nan
    results["runs"][0]["epochs"][0]["angle_to_backprop"] = np.array([1.5, np.nan, -np.inf])
    report.write(results, tmp_path)
    read = strict(tmp_path / "results.json")
    assert read["runs"][0]["epochs"][0]["train_loss"] is None
    assert read["runs"][0]["epochs"][0]["angle_to_backprop"] == [1.5, None, None]
    assert read["config"]["rules"]["bp"]["eta"] is None


def test_finite_numbers_are_kept_to_the_last_bit(tmp_path, undrawn):
    results = sample(("bp", "dtp"), seeds=2, epochs=3)
    report.write(results, tmp_path)
    assert strict(tmp_path / "results.json") == results


def test_runs_are_written_rule_by_rule_and_seed_by_seed(tmp_path, undrawn):
    results = sample(("dtp", "bp"), seeds=3, epochs=1)
    results["runs"] = [results["runs"][n] for n in (4, 2, 0, 5, 1, 3)]
    report.write(results, tmp_path)
    order = [(run["rule"], run["seed"]) for run in strict(tmp_path / "results.json")["runs"]]
    assert order == [(rule, seed) for rule in ("dtp", "bp") for seed in (0, 1, 2)]


def test_the_summary_is_the_mean_and_sample_deviation_over_seeds():
    results = sample(("bp",), seeds=3, epochs=4)
    for run, test, epoch in zip(results["runs"], (1.0, 2.0, 6.0), (4, 1, 3)):
        run.update({"test_error": test, "train_error": test / 2, "seconds": 10 * test,
                    "best_epoch": epoch, "peak_memory_bytes": int(test)})
    row = row_of("bp", results)
    assert row["seeds"] == 3 and row["failed"] == 0
    assert row["test_error"] == 3 and row["test_error_sd"] == pytest.approx(math.sqrt(7))
    assert row["train_error"] == 1.5 and row["seconds"] == 30 and row["peak_memory_bytes"] == 6
    assert row["best_epoch"] == 3 and row["best_epochs"] == [1, 3, 4]


def test_the_epoch_of_the_summary_is_one_that_was_chosen():
    results = sample(("bp",), seeds=2, epochs=4)
    results["runs"][0]["best_epoch"], results["runs"][1]["best_epoch"] = 4, 1
    assert row_of("bp", results)["best_epoch"] in (1, 4)


def test_one_seed_has_no_deviation(tmp_path, undrawn):
    results = sample(("bp",), seeds=1, epochs=2)
    assert row_of("bp", results)["test_error_sd"] is None
    report.write(results, tmp_path)
    cells = Page((tmp_path / "report.html").read_text("utf-8")).text.split("How to read")[0]
    assert "± 0" not in cells and "nan" not in cells and "n = 1" in cells


def test_the_lowest_test_error_comes_first_and_no_result_last():
    results = sample(("tp", "gone", "bp"), seeds=2, epochs=2)
    for run in results["runs"]:
        run["test_error"] = {"tp": 8.0, "bp": 0.0, "gone": math.nan}[run["rule"]]
    assert [row["rule"] for row in summary.summary(results)] == ["bp", "tp", "gone"]


def test_angles_are_those_of_each_seeds_chosen_epoch_without_the_undefined():
    results = sample(("bp",), seeds=3, epochs=2)
    for run, epoch, told in zip(results["runs"], (1, 2, 2), ([10, None], [30, None], [50, 80, 5])):
        for row in run["epochs"]:
            row["angle_to_backprop"] = told if row["epoch"] == epoch else [170, 170, 170, 170]
        run["best_epoch"] = epoch
    assert row_of("bp", results)["angle_to_backprop"] == [30, 80, 5]
    results["runs"] = results["runs"][:2]
    assert row_of("bp", results)["angle_to_backprop"] == [20, None]


def test_a_failed_run_is_shown_and_is_in_no_average(tmp_path):
    results = sample(("bp", "dtp"), seeds=3, epochs=3)
    alone = sample(("bp", "dtp"), seeds=2, epochs=3)
    results["runs"][2] = {"rule": "bp", "seed": 2, "failed": "loss became nan in epoch 2",
                          "test_error": 90.0, "epochs": results["runs"][2]["epochs"]}
    row = row_of("bp", results)
    assert row.pop("failed") == 1
    assert row == {k: v for k, v in row_of("bp", alone).items() if k != "failed"}
    report.write(results, tmp_path)
    assert "seed 2 failed: loss became nan" in Page((tmp_path / "report.html").read_text()).text


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("runs", [[], [{"rule": "tp", "seed": 0, "failed": "diverged"}]])
def test_a_comparison_without_a_result_is_still_drawn_and_told(runs, tmp_path):
    report.write({"config": {}, "versions": {}, "runs": runs}, tmp_path)
    assert blots(tmp_path / "figure.png") > 1000
    assert Page((tmp_path / "report.html").read_text()).text.count("diverged") == len(runs)


def test_a_mean_curve_is_over_the_seeds_still_going():
    def run(*errors):
        return {"epochs": [{"epoch": t, "validation_error": e} for t, e in enumerate(errors, 1)]}
    curve = summary.curve([run(8.0, 4.0, 3.0), run(6.0, None), run(7.0)])
    assert curve == [(1, 7.0, 6.0, 8.0), (2, 4.0, 4.0, 4.0), (3, 3.0, 3.0, 3.0)]


# ---- the figure


def blots(file):
    """How many pixels of a picture differ from its corner."""
    pixels = imread(file)[..., :3]
    return int((abs(pixels - pixels[0, 0]).max(axis=2) > 0.1).sum())


@pytest.mark.parametrize("look", [{}, {"dark": True}, {"narrow": True}])
def test_the_figure_shows_every_rule_in_its_colour_in_every_panel(look):
    rules = ["bp", "fa", "dtp", "kickback", r"$\x$"]        # the last is no formula, but a name
    pixels = imread(io.BytesIO(figure.draw(sample(rules, seeds=2, epochs=6), **look)))[..., :3]
    layout = figure.NARROW if look.get("narrow") else figure.WIDE
    dpi, (width, height) = layout["dpi"], layout["size"]
    assert pixels.shape[:2] == (height * dpi, width * dpi)
    for name in ("learning", "direction", "test"):
        left, bottom, w, h = layout[name]
        top = height - bottom - h
        panel = pixels[round(top * dpi):round((top + h) * dpi) - 3,         # without the axis
                       round(left * dpi) + 3:round((left + w) * dpi)]
        for colour, *_ in figure.pick_styles(rules, look.get("dark", False)).values():
            assert (abs(panel - to_rgb(colour)).max(axis=2) < 0.02).sum() > 20


def test_the_figure_file_is_a_picture_and_not_blank(written):
    assert (written / "figure.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert blots(written / "figure.png") > 10_000


def test_seeds_and_rules_of_unequal_length_and_depth_are_drawn():
    results = sample(("bp", "kickback"), seeds=3, epochs=6)
    del results["runs"][0]["epochs"][3:], results["runs"][4]["epochs"][1:]
    results["runs"][1]["epochs"][2]["angle_to_backprop"] = [None, 135.0]
    results["runs"][2]["epochs"][5].pop("angle_to_backprop")
    assert blots(io.BytesIO(figure.draw(results))) > 5000


def test_every_known_rule_has_its_own_colour_and_mark():
    styles = figure.pick_styles(list(figure.STYLES), dark=False)
    assert set(styles) == set(SHAPES)
    assert len({colour for colour, _, _ in styles.values()}) == len(styles)
    assert len({marker for _, _, marker in styles.values()}) == len(styles)


def test_names_keep_their_distance_and_move_no_further_than_they_must():
    assert figure.apart([0.1, 0.5, 0.9], 0.2) == pytest.approx([0.1, 0.5, 0.9])
    assert figure.apart([0.5, 0.5], 0.2) == pytest.approx([0.4, 0.6])
    crowded = figure.apart([0.0, 0.0, 0.01, 0.99], 0.1)
    assert crowded == pytest.approx([0.0, 0.1, 0.2, 0.99])


def test_a_name_is_tied_to_the_end_of_its_line():
    sheet = Figure()
    axes = sheet.add_subplot()
    axes.plot([1, 2], [40, 45])
    figure.label_ends(axes, {"fa": (2, 45)}, figure.pick_styles(["fa"], dark=False))
    sheet.draw_without_rendering()
    start = axes.transAxes.transform(axes.lines[1].get_xydata()[0])
    assert start == pytest.approx(axes.transData.transform((2, 45)))


def test_matplotlib_waits_until_a_figure_is_drawn():
    code = "import sys, minicredit.report; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# ---- the files


def test_nothing_is_left_under_a_temporary_name(written):
    names = sorted(path.name for path in written.iterdir())
    assert names == ["figure.png", "report.html", "results.json"]


@pytest.mark.parametrize("broken", ["replace", "fsync"])
@pytest.mark.parametrize("before", [None, b"the old numbers"])
def test_a_write_that_fails_leaves_what_was_there(broken, before, tmp_path, monkeypatch):
    file = tmp_path / "results.json"
    if before:
        file.write_bytes(before)

    def full(*_):
        raise OSError("no space left on device")
    monkeypatch.setattr(os, broken, full)
    with pytest.raises(OSError, match="no space"):
        report.put(file, b"the new numbers")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == ([before] if before else [])


def test_the_three_files_are_all_renamed_into_place(tmp_path, undrawn, monkeypatch):
    renamed = []
    replace = os.replace
    monkeypatch.setattr(os, "replace",
                        lambda a, b: (renamed.append((a.parent, b.name)), replace(a, b)))
    report.write(sample(("bp",), 1, epochs=1), tmp_path)
    assert renamed == [(tmp_path, name) for name in ("results.json", "figure.png", "report.html")]


def test_the_numbers_are_safe_before_a_figure_is_tried(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no fonts")
    monkeypatch.setattr(report, "draw", fail)
    with pytest.raises(RuntimeError, match="no fonts"):
        report.write(sample(("bp",), 1, epochs=1), tmp_path)
    assert strict(tmp_path / "results.json")["runs"][0]["rule"] == "bp"


def test_top_five_errors_stand_beside_the_others_where_there_are_any(tmp_path, undrawn, capsys):
    from minicredit.__main__ import print_summary
    from minicredit.screen import outcome
    results = sample(("bp", "fa"), seeds=2)
    assert summary.summary(results)[0]["test_error_top5"] is None
    for wanted, values in ((False, ()), (True, (11.5, 12.75, 10, 10))):
        for run, value in zip(results["runs"], values):
            run["test_error_top5"] = value
        report.write(results, tmp_path)
        text = Page((tmp_path / "report.html").read_text()).text
        print_summary(summary.summary(results))
        shown = capsys.readouterr().out
        assert ("top-5 12.12" in text) == ("12.12 %" in shown) == ("top-5 error" in shown) == wanted
        said = outcome({**results["runs"][0], "validation_error": 3.0})
        assert ("top-5 11.50 %" in said) == ("top-5" in said) == wanted
    saved = json.loads((tmp_path / "results.json").read_text())["runs"]
    assert [run.get("test_error_top5") for run in saved] == [11.5, 12.75, 10, 10]


def test_more_than_ten_classes_have_a_top_five_error(tmp_path):
    from minicredit import compare, memory, screen
    from minicredit.data import Dataset, Split
    x, y = np.random.default_rng(0).random((60, 8)), np.arange(60) % 12
    data = Dataset("some", (8,), 12, tuple("abcdefghijkl"), "", *3 * [Split(x, y)], tmp_path)
    config = {"net": "8-12", "activation": "tanh", "init": "glorot", "dtype": "float64",
              "backend": "numpy", "batch": 30, "epochs": 1, "seeds": 1, "decay": "constant",
              "rules": {"bp": {"eta": 0.1}}}
    needs = memory.needs(config, data)
    run, = compare.runs(config, data, screen.Quiet(config), needs)
    assert 0 < run["test_error_top5"] < run["test_error"]


def test_the_page_shows_the_layers_that_a_rule_really_had(tmp_path):
    results = sample(["bp", "kickback"], seeds=1, epochs=2)
    for each in results["runs"]:
        each["sizes"] = [64, 7, 7, 2] if each["rule"] == "kickback" else [64, 64, 10]
    report.write(results, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "64-7-7-2" in page and "64-64-10" in page
