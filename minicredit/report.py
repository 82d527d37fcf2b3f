"""A comparison becomes three files: results.json, figure.png and report.html.

Each is complete or absent.  A run that failed stays in the tables and is in no average.  A number
that is not finite is null in the file, a dash on the page, and missing from every mean.
"""
import base64
import json
from html import escape
from pathlib import Path
from string import Template

from minicredit.figure import FAMILIES, draw
from minicredit.files import put
from minicredit.summary import finished, in_order, plain, summary

MIB = 2**20

READING = {
    "feedback": """<p><strong>Other feedback.</strong> Backprop sends errors down through the
transpose of each forward weight. These rules send them through other weights: random ones that
never change, ones that keep only the signs of the forward weights, or ones that are learned. Where
the feedback is fixed, a falling angle means that the <em>forward</em> weights have come to agree
with it.</p>""",
    "target": """<p><strong>Targets.</strong> Backprop tells a layer how to change; target
propagation tells it what it should have said. Learned inverses carry targets down, and the angle is
between the weight changes that target and gradient ask for. One far from 0° need not be bad: a
target may point elsewhere than the gradient and still be a good thing to have said.</p>""",
    "kickback": """<p><strong>Kickback</strong> multiplies one global error by each unit’s direct
influence on the layer above, on networks of signed rectifiers of its own, one for each class: look
at their sizes below before you compare its numbers with the rest.</p>""",
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
            f"<tr><th scope='row'>{escape(rule)}</th>"
            f"<td>{pairs({**values, **sizes(rule, results['runs'])})}</td></tr>"
            for rule, values in config.get("rules", {}).items()),
        versions=table_of(results["versions"]),
        command=escape(str(config.get("command", ""))),
    )


def sizes(rule, runs):
    """{"sizes": "64-32-10"}: the layers that a rule's runs had; nothing where they do not say."""
    said = [run["sizes"] for run in runs if run["rule"] == rule and run.get("sizes")]
    return {"sizes": "-".join(map(str, said[0]))} if said else {}


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
    top5 = (f"<small>top-5 {number(row['test_error_top5'], 2)}</small>"
            if row["test_error_top5"] is not None else "")
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
        ("test error, %", f"<b>{number(row['test_error'], 2)}</b>{spread}{top5}"
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
