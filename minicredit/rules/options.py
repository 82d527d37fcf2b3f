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


def within(name, value, low, high=float("inf")):
    """An option that is a number from low to high, both allowed.

    Raises
    ------
    UserError
        If it is not, or not a number at all.
    """
    if not low <= value <= high:
        wanted = f"{low} or more" if high == float("inf") else f"a number from {low} to {high}"
        raise UserError(f"{name}: wanted {wanted}; got {value!r}")
