"""What a network says of one image: a bar for each class, told apart by marker as well as colour."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from deeplense_core.plots import theme as look


def probability_figure(
    probabilities: Sequence[float], classes: Sequence[str], *, trusted: bool = True, theme: str = "light"
) -> go.Figure:
    """Calibrated class probabilities, in the order of the classes.

    Args:
        probabilities: k numbers that add up to 1.
        classes: k names.
        trusted: False for an image of another kind: bars in gray, and a title that names no class.
        theme: "light" or "dark".
    """
    styles = [look.class_style(name, i) for i, name in enumerate(classes)]
    best = max(range(len(classes)), key=lambda i: probabilities[i])
    title = f"{styles[best].label} {look.number(probabilities[best])}" if trusted else "Output, not to be trusted"
    subtitle = "probability, calibrated on validation" if trusted else "calibration does not hold here"
    fig = look.figure(theme, title, subtitle, height=104 + 40 * len(classes))
    colors = [s.color if trusted else look.tokens(theme)["muted"] for s in styles]
    labels = [s.label for s in styles]
    fig.add_bar(y=labels, x=probabilities, orientation="h", width=0.28, marker={"color": colors}, hoverinfo="skip")
    fig.add_scatter(
        y=labels,
        x=probabilities,
        mode="markers+text",
        marker={"symbol": [s.marker for s in styles], "size": 16, "color": colors},
        text=[f"  {look.number(p)}" for p in probabilities],
        textposition="middle right",
        hovertemplate="%{y}: %{x:.4f}<extra></extra>",
        cliponaxis=False,
    )
    fig.update_layout(showlegend=False)
    fig.update_xaxes(range=[-0.06, 1.36], tickvals=[0, 0.5, 1])
    fig.update_yaxes(autorange="reversed", showgrid=False, showline=False, ticks="")
    return fig
