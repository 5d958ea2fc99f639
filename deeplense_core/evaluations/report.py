"""An evaluation as a file to hand on: one page of HTML that needs nothing else, or CSV tables."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from deeplense_core import plots
from deeplense_core.catalog import safe_cell
from deeplense_core.evaluations.predictions import Predictions
from deeplense_core.plots.theme import FONT

_STYLE = """
body { font-family: %(font)s; background: %(background)s; color: %(text)s; max-width: 1080px;
       margin: 32px auto; padding: 0 24px; line-height: 1.5 }
h1 { font-size: 28px; margin-bottom: 8px } p { color: %(muted)s; margin-top: 0 }
table { border-collapse: collapse; margin: 24px 0 } th { text-align: left; font-weight: 600 }
th, td { padding: 8px 16px 8px 0; border-bottom: 1px solid %(grid)s; font-variant-numeric: tabular-nums }
"""


def metric_table(report: Mapping[str, Any]) -> pd.DataFrame:
    """Every metric of the run and of each baseline row, long: row, metric, value, low, high."""
    rows = {report["run"]: report["metrics"], **report["rows"]}
    found = [
        {"row": row, "metric": name, **{part: m[part] for part in ("value", "low", "high")}}
        for row, metrics in rows.items()
        for name, m in metrics.items()
    ]
    return pd.DataFrame(found, columns=["row", "metric", "value", "low", "high"])


def wide_table(report: Mapping[str, Any]) -> pd.DataFrame:
    """The same as text to read: a line for each row, a column for each metric, intervals in brackets."""
    rows = {report["run"]: report["metrics"], **report["rows"]}
    cells = {
        row: {plots.metric_label(name): with_interval(m) for name, m in metrics.items()}
        for row, metrics in rows.items()
    }
    return pd.DataFrame.from_dict(cells, orient="index").rename_axis("row")


def with_interval(metric: Mapping[str, Any]) -> str:
    """As "0.981 [0.976, 0.985]"; a dash where the metric is undefined."""
    if metric["value"] is None:
        return "–"
    if metric["low"] is None or metric["low"] == metric["high"]:
        return f"{metric['value']:.3f}"
    return f"{metric['value']:.3f} [{metric['low']:.3f}, {metric['high']:.3f}]"


def prediction_table(predictions: Predictions) -> pd.DataFrame:
    """One row an image: id, true class, chosen class and the probability of each class."""
    names = np.array(predictions.classes)
    table = pd.DataFrame(
        {"id": predictions.ids, "true": names[predictions.labels], "class": names[predictions.predicted]}
    )
    for index, name in enumerate(predictions.classes):
        table[f"p_{name}"] = predictions.probabilities[:, index]
    return table


def to_csv(table: pd.DataFrame) -> bytes:
    """CSV bytes in which no text cell can be read as a formula by a spreadsheet."""
    safe = table.copy()
    for name in safe.columns:
        if not pd.api.types.is_numeric_dtype(safe[name]):
            safe[name] = [safe_cell(v) if isinstance(v, str) else v for v in safe[name]]
    return safe.to_csv(index=False).encode()


def html_report(report: Mapping[str, Any], figures: Sequence[go.Figure], *, theme: str = "light") -> str:
    """One self-contained page: the finding, the table, the figures; works without a network.

    Args:
        report: As :func:`deeplense_core.evaluate.evaluate` gives it.
        figures: Drawn in this order; they stay interactive.
        theme: "light" or "dark".
    """
    finding = plots.finding("AUC", report["metrics"]["auc_macro"])
    name = html.escape(report["run"])
    facts = html.escape(f"{report['run']}: {report['data']}, {report['split']} split, {report['n']:,} images")
    parts = [
        figure.to_html(full_html=False, include_plotlyjs=index == 0, config={"displaylogo": False})
        for index, figure in enumerate(figures)
    ]
    style = _STYLE % {**plots.tokens(theme), "font": FONT}
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{name}</title>'
        f"<style>{style}</style></head><body><h1>{finding}</h1><p>{facts}</p>"
        f"{wide_table(report).to_html(border=0, escape=True)}{''.join(parts)}</body></html>"
    )
