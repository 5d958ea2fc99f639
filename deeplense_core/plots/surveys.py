"""Two surveys in the features of a network, on one plane: apart before adaptation, or together after it."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float, Int

from deeplense_core.plots import theme as look


def survey_figure(
    places: Float[np.ndarray, "n 2"], domain: Int[np.ndarray, " n"], is_lens: Int[np.ndarray, " n"], *,
    title: str, subtitle: str = "", theme: str = "light",
) -> go.Figure:  # fmt: skip
    """Images of both surveys on two principal components of the features.

    Args:
        places: On the plane.
        domain: 1 for the target, 0 for the source.
        is_lens: 1 lens, 0 none, -1 unlabelled.
        title: The finding, escaped.
        subtitle: What it rests on, escaped.
        theme: "light" or "dark".
    """
    fig, t = look.figure(theme, title, subtitle, height=420), look.tokens(theme)
    for number, survey, color, shape in ((0, "source", t["muted"], "square"), (1, "target", t["accent"], "circle")):
        for kind, word, symbol in ((0, "non-lens", f"{shape}-open"), (-1, "unlabelled", "cross-open"),
                                   (1, "lens", shape)):  # fmt: skip
            rows = (domain == number) & (is_lens == kind)
            if not rows.any():
                continue
            fig.add_scatter(
                x=places[rows, 0], y=places[rows, 1], mode="markers", name=f"{survey}, {word}",
                marker={"color": color, "symbol": symbol, "size": 6, "opacity": 0.75},
                hovertemplate=f"{survey}, {word}<extra></extra>",
            )  # fmt: skip
    for axis in (fig.update_xaxes, fig.update_yaxes):
        axis(showticklabels=False, ticks="")
    fig.update_xaxes(title_text="first principal component")
    fig.update_yaxes(title_text="second principal component")
    return fig
