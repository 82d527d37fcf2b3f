"""Equations as this project writes them in plain text, as MathML, which browsers draw themselves.

    delta[i-1] = (delta[i] W[i]^T) f'(a[i-1])                i = L .. 2

becomes a row of a table: what is on the left, what it is, for which i.  Brackets and underscores
after a letter are subscripts, what has a Greek name is that letter, and words stay words.
"""
import re
from html import escape

GREEK = {"alpha": "α", "beta": "β", "delta": "δ", "epsilon": "ε", "eta": "η", "lambda": "λ",
         "pi": "π", "sigma": "σ", "tau": "τ"}
FUNCTIONS = {"cos", "exp", "log", "max", "min", "onehot", "sigmoid", "sign", "softmax", "sqrt",
             "tanh", "sum", "clip", "rank"}
NAMED = {"target_step", "label_step", "n_aux", "decay_mirror", "leak", "scale", "explore", "eta",
         "momentum", "decay"}
SIGNS = {"<-": "←", "->": "→", "*": "·", "..": "…", "~": "∼", ">=": "≥", "<=": "≤", "!=": "≠",
         "-": "−", "'": "′"}
RELATIONS = "=", "<-", "~", "->"
TOKEN = re.compile(r"""\s+|<-|->|>=|<=|!=|\.\.|\d+(?:\.\d+)?(?:e-?\d+)?|\w+="[^"]*"|"[^"]*"|"""
                   r"[A-Za-z]{3,}'s\b|[A-Za-z]+\d*(?:_[A-Za-z0-9]+)*|.")
NOT_MATHS = re.compile(r"[`$#@\\{}%&?!]|--|>>>|==|\+=|\(\)|[\w)\]]\.\w|:$"
                       r"|^\s*(for|def|class|import)\b", re.M)


def looks_like_equations(text):
    """Whether a block of text is equations, half of it at least, and no code, command or table."""
    lines = [line for line in text.splitlines() if line.strip()]
    stated = [relation(cells(line)) is not None or "1/2 |" in line for line in lines]
    return not NOT_MATHS.search(text) and any(stated) and 2 * sum(stated) >= len(lines)


def mathml(text):
    """A block of equations as one MathML table."""
    lines = [line for line in text.splitlines() if line.strip()]
    rows = [row(line) for line in lines]
    used = [any(r[n] for r in rows) for n in range(4)]
    body = ""
    for r in rows:
        kinds = [("label", r[0]), ("left", r[1]), ("right", r[2]), ("where", r[3])]
        body += "<mtr>" + "".join(f'<mtd class="{kind}">{render(cell)}</mtd>'
                                  for (kind, cell), on in zip(kinds, used) if on) + "</mtr>"
    return (f'<math display="block" role="math" aria-label="{escape(" ; ".join(lines))}">'
            f'<mtable class="equations">{body}</mtable></math>')


def cells(line):
    """What two blanks or more keep apart."""
    return re.split(r"\s{2,}", re.sub(r"\s+([+-])\s+", r" \1 ", line.strip()))


def is_word(token):
    """Whether a token is a word of English, not a symbol."""
    name = token.split("_")[0]
    if token[-1:] == '"' or token.endswith("'s"):
        return True
    return (token.isalpha() and len(token) > 2 and name not in GREEK and token not in FUNCTIONS
            and token not in NAMED and not re.fullmatch(r"d(loss|[A-Za-z])", token)) \
        or token in ("as", "by", "in", "is", "no", "of", "on", "to", "tp", "or", "so", "we", "up",
                     "at", "if")


def is_text(cell):
    """Whether a cell is words alone."""
    return all(is_word(word.strip(",.:;()")) for word in cell.replace("-", " ").split())


def relation(parts):
    """(cell, place) of the relation that a line states; None if it states none."""
    for n, cell in enumerate(parts):
        if is_text(cell):
            continue
        depth = 0
        for found in TOKEN.finditer(cell):
            depth += (found[0] in "([") - (found[0] in ")]") if len(found[0]) == 1 else 0
            if found[0] in RELATIONS and not depth:
                return n, found.start()
        after = parts[n + 1].split(" ")[0] if n + 1 < len(parts) else ""
        return (n + 1, 0) if after in RELATIONS else None
    return None


def row(line):
    """(label, left, right, where) of a line, each perhaps empty."""
    parts = cells(line)
    found = relation(parts)
    label = []
    while parts and is_text(parts[0]) and len(parts) > 1:
        label.append(parts.pop(0))
    if found is None:
        return " ".join(label), "", parts[0], joined(parts[1:])
    n, place = found[0] - len(label), found[1]
    left = (parts[n - 1] if place == 0 and n else "") + parts[n][:place]
    return " ".join(label), left.strip(), parts[n][place:], joined(parts[n + 1:])


def joined(parts):
    """Conditions in a row, with commas between them."""
    return ", ".join(part.rstrip(", ") for part in parts)


def render(cell):
    """A cell as the inside of an mrow."""
    return "<mrow>" + "".join(sequence([t for t in TOKEN.findall(cell)])) + "</mrow>"


def closing(tokens, start):
    """Where the bracket that opens at `start` is closed."""
    depth = 0
    for n in range(start, len(tokens)):
        depth += (tokens[n] in "([") - (tokens[n] in ")]") if len(tokens[n]) == 1 else 0
        if not depth:
            return n
    return len(tokens) - 1


def sequence(tokens):
    """The tokens as MathML elements."""
    made, n = [], 0
    while n < len(tokens):
        token = tokens[n]
        if token.isspace():
            n += 1
        elif words := run_of_words(tokens, n):
            text = "".join(words).strip()
            before, after = ("&#160;" if made else ""), ("&#160;" if n + len(words) < len(tokens)
                                                         else "")
            made.append(f"<mtext>{before}{escape(text)}{after}</mtext>")
            n += len(words)
        elif token == "sqrt" and tokens[n + 1:n + 2] == ["("]:
            end = closing(tokens, n + 1)
            made.append("<msqrt>" + "".join(sequence(tokens[n + 2:end])) + "</msqrt>")
            n = end + 1
        elif slope := re.match(r"d[A-Za-z]+(?:_\w+)? '?/ (?=d[A-Za-z](_\w+)? )",
                               " ".join(tokens[n:n + 4]).replace("' /", "'/") + " "):
            above, after = atom(tokens, n, "d")
            below, n = atom(tokens, after + 1, "d")
            made.append(f"<mfrac><mrow>{above}</mrow><mrow>{below}</mrow></mfrac>")
        elif token == "1" and tokens[n + 1:n + 3] == ["/", "2"]:
            made.append("<mfrac><mn>1</mn><mn>2</mn></mfrac>")
            n += 3
        else:
            gap = '<mspace width="0.2em"/>'
            wide = token in FUNCTIONS - {"sum"} or token in NAMED - {"eta"}
            if wide and made and not made[-1].startswith("<mo"):
                made.append(gap)
            element, n = atom(tokens, n)
            made.append(element)
            rest = next((t for t in tokens[n:] if not t.isspace()), "")
            if wide and rest and (rest[0].isalnum() or rest in "([" and token in NAMED):
                made.append(gap)
    return made


def run_of_words(tokens, start):
    """The tokens from `start` that are a run of English, blanks and commas between them too."""
    n, end = start, start
    while n < len(tokens):
        token = tokens[n]
        follows = next((t for t in tokens[n + 1:] if not t.isspace()), "")
        spaced = n + 1 < len(tokens) and tokens[n + 1].isspace()
        if is_word(token) or token in ("a", "A", "sum") and spaced and is_word(follows):
            end = n + 1
        elif end == start or token not in ",:;-" and not token.isspace():
            break
        n += 1
    return tokens[start:end] if end > start else []


def atom(tokens, n, prefix=""):
    """One symbol with its subscript and superscript, and the place after it."""
    token, sub = tokens[n], []
    if prefix:
        token = token[1:]
    parts = token.split("_")
    if token in NAMED and token not in GREEK and token != "loss":
        base = f'<mtext class="name">{escape(token)}</mtext>'
        n += 1
    elif parts[0] and parts[0][0].isalpha():
        base, sub = symbol(parts)
        n += 1
        if sub and parts[0] == "sum":
            return f"<munder><mo>∑</mo><mi>{sub[0]}</mi></munder>", n
        while tokens[n:n + 1] == ["["] and parts[0] not in FUNCTIONS | {"E"}:
            end = closing(tokens, n)
            inside = "".join(sequence(tokens[n + 1:end]))
            sub.append(f"<mrow>{inside}</mrow>")
            n = end + 1
            if tokens[n:n + 1] == ["_"]:
                sub.append(letters(tokens[n + 1]))
                n += 2
            elif n < len(tokens) and re.fullmatch(r"_\w+", tokens[n]):
                sub.append(letters(tokens[n][1:]))
                n += 1
    elif token[0].isdigit():
        base, n = f"<mn>{token}</mn>", n + 1
    else:
        shown = escape(SIGNS.get(token, token))
        stretch = ' stretchy="false"' if token in "()[]|" else ""
        base, n = f"<mo{stretch}>{shown}</mo>", n + 1
    if tokens[n:n + 1] == ["'"]:
        base, n = f'<mrow>{base}<mo lspace="0" rspace="0">′</mo></mrow>', n + 1
    sup, n = superscript(tokens, n)
    sub = "<mo>,</mo>".join(sub)
    d = '<mi mathvariant="normal">d</mi>' if prefix else ""
    if sub and sup:
        return f"{d}<msubsup>{base}<mrow>{sub}</mrow><mrow>{sup}</mrow></msubsup>", n
    if sub or sup:
        kind = "msub" if sub else "msup"
        return f"{d}<{kind}>{base}<mrow>{sub or sup}</mrow></{kind}>", n
    return d + base, n


def symbol(parts):
    """A name without its brackets: what is drawn, and its subscripts."""
    name, sub = parts[0], [letters(part) for part in parts[1:] if part != "hat"]
    if numbered := re.fullmatch(r"([A-Za-z]+)(\d+)|([Wb])(z)", name):
        name, below = (group for group in numbered.groups() if group)
        sub = [letters(below), *sub]
    if name in GREEK:
        base = f"<mi>{GREEK[name]}</mi>"
    elif name == "sum":
        return "<mo>∑</mo>", parts[1:]
    elif name in FUNCTIONS or name == "loss":
        base = f'<mi mathvariant="normal">{name}</mi>'
    elif re.fullmatch(r"d[A-Za-z]", name):
        base = f"<mrow><mi mathvariant='normal'>d</mi><mi>{name[1]}</mi></mrow>"
    else:
        base = f"<mi>{escape(name)}</mi>"
    if "hat" in parts[1:]:
        base = f'<mover accent="true">{base}<mo stretchy="false">^</mo></mover>'
    return base, sub


def letters(text):
    """A subscript: letters that are indices, a number, or a word."""
    if text.isdigit():
        return f"<mn>{text}</mn>"
    if len(text) > 2:
        return f"<mtext>{escape(text)}</mtext>"
    return "".join(f"<mi>{letter}</mi>" for letter in text)


def superscript(tokens, n):
    """What stands after ^, if anything, and the place after it."""
    if tokens[n:n + 1] != ["^"]:
        return "", n
    if tokens[n + 1:n + 2] == ["-"]:
        return f"<mo>−</mo><mn>{tokens[n + 2]}</mn>", n + 3
    power = tokens[n + 1] if n + 1 < len(tokens) else ""
    kind = "mn" if power.isdigit() else 'mi mathvariant="normal"'
    return f"<{kind}>{power}</{kind[:2]}>", n + 2
