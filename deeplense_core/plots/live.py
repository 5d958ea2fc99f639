"""ECharts options of the live panel: curves that update in place while a run trains."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from deeplense_core.plots import theme as look
from deeplense_core.plots.names import metric_label

LIVE_POINTS = 400  # of one line; what a two-second tick may send
SCORES = (("auc_macro", "accuracy"), ("auroc", "auprc"), ("psnr", "psnr_floor"), ("closeness", "psnr"),
          ("knn_accuracy", "rank_share"), ("rank_share", "rank_share"))  # fmt: skip
"""Validation scores drawn together, the one that matters first; the first pair that a run logs is drawn."""


def aligned(rows: Sequence[Mapping]) -> tuple[list[dict], list[dict]]:
    """Training and validation rows on one axis of training steps, each with its place as "x".

    A validation counts in epochs, so it stands at the last training step logged before it. A run that
    resumed logs some steps again: the later row is the one that counts.
    """
    train: list[dict] = []
    val: list[dict] = []
    for row in rows:
        if row["kind"] == "train":
            while train and train[-1]["x"] >= row["step"]:
                train.pop()
            train.append({**row, "x": row["step"]})
        elif row["kind"] == "val":
            while val and val[-1]["step"] >= row["step"]:
                val.pop()
            val.append({**row, "x": train[-1]["x"] if train else row["step"]})
    return train, val


def smooth(values: Sequence[float], factor: float) -> list[float]:
    """Exponential moving average, ``factor`` 0 (none) to below 1, without the pull toward its start."""
    out, total, weight = [], 0.0, 0.0
    for value in values:
        total = factor * total + (1 - factor) * value
        weight = factor * weight + (1 - factor)
        out.append(total / weight)
    return out


def thin(points: list[list[float]], limit: int = LIVE_POINTS) -> list[list[float]]:
    """At most ``limit`` points: means of equal runs, and the last point as it is."""
    if len(points) <= limit:
        return points
    size = math.ceil(len(points) / (limit - 1))
    runs = [points[i : i + size] for i in range(0, len(points), size)]
    return [[run[-1][0], sum(p[1] for p in run) / len(run)] for run in runs[:-1]] + [points[-1]]


def _points(rows: Sequence[Mapping], key: str, log_y: bool = False) -> list[list[float]]:
    """[x, value] of the rows that have a drawable value."""
    pairs = [[row["x"], row.get(key)] for row in rows]
    return [p for p in pairs if p[1] is not None and math.isfinite(p[1]) and (p[1] > 0 or not log_y)]


def _line(name: str, points: list, style: look.ClassStyle, panel: int, **extra) -> dict:
    dash = {"solid": "solid", "dash": "dashed"}[style.dash]
    symbol = {"circle": "circle", "square": "rect"}[style.marker]
    return {
        "type": "line",
        "name": name,
        "data": points,
        "xAxisIndex": panel,
        "yAxisIndex": panel,
        "color": style.color,
        "lineStyle": {"width": 2, "type": dash},
        "symbol": symbol,
        "symbolSize": 6,
        "showSymbol": len(points) <= 40,
        "tooltip": {"valueFormatter": "%.4f"},
        **extra,
    }


def _axes(t: Mapping[str, str], log_y: bool, score_name: str, bounded: bool) -> tuple[list[dict], list[dict]]:
    """x and y axes of the loss panel and, right of it, the score panel."""
    text = {"color": t["muted"], "fontSize": 12}
    common = {"axisLabel": text, "nameTextStyle": text, "axisLine": {"lineStyle": {"color": t["line"]}}}
    grid = {"splitLine": {"lineStyle": {"color": t["grid"]}}}
    x = {
        **common,
        "type": "value",
        "min": "dataMin",
        "max": "dataMax",
        "name": "step",
        "nameLocation": "middle",
        "nameGap": 26,
        "splitLine": {"show": False},
        "axisLabel": {**text, "hideOverlap": True},
    }
    # Powers of two: between powers of ten a loss would often meet no tick at all.
    scale = {"type": "log", "logBase": 2} if log_y else {"type": "value", "scale": True}
    loss = {**common, **grid, **scale, "name": "loss"}
    score = {
        **common,
        **grid,
        "type": "value",
        "name": score_name,
        "scale": True,
        **({"max": 1} if bounded else {}),
    }
    return [{**x, "gridIndex": i} for i in (0, 1)], [{**loss, "gridIndex": 0}, {**score, "gridIndex": 1}]


def scores_of(val: Sequence[Mapping]) -> tuple[str, str]:
    """The two scores of :data:`SCORES` that these validations have."""
    named = {name for row in val for name in row}
    return next((pair for pair in SCORES if pair[0] in named), SCORES[0])


def live_options(rows: Sequence[Mapping], *, theme: str = "light", smoothing: float = 0.6, log_y: bool = False) -> dict:
    """Options for ``st.echarts_chart``: training and validation loss left, validation scores right.

    Args:
        rows: lines of ``metrics.jsonl`` in order.
        theme: "light" or "dark".
        smoothing: of the training loss, 0 to below 1; the raw loss stays behind it, faint.
        log_y: logarithmic loss.
    """
    t = look.tokens(theme)
    train, val = aligned(rows)
    raw = _points(train, "loss", log_y)
    soft = [[x, y] for (x, _), y in zip(raw, smooth([p[1] for p in raw], smoothing), strict=True)]
    main, other = look.series_style("main", theme), look.series_style("other", theme)
    plain = {"symbol": "none", "lineStyle": {"width": 2}}
    series = [_line("training loss", thin(soft), other, 0, **plain)]
    if smoothing > 0:
        faint = {"symbol": "none", "lineStyle": {"width": 1, "opacity": 0.35}, "silent": True, "z": 1}
        series.insert(0, _line("training loss, raw", thin(raw), other, 0, **faint))
    if any("loss" in row for row in val) or not val:
        series.append(_line("validation loss", thin(_points(val, "loss", log_y)), main, 0))
    first, second = scores_of(val)
    for name, style in {second: other, first: main}.items():
        series.append(_line(f"validation {metric_label(name)}", thin(_points(val, name)), style, 1))
    drawn = [p[1] for name in (first, second) for p in _points(val, name)]
    x_axes, y_axes = _axes(t, log_y, "validation score" if val else "no validation yet", max(drawn, default=0) <= 1)
    return {
        "animation": False,  # a tick replaces the data; animating it would never come to rest
        "backgroundColor": "transparent",
        "textStyle": {"fontFamily": look.FONT, "color": t["text"]},
        "legend": {
            "data": [line["name"] for line in series if not line.get("silent")],
            "bottom": 0,
            "left": 0,
            "textStyle": {"color": t["text"], "fontSize": 12},
            "type": "scroll",
        },
        "tooltip": {
            "trigger": "axis",
            "backgroundColor": t["panel"],
            "borderColor": t["line"],
            "textStyle": {"color": t["text"], "fontSize": 12},
        },
        "grid": [
            {"left": 56, "right": "54%", "top": 36, "bottom": 72},
            {"left": "54%", "right": 24, "top": 36, "bottom": 72},
        ],
        "xAxis": x_axes,
        "yAxis": y_axes,
        "series": series,
    }
