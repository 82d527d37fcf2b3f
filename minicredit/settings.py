"""The hyperparameters of a rule, read from its constructor and its docstring.

What the code calls an option, the command line calls it too, with the same default and the same
explanation, because both come from here.
"""
import re
import sys
from inspect import cleandoc, signature
from typing import NamedTuple

from minicredit.errors import UserError
from minicredit.rules import RULES

MOST = 10**9                    # of whatever is counted
NOT_OPTIONS = ("self", "net", "seed", "sizes", "f", "init", "backend", "dtype", "loss", "classes")


class Option(NamedTuple):
    """One hyperparameter: its name in the code, its default, and what the docstring says of it."""

    name: str
    default: object
    text: str


def options(rule):
    """The hyperparameters of a rule class; list of `Option`.

    First those of its constructor, then those of the network that it builds for itself, if it does.
    """
    return options_of(rule.__init__, rule.__mro__[-2::-1]) + network_options(rule)


def network_options(rule):
    """The options of the network that a rule builds for itself (`create` of its class)."""
    return options_of(rule.create, [rule.create]) if hasattr(rule, "create") else []


def options_of(function, documented):
    """The options that a function takes, explained by the docstrings of `documented`."""
    text = described(documented)
    return [Option(name, parameter.default, text.get(name, ""))
            for name, parameter in signature(function).parameters.items()
            if name not in NOT_OPTIONS]


def described(documented):
    """What docstrings say of each parameter, the later ones above the earlier; dict of str."""
    text = {}
    for one in documented:
        name = None
        for line in cleandoc(one.__doc__ or "").splitlines():
            heading = re.fullmatch(r"([\w, ]+) : (.*)", line)
            if heading:
                names = heading[1].split(", ")
                for name in names:
                    text[name] = heading[2] + "."
            elif line.startswith("    ") and name:
                for name in names:
                    text[name] += " " + line.strip()
            else:
                name = None
    return text


def parse(option, value):
    """The text of a value as the type of the option's default.

    Raises
    ------
    UserError
        If it is not one.
    """
    kind = type(option.default)
    if kind is bool:
        if value.lower() not in ("true", "false"):
            raise UserError(f"{option.name}: wanted true or false; got {value!r}")
        return value.lower() == "true"
    if kind is str:
        return value
    try:
        number = kind(value)
    except ValueError:
        number = -1
    if not 0 <= number <= {int: MOST, float: sys.float_info.max}[kind]:     # none of ours is ever
        wanted = {int: f"a whole number, 0 or more, at most {MOST:,}",      # negative
                  float: "a number, 0 or more"}[kind]
        raise UserError(f"{option.name}: wanted {wanted}; got {value!r}")
    return number


def hyperparameters(name, given):
    """Every hyperparameter of the rule `name`: its defaults, overridden by `given` (name -> text).

    Raises
    ------
    UserError
        If the rule has no such option, or the value does not fit.
    """
    known = {option.name: option for option in options(RULES[name])}
    for key in given:
        if key not in known:
            raise UserError(f"{name}: wanted one of its options, {', '.join(known)}; got {key!r}")
    return {key: parse(option, given[key]) if key in given else option.default
            for key, option in known.items()}
