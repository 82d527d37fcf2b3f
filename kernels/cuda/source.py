"""Reads a kernel's file: includes put in place, its kernels' parameters, the layout of its structs.

    flatten("losses")                                   what is compiled, on a GPU and on a CPU
    kernels(flatten("losses"))["softmax"]               its parameters
    signature("losses", "softmax", defines).pack(...)   arguments as bytes, for either device

Both devices take their arguments through here, so what the Python side gets wrong (a field that is
missing, float64 for float32, a view) is refused before a kernel can misread it.
"""
import re
import struct
from collections import namedtuple
from functools import lru_cache
from operator import index
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent
TYPES = {"float": "f4", "double": "f8", "int": "i4", "unsigned": "u4", "unsigned int": "u4",
         "long long": "i8", "unsigned long long": "u8", "size_t": "u8", "unsigned char": "u1",
         "bool": "?"}
CODES = {"f4": "f", "f8": "d", "i4": "i", "u4": "I", "i8": "q", "u8": "Q", "u1": "B", "?": "?"}
MOST = 16                               # problems in a Group, see group.cuh
BY_VALUE = 4096                         # bytes of parameters that a kernel may have

Parameter = namedtuple("Parameter", "type name pointer const")
Field = namedtuple("Field", "type name pointer const length")

INCLUDE = re.compile(r'^#include "([^"]+)".*$', re.M)
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
KERNEL = re.compile(r'extern\s+"C"\s+__global__\s+(?:__launch_bounds__\s*\(.*?\)\s*)?void\s+'
                    r'(?:__launch_bounds__\s*\(.*?\)\s*)?(\w+)\s*\(([^)]*)\)\s*\{', re.S)
GROUP = re.compile(r"Group\s*<\s*(\w+)\s*>")


# Text ---------------------------------------------------------------------------------------------

def located(file):
    """The path of a kernel's file: "losses" is losses.cu here; a path stays what it is."""
    return FOLDER / f"{file}.cu" if isinstance(file, str) and "." not in file else Path(file)


@lru_cache(maxsize=None)
def flatten(file):
    """The text of a kernel's file with every `#include "..."` put in place, each header once.

    Lines are numbered by #line as they are in their own files.  CuPy's cache is keyed by the text
    that it is given, so headers have to be in it.

    Parameters
    ----------
    file : str or Path
        See `located`.
    """
    path = located(file)
    return complete(path.read_text(), path.name, path.parent)


def complete(text, name, folder=FOLDER, seen=None):
    """The same for a text that lies in no file: `name` is what its lines are called."""
    seen = set() if seen is None else seen

    def put(match):
        after = text.count("\n", 0, match.start()) + 2
        header = folder / match[1]
        if header in seen:
            return ""
        seen.add(header)
        there = complete(header.read_text(), header.name, folder, seen)
        return f'#line 1 "{header.name}"\n{there}\n#line {after} "{name}"'

    return INCLUDE.sub(put, text).replace("#pragma once\n", "\n")


def without_comments(text):
    """The same text, line by line, with comments blanked."""
    return COMMENT.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)


def closing(text, start):
    """Where the brace that opens before `start` is closed."""
    depth = 1
    for match in re.compile(r"[{}]").finditer(text, start):
        depth += 1 if match[0] == "{" else -1
        if not depth:
            return match.start()
    raise ValueError("a brace is not closed")


@lru_cache(maxsize=None)
def kernels(text):
    """The parameters of every extern "C" kernel; dict of lists of `Parameter`."""
    return {name: [parameter(words) for words in params.split(",") if words.strip()]
            for name, params in KERNEL.findall(without_comments(text))}


def parameter(declared):
    """`const real* __restrict__ A` as a `Parameter`."""
    words = re.sub(r"__restrict__|__grid_constant__", " ", declared).replace("*", " * ").split()
    kept = [word for word in words if word not in ("const", "*")]
    return Parameter(" ".join(kept[:-1]), kept[-1], "*" in words, "const" in words)


def fields_of(text, name):
    """The fields of a plain struct, in order; None if there is none of that name.

    Member functions are skipped.
    """
    match = re.search(rf"(?<!\w)struct\s+{name}\s*\{{", text)
    return fields(text[match.end():closing(text, match.end())]) if match else None


def fields(body):
    """The declarations in a struct, in order."""
    found = []
    while "{" in body:                                          # member functions
        opened = body.index("{")
        begun = max(body.rfind(mark, 0, opened) for mark in ";}") + 1
        body = body[:begun] + ";" + body[closing(body, opened + 1) + 1:]
    for declaration in body.split(";"):
        if not declaration.strip() or "(" in declaration:
            continue
        first, *others = declaration.split(",")
        head, name = re.match(r"(.*?)(\w+(?:\s*\[[^\]]*\])?)\s*$", first, re.S).groups()
        one = parameter(head.replace("*", " ") + " x")
        for declared, name in [(head, name), *((other, other) for other in others)]:
            name, _, length = name.strip(" *\n").partition("[")
            found.append(Field(one.type, name.strip(), "*" in declared, one.const,
                               int(length.strip(" ]")) if length else 0))
    return found


# Layout -------------------------------------------------------------------------------------------

class Layouts:
    """How a file's structs lie in memory, as C lays them out, and how a Group of them is packed.

    Parameters
    ----------
    text : str
        The flattened file.
    real : {"float", "double"}
    """

    def __init__(self, text, real):
        self.text = without_comments(text)
        self.types = {**TYPES, "real": TYPES.get(real)}
        self.structs, self.made = {}, {}

    def fields(self, name):
        """The fields of a struct.

        Raises
        ------
        ValueError
            If the file has no such struct.
        """
        if name not in self.structs:
            self.structs[name] = fields_of(self.text, name)
        if self.structs[name] is None:
            raise ValueError(f"{name}: neither a plain type nor a struct of this file")
        return self.structs[name]

    def dtype(self, name):
        """The numpy dtype of a struct or of a plain type; pointers are uint64."""
        if name in self.types:
            return np.dtype(self.types[name])
        offset, align, names, formats, offsets = 0, 1, [], [], []
        for field in self.fields(name):
            kind = np.dtype("u8") if field.pointer else self.dtype(field.type)
            step = self.alignment(field)
            offset = -(-offset // step) * step
            names.append(field.name)
            formats.append((kind, (field.length,)) if field.length else kind)
            offsets.append(offset)
            offset, align = offset + kind.itemsize * (field.length or 1), max(align, step)
        return np.dtype({"names": names, "formats": formats, "offsets": offsets,
                         "itemsize": -(-offset // align) * align})

    def alignment(self, field):
        """Bytes that the address of a field is a multiple of."""
        if field.pointer:
            return 8
        if field.type in self.types:
            return np.dtype(self.types[field.type]).itemsize
        return max(map(self.alignment, self.fields(field.type)), default=1)

    def problem(self, name):
        """How one problem, a dict, becomes bytes; see `Problem`."""
        if name not in self.made:
            self.made[name] = Problem(self, name)
        return self.made[name]

    def pack(self, kernel, name, problems, blocks, address):
        """A Group of problems as bytes.

        Parameters
        ----------
        kernel : str
            Named by errors.
        name : str
            The struct.
        problems : list of dict, 16 at most
        blocks : list of int, of each problem
        address : callable
            Where an array lies in the device's memory.

        Returns
        -------
        bytearray
        pointers : list of (name, array, const)
            The arrays that the kernel is given.

        Raises
        ------
        ValueError, TypeError
            For whatever a kernel would misread.
        """
        if not 1 <= len(problems) <= MOST or len(blocks) != len(problems):
            raise ValueError(f"{kernel}: wanted 1 to {MOST} problems, each with its blocks; got "
                             f"{len(problems)} and {len(blocks)}")
        one, total, first = self.problem(name), 0, [0]
        for count in blocks:
            total += count
            first.append(total)
        fits(kernel, "blocks", total, "i4")
        out, pointers = bytearray(one.start + MOST * one.size), []
        struct.pack_into(f"i{len(first)}i", out, 0, len(problems), *first)
        for i, values in enumerate(problems):
            one.put(out, i, kernel, values, address, pointers)
        return out, pointers


class Problem:
    """How a dict becomes a struct.

    Attributes
    ----------
    size : int
        Bytes of the struct.
    start : int
        Where the first is in a Group.
    """

    def __init__(self, layouts, name):
        kind = layouts.dtype(name)
        self.layouts, self.name, self.size = layouts, name, kind.itemsize
        align = max(4, max(map(layouts.alignment, layouts.fields(name)), default=1))
        self.start = -(-(4 + 4 * (MOST + 1)) // align) * align
        if self.start + MOST * self.size > BY_VALUE:
            raise ValueError(f"struct {name}: {MOST} of {self.size} bytes are no longer the "
                             f"{BY_VALUE} that a launch can carry")
        self.fields = [(field, layouts.types.get(field.type)) for field in layouts.fields(name)]
        self.format = struct.Struct("=" + self.codes(kind))

    def codes(self, kind):
        """The format of `struct` for a dtype, its gaps spelled out."""
        codes, at = "", 0
        for name in kind.names:
            part, offset = kind.fields[name][:2]
            base, shape = part.subdtype or (part, ())
            codes += f"{offset - at}x" * (offset > at)
            one = self.codes(base) if base.names else CODES[base.str[1:].replace("b1", "?")]
            codes += one * (shape[0] if shape else 1)
            at = offset + part.itemsize
        return codes + f"{kind.itemsize - at}x" * (kind.itemsize > at)

    def put(self, out, i, kernel, values, address, pointers):
        """Write problem `i` of a Group; `pointers` gets its arrays."""
        leaves, where = [], f"at[{i}]." if i else ""
        self.leaves(leaves, kernel, where, values, address, pointers)
        self.format.pack_into(out, self.start + i * self.size, *leaves)

    def leaves(self, leaves, kernel, where, values, address, pointers):
        """The numbers that a struct consists of, appended in order."""
        for field, plain in self.fields:
            name = field.name
            if name not in values:
                raise ValueError(f"{kernel}: {where}{name} is missing")
            value = values[name]
            if field.pointer:
                leaves.append(pointer(kernel, where, field, value, self.layouts, address, pointers))
            elif field.length:
                if len(value) != field.length:
                    raise ValueError(f"{kernel}: {where}{name}: wanted {field.length} numbers; "
                                     f"got {len(value)}")
                leaves += [fits(kernel, where + name, number, plain) for number in value]
            elif plain:
                leaves.append(fits(kernel, where + name, value, plain))
            elif field.type in ("Number", "Count"):
                leaves += self.number(kernel, where, field, value, address, pointers)
            else:
                inner = self.layouts.problem(field.type)
                inner.leaves(leaves, kernel, f"{where}{name}.", value, address, pointers)
        if len(values) != len(self.fields):
            extra = sorted(set(values) - {field.name for field, _ in self.fields})
            raise ValueError(f"{kernel}: struct {self.name} has no field {', '.join(extra)}")

    def number(self, kernel, where, field, value, address, pointers):
        """A Number or Count: a number of the host's, or one that lies in device memory."""
        (first, plain), (at, _) = self.layouts.problem(field.type).fields
        name = f"{where}{field.name}"
        if hasattr(value, "at"):
            place = pointer(kernel, f"{name}.", at, value.at, self.layouts, address, pointers)
            return fits(kernel, name, getattr(value, first.name), plain), place
        return fits(kernel, name, value, plain), 0


def pointer(kernel, where, field, value, layouts, address, pointers):
    """The address of an array, after a look at it; None is the null pointer."""
    if value is None:
        return 0
    if not hasattr(value, "on_device"):
        raise TypeError(f"{kernel}: {where}{field.name}: wanted an array of the device; got "
                        f"{type(value).__module__}.{type(value).__name__}")
    want = layouts.types.get(field.type)
    if want is None or value.dtype.str[1:].replace("b1", "?") != want:
        raise ValueError(f"{kernel}: {where}{field.name}: wanted an array of {field.type} "
                         f"({np.dtype(want)}); got {value.dtype}")
    if not value.flags.c_contiguous:
        raise ValueError(f"{kernel}: {where}{field.name}: wanted an array in C order; got a view "
                         f"with strides {value.strides}")
    pointers.append((where + field.name, value, field.const))
    return address(value)


def fits(kernel, name, value, plain):
    """A number as the plain type `plain`, if it can be that."""
    try:
        if plain[0] == "f":
            return float(value)
        number = index(value)
    except (TypeError, ValueError):
        raise ValueError(f"{kernel}: {name}: wanted {np.dtype(plain)}; got {value!r}") from None
    if plain == "?":
        return bool(number)
    bits = 8 * int(plain[1])
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if plain[0] == "i" else (0, (1 << bits) - 1)
    if not low <= number <= high:
        raise ValueError(f"{kernel}: {name}: wanted {np.dtype(plain)}; {number} does not fit")
    return number


# Arguments ----------------------------------------------------------------------------------------

@lru_cache(maxsize=None)
def signature(file, kernel, defines):
    """How a kernel's arguments are packed; see `Signature`."""
    return Signature(flatten(file), kernel, defines)


class Signature:
    """The parameters of one kernel, compiled with certain defines.

    Parameters
    ----------
    text : str
        The flattened file.
    kernel : str
    defines : tuple of (name, value)
        One is ("real", "float") or ("real", "double").

    Raises
    ------
    ValueError
        If the file has no such kernel.
    """

    def __init__(self, text, kernel, defines):
        found = kernels(text)
        if kernel not in found:
            raise ValueError(f"kernel: wanted one of {', '.join(found)}; got {kernel!r}")
        self.kernel, self.parameters = kernel, found[kernel]
        self.layouts = Layouts(text, dict(defines).get("real"))
        self.group = None
        if len(self.parameters) == 1:
            group = GROUP.fullmatch(self.parameters[0].type)
            self.group = group[1] if group else None

    def pack(self, args, address):
        """The arguments as a launch takes them: numpy scalars, and bytes for a Group.

        Parameters
        ----------
        args : list
            Arrays and numbers, or one object with `problems` and `blocks`, see `work.Group`.
        address : callable
            Where an array lies in the device's memory.
        """
        return self.bind(args, address)[0]

    def bind(self, args, address):
        """The same, and a list of (name, array, const) of what the kernel is given to read."""
        if len(args) != len(self.parameters):
            raise ValueError(f"{self.kernel}: wanted {len(self.parameters)} arguments; got "
                             f"{len(args)}")
        if self.group:
            group, = args
            packed, pointers = self.layouts.pack(self.kernel, self.group, group.problems,
                                                 group.blocks, address)
            return [np.frombuffer(packed, f"V{len(packed)}")], pointers
        pointers = []
        return [self.plain(*pair, address, pointers)
                for pair in zip(self.parameters, args)], pointers

    def plain(self, parameter, value, address, pointers):
        """One argument that is no Group, as a numpy scalar."""
        if parameter.pointer:
            field = Field(parameter.type, parameter.name, True, parameter.const, 0)
            return np.uint64(pointer(self.kernel, "", field, value, self.layouts, address,
                                     pointers))
        plain = self.layouts.types.get(parameter.type)
        if not plain:
            raise ValueError(f"{self.kernel}: {parameter.name}: no argument of the type "
                             f"{parameter.type} can be handed in")
        return np.dtype(plain).type(fits(self.kernel, parameter.name, value, plain))
