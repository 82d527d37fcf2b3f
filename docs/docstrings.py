"""Docstrings as reStructuredText: indented blocks are literal, and stars, bars and trailing
underscores mean themselves, because a docstring is written for whoever reads the file."""
import re

KEPT = re.compile(r"(``[^`]+``|`[^`]+`|(?<![\w*])\*\w[^*\n]*\*(?![\w*]))")


def escaped(line):
    """A line with what would be markup made plain, but for code and stress."""
    parts = KEPT.split(line.replace("\\", "\\\\"))
    plain = [re.sub(r"(\*|\||`|(?<=\w)_(?!\w))", r"\\\1", part) for part in parts[::2]]
    parts[::2] = plain
    return re.sub(r"^(\s*)([-+•] |\d+\. )", r"\1\\\2", "".join(parts))


def to_rst(lines):
    """The lines of a docstring, for napoleon to read.  Sections keep their layout."""
    heads = [n for n, line in enumerate(lines[1:]) if re.fullmatch(r"-{3,}", line.strip())]
    first = heads[0] if heads else len(lines)
    made, literal = [], False
    for n, line in enumerate(lines[:first]):
        indented, blank = line.startswith("    "), not line.strip()
        if indented and not literal and (n == 0 or not lines[n - 1].strip()):
            made += ["::", ""]
            literal = True
        elif not indented and not blank:
            literal = False
        made.append(line if literal else escaped(line.strip()))
    return made + [section(line, n + first in heads) for n, line in enumerate(lines[first:])]


def section(line, head):
    """A line of a section: a description is escaped; a name with its type stays for napoleon."""
    underline = re.fullmatch(r"\s*-{3,}", line)
    return line if head or underline or re.match(r"\S+.* : ", line) else escaped(line)
