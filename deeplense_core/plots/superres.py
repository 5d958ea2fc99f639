"""Figures of super-resolution: brightness against radius."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from deeplense_core.plots import theme as look

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
"""Okabe and Ito, for the rows of a comparison; dashes tell them apart without colour."""
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


def profile_figure(
    profiles: Mapping[str, tuple[np.ndarray, np.ndarray]], *, reference: str | None = None, unit: str = "",
    arcsec: bool = True, theme: str = "light",
) -> go.Figure:
    """Radial profiles of one sky, one line each.

    Args:
        profiles: Name -> radius (n,) and mean brightness (n,).
        reference: The one that the others should meet, drawn in the colour of the text and wider.
        unit: Of the brightness.
        arcsec: Whether the radius is in arcsec; else in fine pixels.
        theme: "light" or "dark".
    """
    fig = look.figure(theme, "Brightness against radius", height=380)
    others = [name for name in profiles if name != reference]
    # The reference first, so that what meets it is seen on top of it.
    for name, (radius, value) in sorted(profiles.items(), key=lambda item: item[0] != reference):
        place = others.index(name) if name in others else 0
        line = {"color": COLORS[place % len(COLORS)], "width": 1.8, "dash": DASHES[place % len(DASHES)]}
        if name == reference:
            line = {"color": look.tokens(theme)["text"], "width": 3}
        fig.add_scatter(x=radius, y=value, mode="lines", name=look.text(name), line=line)
    fig.update_xaxes(title_text=f"Radius ({'arcsec' if arcsec else 'fine pixels'})")
    fig.update_yaxes(title_text=f"Mean brightness ({look.text(unit)})" if unit else "Mean brightness")
    return fig
