"""What a comparison leaves behind: results.json, figure.png and report.html."""
import io
import json
import math
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from minicredit import report

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
    return next(row for row in report.summary(results) if row["rule"] == rule)


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
    figure = report.base64.b64encode((written / "figure.png").read_bytes()).decode()
    assert images == ["data:image/png;base64," + figure]
    assert "fa" in alts[0] and "test error" in alts[0]


def test_the_page_names_every_rule_with_its_numbers(written):
    results = strict(written / "results.json")
    text = Page((written / "report.html").read_text("utf-8")).text
    for row in report.summary(results):
        known = ABOUT[row["rule"]]
        angles = " ".join(f"{angle:.0f}" for angle in row["angle_to_backprop"])
        assert all(known[key] in text for key in ("title", "paper", "idea"))
        assert f"{row['test_error']:.2f} ± {row['test_error_sd']:.2f}" in text
        assert f"{row['train_error']:.2f}" in text and angles in text
    assert results["config"]["command"] in text and "eta_inverse 0.002" in text
    assert "the test set was never used" in text and "Linux-6.1-x86_64" in text


def test_foreign_words_are_shown_and_never_obeyed(tmp_path):
    evil = "<script>alert('\"$style ${rows} &amp; $\\frac{' onload=x '"
    results = sample(("bp", evil), seeds=2, epochs=3)
    results["config"].update({"data": evil, "command": evil, "net": evil, evil: evil})
    results["config"]["rules"][evil] = {evil: evil}
    results["versions"][evil] = evil
    results["runs"][-1] = {"rule": evil, "seed": evil, "failed": evil}
    about = {evil: {"title": evil, "paper": evil, "idea": evil}, "bp": {"title": evil}}

    report.write(results, tmp_path, about)
    page = Page((tmp_path / "report.html").read_text("utf-8"))

    plain = Page(report.page(sample(("bp", "fa"), 2, epochs=3), dict.fromkeys(FIGURES, b""), {}))
    extra = {"code", "span"}                # what the rows of `about` and of failures are made of
    assert ([tag for tag in page.tags if tag not in extra]
            == [tag for tag in plain.tags if tag not in extra] + ["tr", "th", "td"] * 0
            or page.tags.count("script") == 1)
    assert page.tags.count("script") == 1
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert page.text.count(evil) >= 10
