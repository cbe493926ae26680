"""The one look of all plots: palette, axes, legend below, PNG bytes that do not change.

Only matplotlib's Agg canvas is used: no window, no global figure, nothing to close.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by colour-blind readers, blue first.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#8A6FB0", "#7F7F7F")
INK = "#24292F"
QUIET = "#6E7781"
RULE = "#DDE2E7"
MAX_PNG_BYTES = 50_000
NUM_COLOURS = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """How wide a plot is, and how fine."""

    width: float
    """Inches. Letters are as large in all: a narrow plot can be read on a phone."""
    dpi: int
    most_letters: int
    """Of a name beside the plot: longer ones would leave no room for what is drawn."""

    def shortened(self, name: str) -> str:
        """A name that fits: its beginning and its end.

        >>> ON_A_PAGE.shortened("a_source_with_a_very_long_name_2026")
        'a_source_w…_name_2026'
        """
        if len(name) <= self.most_letters:
            return name
        half = self.most_letters // 2
        return f"{name[:half]}…{name[-half:]}"


IN_A_LOG = Size(width=6.4, dpi=110, most_letters=48)
ON_A_PAGE = Size(width=3.8, dpi=220, most_letters=20)


def markdown_image(png: bytes, title: str) -> str:
    """The plot as a markdown image with a data URI, for `MetadataValue.md`.

    Raises:
        ValueError: the plot is larger than 50 kB, too much for an event log.
    """
    if len(png) > MAX_PNG_BYTES:
        raise ValueError(f"plot {title!r} has {len(png)} bytes, more than {MAX_PNG_BYTES}")
    alternative = title.replace("[", "(").replace("]", ")").replace("\n", " ")
    return f"![{alternative}](data:image/png;base64,{base64.b64encode(png).decode()})"


def new_axes(title: str, *, height: float, size: Size = IN_A_LOG) -> "tuple[Figure, Axes]":
    """A titled figure of the given height in inches."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(
        figsize=(size.width, height),
        dpi=size.dpi,
        layout=ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.07),
    )
    axes = figure.subplots()
    if title:
        axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK, pad=10)
    return figure, axes


def legend(figure: "Figure", axes: "Axes", *, columns: int) -> None:
    """Names of the colours, below the plot."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=8.5,
        labelcolor=INK,
        handlelength=1.2,
    )


def label_line_ends(axes: "Axes", ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Names at the right end of the lines, pushed apart so that close ends stay readable."""
    if not ends:
        return
    low, high = axes.get_ylim()
    gap, previous = 0.075 * (high - low), -float("inf")
    for value, place, name, colour in sorted(ends):
        previous = max(value, previous + gap)
        axes.annotate(
            name,
            (place, previous),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            color=colour,
            fontsize=8.5,
            annotation_clip=False,
        )


def text_on(colour: str) -> str:
    """Ink or white, whichever can be read on a bar of that colour (#RRGGBB)."""
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 130 else INK


def finish(
    axes: "Axes", *, grid: Literal["x", "y", ""], percent_axis: Literal["x", "y", ""]
) -> None:
    """Quiet frame, ticks and rules; one axis written as percentages."""
    from matplotlib.ticker import FuncFormatter

    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(RULE)
    axes.tick_params(colors=QUIET, labelcolor=INK, labelsize=8.5)
    axes.xaxis.label.set(color=QUIET, size=9)
    axes.yaxis.label.set(color=QUIET, size=9)
    if grid:
        axes.grid(axis=grid, color=RULE, lw=0.8)
    axes.set_axisbelow(True)
    if percent_axis:
        axis = axes.xaxis if percent_axis == "x" else axes.yaxis
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g}%"))


def empty_plot(title: str) -> bytes:
    """A plot that says that there is nothing to show."""
    figure, axes = new_axes(title, height=1.0)
    axes.axis("off")
    axes.text(0, 0.5, "Nothing to show.", color=QUIET, va="center")
    return png_bytes(figure)


def png_bytes(figure: "Figure") -> bytes:
    """The figure as PNG in a 64-colour palette; the same figures give the same bytes.

    Line art has few colours: the palette costs nothing to the eye and two thirds of the size.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = Image.frombytes("RGBA", canvas.get_width_height(), bytes(canvas.buffer_rgba()))
    reduced = pixels.convert("RGB").quantize(NUM_COLOURS, dither=Image.Dither.NONE)
    buffer = BytesIO()
    reduced.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
