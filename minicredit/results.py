"""results.json, read again: it may have been cut off, edited, or be something else.

    config      rules: {rule: {option: value}}, epochs, ...
    versions    {name: text}
    runs        rule, seed, epochs; failed, or what was measured at the chosen epoch

What is handed on has the parts and the types that `reproduce` counts on.
"""
import json
import os

from minicredit.errors import UserError

LARGEST = 2**27                 # bytes; an epoch has some 300
MEASURED = "test_error", "train_error", "best_epoch", "peak_memory_bytes"
OF_EPOCH = "epoch", "test_error", "validation_error", "seconds"


def read(path, whole=True):
    """The results in a file.

    Parameters
    ----------
    path : path
    whole : bool
        The runs are wanted too, and not the configuration alone.

    Raises
    ------
    UserError
        If it cannot be read, or is not what minicredit writes.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read(size) if size <= LARGEST else b""
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    if size > LARGEST:
        raise UserError(f"{path}: wanted at most {LARGEST} bytes, got {size}")
    return parsed(data, path, whole)


def parsed(data, path, whole=True):
    """The results in the bytes `data`, which were read from `path`; see `read`."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: wanted results, as minicredit writes them, got something else "
                        f"({' '.join(str(error).split())[:100]})") from None
    if not isinstance(found, dict) or not isinstance(found.get("config"), dict):
        raise UserError(f"{path}: wanted results with a config; the file is damaged")
    lacks = lacking(found) if whole else None
    if lacks:
        raise UserError(f"{path}: wanted results as minicredit writes them; {lacks}; the file is "
                        "damaged")
    return found


def lacking(found):
    """What is not as it should be, in words, or None."""
    rules = found["config"].get("rules")
    if not isinstance(rules, dict) or not rules:
        return "its config has no rules"
    if not number(found["config"].get("epochs")):
        return "its config has no epochs"
    if not isinstance(found.get("versions"), dict):
        return "it has no versions"
    runs = found.get("runs")
    if not isinstance(runs, list) or not runs or not all(isinstance(run, dict) for run in runs):
        return "it has no runs"
    return next((f"run {i} {wrong}" for i, run in enumerate(runs, 1) if (wrong := odd(run))), None)


def odd(run):
    """What is not as it should be in one run, in words, or None."""
    epochs = run.get("epochs")
    if not isinstance(run.get("rule"), str) or not isinstance(epochs, list):
        return "has no rule or no epochs"
    for epoch in epochs:
        if not isinstance(epoch, dict) or not all(number(epoch.get(key)) for key in OF_EPOCH):
            return f"has an epoch without {', '.join(OF_EPOCH)}"
        angles = epoch.get("angle_to_backprop", [])
        if not isinstance(angles, list) or not all(a is None or number(a) for a in angles):
            return "has an epoch with strange angles"
    if "failed" in run:
        return None
    if not epochs or not isinstance(epochs[-1].get("angle_to_backprop"), list):
        return "has no last epoch with angles"
    if not number(run.get("test_error_top5", 0.0)):
        return "has no test_error_top5"
    return None if all(number(run.get(key)) for key in MEASURED) else f"lacks {', '.join(MEASURED)}"


def number(value):
    """Whether a value is a number, and a finite one."""
    return isinstance(value, (int, float)) and abs(value) < float("inf")
