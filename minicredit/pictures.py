"""How each rule sends information: one picture, all rules side by side.

    python -m minicredit.pictures --out docs/how-rules-send.png

A network of three layers stands in every panel: x below, the output on top.  Grey arrows carry
activity up; coloured ones carry what the rule sends, with what it is multiplied by.  `PANELS` is
the whole content, and says of each rule what its file says.
"""
import argparse
import io
from pathlib import Path
from typing import NamedTuple

from minicredit.figure import FAINT, INK, PAPER, look, pick_styles
from minicredit.report import put

ACROSS, SIZE = 4, (12, 10.8)
HEIGHTS = (0.6, 3.1, 5.6, 8.1)                  # of x and layers 1..3, in a panel 10 wide
LEFT, RIGHT, THICK = 1.0, 5.2, 0.95
UP, DOWN = 2.0, 4.2                             # where the arrows between two layers stand


class Arrow(NamedTuple):
    """What goes from layer `start` to layer `end`; at `x`, dotted if it is noise."""

    start: int
    end: int
    text: str
    x: float = DOWN
    dotted: bool = False


class Panel(NamedTuple):
    """One rule: what is sent, in words and in arrows; `top` stands above the output, `beside` is a
    second part of it, and `scalar` is told to all layers alike."""

    names: str
    words: str
    arrows: tuple
    top: str = "δ = p − y"
    beside: str = ""
    scalar: str = ""


def down(text, first=None):
    """Arrows from the output to layer 2, and from there to layer 1."""
    return Arrow(3, 2, first or text.replace("i", "3")), Arrow(2, 1, text.replace("i", "2"))


PANELS = (
    Panel("bp", "the error, through the\nweights read backwards", down("W[i]ᵀ")),
    Panel("fa", "the error, through fixed\nrandom weights", down("B[i]ᵀ")),
    Panel("dfa", "the output’s error, straight\nto every layer", (
        Arrow(3, 2, "B[2]ᵀ"), Arrow(3, 1, "B[1]ᵀ", 6.0))),
    Panel("usf frsf brsf", "the error, through the signs\nof the weights", down("± M[i]ᵀ")),
    Panel("weight-mirror", "as fa; noise s, sent up,\nteaches B what W is", (
        *down("B[i]ᵀ"), Arrow(1, 2, "s", 2.9, True), Arrow(2, 3, "s", 2.9, True))),
    Panel("kolen-pollack", "as fa; W and B make the same\nsteps and leak alike", (
        *down("B[i]ᵀ"), Arrow(-2, -1, "="), Arrow(-3, -2, "="))),
    Panel("kickback", "one scalar to all, times the\ninfluence one layer up", (
        Arrow(3, 2, "τ[2]"), Arrow(2, 1, "τ[1]")),
          "β = dloss / dz", "", "β"),
    Panel("tp", "what it should have said,\nby learned inverses", down("g[i](ĥ)"), "ĥ = label"),
    Panel("dtp", "the same, as a difference;\nfirst by a slope", down(
        "g[i](ĥ) − g[i](h)", "− step · δ W[3]ᵀ")),
    Panel("sdtp", "differences only,\nfrom the label down", down(
        "g[i](ĥ) − g[i](h)", "g[3](ĥ) − g[3](p)"), "ĥ = label"),
    Panel("ao-sdtp", "the same; random features z\nsay which example it was", down(
        "g[i](ĥ) − g[i](h)", "g[3](ĥ, z) − g[3](p, z)"), "ĥ = label", "z"),
)


def draw(dark=False):
    """The picture as the bytes of a PNG."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    styles = pick_styles([panel.names.split()[0] for panel in PANELS], dark)
    with matplotlib.rc_context(look(dark)):
        figure = Figure(SIZE, dpi=150)
        rows = -(-(len(PANELS) + 1) // ACROSS)
        for place, panel in enumerate((*PANELS, None)):
            row, column = divmod(place, ACROSS)
            axes = figure.add_axes((0.01 + 0.2475 * column, 1 - (row + 1) / rows + 0.005,
                                    0.2375, 1 / rows - 0.01))
            axes.set(xlim=(0, 10), ylim=(-0.2, 13.4))
            axes.axis("off")
            if panel:
                draw_panel(axes, panel, styles[panel.names.split()[0]][0], dark)
            else:
                draw_key(axes, dark)
        image = io.BytesIO()
        FigureCanvasAgg(figure).print_png(image)
    return image.getvalue()


def draw_panel(axes, panel, colour, dark):
    """One rule."""
    axes.text(LEFT, 12.9, panel.names, weight="bold", size=13, color=colour, va="center")
    axes.text(LEFT, 12.3, panel.words, size=9, va="top", linespacing=1.15)
    axes.text(UP, 10.0, panel.top, size=9, va="center")
    draw_layers(axes, dark, panel.beside)
    for arrow in panel.arrows:
        if arrow.text == "=":                   # the same step at both ends of a connection
            y = (HEIGHTS[-arrow.start] + HEIGHTS[-arrow.end] + THICK) / 2
            draw_arrow(axes, (UP + 0.25, y), (DOWN - 0.25, y), colour, style="<->", width=1)
            continue
        start, end = HEIGHTS[arrow.start], HEIGHTS[arrow.end]
        falls = arrow.start > arrow.end
        start, end = (start, end + THICK) if falls else (start + THICK, end)
        x = arrow.x
        if x > RIGHT:                           # past the layers between
            axes.plot([RIGHT, x, x], [start + THICK / 2, start + THICK / 2, end - THICK / 2],
                      color=colour, linewidth=1.8, solid_capstyle="butt")
            draw_arrow(axes, (x + 0.02, end - THICK / 2), (RIGHT, end - THICK / 2), colour)
        else:
            draw_arrow(axes, (x, start), (x, end), colour, dotted=arrow.dotted)
        axes.text(x + 0.25, (start + end) / 2, arrow.text, size=8.5, va="center")
    if panel.scalar:
        draw_scalar(axes, panel.scalar, colour)


def draw_layers(axes, dark, beside):
    """x, the layers, and what goes up."""
    from matplotlib.patches import FancyBboxPatch

    for i, y in enumerate(HEIGHTS):
        parts = [(LEFT, RIGHT - LEFT, ("x", "h[1]", "h[2]", "p")[i])]
        if beside and i == 3:
            parts = [(LEFT, 2.4, "p"), (LEFT + 2.7, 1.5, beside)]
        for left, width, name in parts:
            axes.add_patch(FancyBboxPatch((left, y), width, THICK, facecolor=PAPER[dark],
                                          boxstyle="round,pad=0,rounding_size=0.3",
                                          edgecolor=INK[dark], linewidth=1))
            axes.text(left + width / 2, y + THICK / 2 - 0.03, name, size=9, ha="center",
                      va="center")
        if i:
            draw_arrow(axes, (UP, HEIGHTS[i - 1] + THICK), (UP, y), FAINT[dark])
            axes.text(UP - 0.2, (HEIGHTS[i - 1] + THICK + y) / 2, f"W[{i}]", size=8.5, ha="right",
                      va="center", color=FAINT[dark])


def draw_scalar(axes, text, colour):
    """A line past all layers, which each of them hears."""
    x, top = 7.4, HEIGHTS[3] + THICK / 2
    axes.plot([x, x], [HEIGHTS[1] + THICK / 2, top], color=colour, linewidth=1.8)
    for y in HEIGHTS[1:]:
        draw_arrow(axes, (x + 0.02, y + THICK / 2), (RIGHT, y + THICK / 2), colour)
    axes.text(x + 0.25, top, text, size=10, va="center")


def draw_arrow(axes, start, end, colour, dotted=False, style="-|>", width=1.8):
    """An arrow."""
    axes.annotate("", end, start, arrowprops={
        "arrowstyle": style, "color": colour, "linewidth": width, "shrinkA": 0, "shrinkB": 0,
        "mutation_scale": 11, "linestyle": (0, (1, 1.5)) if dotted else "-"})


def draw_key(axes, dark):
    """What the marks mean."""
    lines = ("Grey: activity, up.  Colour: what is sent.", "",
             "δ, β   errors: how should you change?", "ĥ   targets: what should you have said?",
             "W[i]   weights of layer i", "B[i]   fixed or learned, never W itself",
             "M[i]   strengths, with the signs of W[i]", "g[i]   learned inverse of layer i",
             "τ[i]   how layer i + 1 answers to layer i", "",
             "Errors pass the slope f′ of each layer;", "inverses have slopes of their own.")
    axes.text(LEFT, 10.6, "\n".join(lines), size=9, va="top", linespacing=1.5, color=INK[dark])


def main():
    """Draw it into a file."""
    parser = argparse.ArgumentParser(prog="python -m minicredit.pictures",
                                     description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("figures/how-rules-send.png"))
    parser.add_argument("--dark", action="store_true", help="for dark pages")
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    put(args.out, draw(args.dark))


if __name__ == "__main__":
    main()
