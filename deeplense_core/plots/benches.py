"""How many times as fast as the peer: one bar a row on a logarithmic axis, beside the line of equal speed."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10

import plotly.graph_objects as go

from deeplense_core.plots import theme as look


def ratio_figure(names: Sequence[str], ratios: Sequence[float], *, theme: str = "light") -> go.Figure:
    """Ratios ours to peer, the largest on top; above 1 is in our favour.

    Args:
        names: Of the rows.
        ratios: One for each, above 0.
        theme: "light" or "dark".
    """
    t = look.tokens(theme)
    if not names:
        return look.empty_figure(theme, "Nothing measured yet")
    order = sorted(range(len(names)), key=lambda i: ratios[i])
    shown = [ratios[i] for i in order]
    ahead = sum(ratio > 1 for ratio in shown)
    fig = look.figure(theme, f"Ahead of the peer in {ahead} of {len(shown)} measurements",
                      "Both sides in one run on one machine; right of the line is in our favour",
                      height=140 + 30 * max(len(shown), 2))  # fmt: skip
    fig.add_scatter(
        x=shown, y=[look.text(names[i]) for i in order], mode="markers+text", showlegend=False,
        text=[f"{ratio:.3g}×" for ratio in shown], textposition="middle right", cliponaxis=False,
        marker={"size": 10, "symbol": ["diamond" if ratio > 1 else "circle" for ratio in shown],
                "color": [t["accent"] if ratio > 1 else t["muted"] for ratio in shown]},
        hovertemplate="%{y}: %{x:.3g} times the peer<extra></extra>",
    )  # fmt: skip
    fig.add_vline(x=1, line={"color": t["text"], "width": 1, "dash": "dot"})
    low, high = min([*shown, 0.8]), max([*shown, 2.0])
    fig.update_xaxes(type="log", title_text="times the peer (logarithmic)", range=[log10(low / 1.3), log10(high * 2)])
    fig.update_yaxes(showgrid=False, ticks="", type="category")
    return fig

