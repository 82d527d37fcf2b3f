"""Options that a person hands to a rule, checked where they enter."""
from minicredit.errors import UserError


def choose(name, value, known):
    """An option that is a word.

    Raises
    ------
    UserError
        If it is not one of those known.
    """
    if value not in known:
        raise UserError(f"{name}: wanted one of {', '.join(known)}; got {value!r}")


def within(name, value, low, high=float("inf"), whole=False):
    """An option that is a number from low to high, both allowed; a whole number, if asked.

    Raises
    ------
    UserError
        If it is not, or not a number at all.
    """
    if not low <= value <= high or whole and value != int(value):
        wanted = f"{low} or more" if high == float("inf") else f"a number from {low} to {high}"
        kind = "a whole number, " if whole else ""
        raise UserError(f"{name}: wanted {kind}{wanted}; got {value!r}")
