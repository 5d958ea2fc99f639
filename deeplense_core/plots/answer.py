"""What a network says of one image: a bar for each class, told apart by marker as well as colour."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from deeplense_core.plots import theme as look


def probability_figure(probabilities: Sequence[float], classes: Sequence[str], *, theme: str = "light") -> go.Figure:
    """Calibrated class probabilities, in the order of the classes.

    Args:
        probabilities: k numbers that add up to 1.
        classes: k names.
        theme: "light" or "dark".
    """
    styles = [look.class_style(name, i) for i, name in enumerate(classes)]
    best = max(range(len(classes)), key=lambda i: probabilities[i])
    title = f"{styles[best].label} {look.number(probabilities[best])}"
    fig = look.figure(theme, title, "probability, calibrated on validation", height=120 + 56 * len(classes))
    labels, colors = [s.label for s in styles], [s.color for s in styles]
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
    fig.update_xaxes(title_text="Probability", range=[0, 1.14], tickvals=[0, 0.25, 0.5, 0.75, 1])
    fig.update_yaxes(autorange="reversed", showgrid=False, showline=False, ticks="")
    return fig
