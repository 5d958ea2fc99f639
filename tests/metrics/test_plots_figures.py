"""Figures: they draw what the metrics say, in both themes, readable without colour."""

import json

import numpy as np
import plotly.graph_objects as go
import pytest

from deeplense_core import metrics, plots
from deeplense_core.errors import UserError

CLASSES = ("no", "sphere", "vort")
THEMES = ("light", "dark")
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def curves(predicted):
    labels, prob = predicted
    return metrics.class_curves(labels, prob, CLASSES, n_boot=60)


def every_figure(predicted, curves, theme):
    labels, prob = predicted
    truth, scores = labels == 1, prob[:, 1]
    found = metrics.classification_metrics(labels, prob, CLASSES, n_boot=50)
    title = plots.finding("AUC", found["auc_macro"])
    table = metrics.threshold_table(truth, scores, 1e-3)
    point = metrics.operating_point(truth, scores, 0.9, 1e-3)
    recovered = metrics.recovery(truth, scores, np.linspace(0.5, 2, len(labels)), 6)
    runs = {"ours": found["auc_macro"], "theirs": {"value": 0.7, "low": 0.6, "high": 0.8}}
    return {
        "roc": plots.roc_figure(curves, title=title, theme=theme),
        "roc log": plots.roc_figure(curves, title=title, theme=theme, log_x=True),
        "pr": plots.pr_figure(curves, title=title, theme=theme),
        "confusion": plots.confusion_figure(metrics.confusion(labels, prob), CLASSES, theme=theme),
        "reliability": plots.reliability_figure(metrics.reliability(labels, prob), found["ece"], theme=theme),
        "threshold": plots.threshold_figure(table, point, threshold=0.9, prevalence=1e-3, theme=theme),
        "recovery": plots.recovery_figure(recovered, quantity="Einstein radius (arcsec)", theme=theme),
        "class bars": plots.class_bars({"train": dict.fromkeys(CLASSES, 80), "test": {"no": 3}}, theme=theme),
        "score": plots.score_figure(labels, scores, CLASSES, of="sphere", theme=theme),
        "compare": plots.compare_figure(runs, metric="auc_macro", theme=theme),
        "empty": plots.empty_figure(theme, "Nothing yet"),
    }


@pytest.mark.parametrize("theme", THEMES)
def test_every_figure_builds_in_both_themes(predicted, curves, theme):
    for name, fig in every_figure(predicted, curves, theme).items():
        assert isinstance(fig, go.Figure), name
        assert fig.layout.template.layout.paper_bgcolor == plots.TOKENS[theme]["background"], name
        assert "sendChartToCloud" in fig.layout.template.layout.modebar.remove, name
        assert len(fig.layout.title.text) <= 70, name
        kinds = ("roc", "curve", "matrix", "histogram", "diagram", "plot")
        assert not any(kind in fig.layout.title.text.lower() for kind in kinds), name
        assert not any(trace.type == "scattergl" for trace in fig.data), name
        assert len(fig.to_json()) < 200_000, name
        json.loads(fig.to_json())


def test_purity_is_not_drawn_above_the_highest_of_the_others():
    truth, scores = np.array([0, 1, 0, 1, 1]), np.array([0.1, 0.3, 0.6, 0.8, 0.9])
    table, point = metrics.threshold_table(truth, scores, 0.01), metrics.operating_point(truth, scores, 0.5, 0.01)
    finder = plots.FinderCurve("one", metrics.rank(truth, scores), {"value": 0.8, "low": 0.5, "high": 1.0})
    for fig in (plots.threshold_figure(table, point, threshold=0.5, prevalence=0.01),
                plots.finder_threshold_figure(finder, finder.ranking.point(0.5, 0.01), 0.5, 0.01)):
        lines = {line.name: line for line in fig.data}
        assert max(map(float, lines["Purity"].customdata)) == 0.6
        assert max(map(float, lines["Completeness"].customdata)) == 0.9
        assert max(lines["Purity"].y) < 0.02


@pytest.mark.parametrize("log_x", [False, True])
def test_roc_draws_vertices_of_the_curve(curves, log_x):
    fig = plots.roc_figure(curves, title="t", log_x=log_x)
    lines = [t for t in fig.data if t.mode == "lines+markers"]
    assert len(lines) == 3
    for line, curve in zip(lines, curves, strict=True):
        fpr, tpr, _ = curve.roc
        floor = 0.5 / max(c.negatives for c in curves)
        vertices = {(round(x, 12), round(y, 12)) for x, y in zip(fpr, tpr, strict=True)}
        drawn = [(round(x, 12), round(y, 12)) for x, y in zip(line.x, line.y, strict=True)]
        if log_x:
            assert min(line.x) >= floor
            drawn = [point for point in drawn if point[0] > 2 * floor]
        else:
            assert drawn[0] == (0, 0)
        assert set(drawn) <= vertices
        assert drawn[-1] == (1, 1)
        assert f"{curve.auc['value']:.3f}" in line.name
    assert len({line.line.dash for line in lines}) == len({line.marker.symbol for line in lines}) == 3


def test_decimated_curve_keeps_its_shape():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 20_000)
    scores = rng.normal(size=40_000) + 1.2 * labels
    fpr, tpr, _ = metrics.roc_curve(labels, scores)
    keep = plots.decimate(fpr, tpr)
    assert len(keep) <= plots.CURVE_POINTS < len(fpr)
    assert keep[0] == 0
    assert keep[-1] == len(fpr) - 1
    assert (np.diff(keep) > 0).all()
    along, across = (
        fpr + tpr,
        tpr - fpr,
    )  # turned by 45 degrees a steep rise is no more special than a flat one
    assert np.abs(np.interp(along, along[keep], across[keep]) - across).max() < 3e-3
    area = np.trapezoid(tpr[keep], fpr[keep])
    assert area == pytest.approx(metrics.auc_binary(labels, scores), abs=1e-4)


def test_decimate_drops_only_what_lies_on_a_line():
    x = np.array([0, 0, 0, 0.5, 1.0])
    y = np.array([0, 0.25, 0.5, 0.75, 1.0])
    assert plots.decimate(x, y).tolist() == [0, 2, 4]
    corner = plots.decimate(np.array([0, 0, 1.0]), np.array([0, 1.0, 1.0]))
    assert corner.tolist() == [0, 1, 2]
    assert plots.decimate(np.linspace(0, 1, 9), np.tile([0, 1, 0], 3), limit=4).size == 4


def test_pr_draws_vertices_of_the_curve(curves):
    fig = plots.pr_figure(curves, title="t")
    for line, curve in zip([t for t in fig.data if t.mode == "lines+markers"], curves, strict=True):
        precision, recall, _ = curve.pr
        vertices = set(zip(recall.tolist(), precision.tolist(), strict=True))
        assert set(zip(line.x, line.y, strict=True)) <= vertices
        assert line.line.shape == "hv"


def test_a_click_on_a_cell_names_its_images(predicted):
    labels, prob = predicted
    counts = metrics.confusion(labels, prob)
    fig = plots.confusion_figure(counts, CLASSES)
    cells = fig.data[1]
    told = {(true, guess): count for true, guess, count in cells.customdata}
    for i, true in enumerate(CLASSES):
        for j, guess in enumerate(CLASSES):
            assert told[true, guess] == counts[i, j]
    # The square over a cell lies on it: y is the true class, x the predicted one.
    for (true, guess, _), x, y in zip(cells.customdata, cells.x, cells.y, strict=True):
        assert x == plots.CLASS_DISPLAY[guess]
        assert y == plots.CLASS_DISPLAY[true]
    np.testing.assert_allclose(fig.data[0].z, 100 * counts / counts.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("share", np.linspace(0, 1, 21))
def test_confusion_text_is_readable_on_its_cell(share, contrast):
    from plotly.colors import sample_colorscale, unlabel_rgb

    counts = np.array([[round(1000 * share), 1000 - round(1000 * share)], [0, 10]])
    ink = plots.confusion_figure(counts, ("a", "b")).data[1].textfont.color[0]
    red, green, blue = (int(v) for v in unlabel_rgb(sample_colorscale("Viridis", [share])[0]))
    assert contrast(ink, f"#{red:02x}{green:02x}{blue:02x}") >= 4.4


@pytest.mark.parametrize("theme", THEMES)
def test_text_is_readable_in_both_themes(theme, contrast):
    t = plots.TOKENS[theme]
    for ground in ("background", "panel"):
        assert contrast(t["text"], t[ground]) >= 7
        assert contrast(t["muted"], t[ground]) >= 4.5


def test_finding_words_a_metric():
    assert plots.finding("AUC", {"value": 0.981, "low": 0.976, "high": 0.985}) == "AUC 0.981, 95 % 0.976 to 0.985"
    tight = {"value": 0.99964, "low": 0.99951, "high": 0.99973}
    assert plots.finding("AUC", tight) == "AUC 0.99964, 95 % 0.99951 to 0.99973"
    assert plots.finding("AUC", {"value": 0.5, "low": None, "high": None}) == "AUC 0.500"
    undefined = {
        "value": None,
        "low": None,
        "high": None,
        "undefined": "ROC undefined: only class vort is present",
    }
    assert plots.finding("AUC", undefined) == undefined["undefined"]


def test_figures_without_curves_say_why():
    for draw in (plots.roc_figure, plots.pr_figure):
        fig = draw([], title="ROC undefined: only class vort is present")
        assert fig.layout.title.text == "ROC undefined: only class vort is present"
        assert not fig.data


def test_comparison_does_not_call_an_overlap_a_lead():
    near = {
        "a": {"value": 0.98, "low": 0.97, "high": 0.99},
        "b": {"value": 0.975, "low": 0.96, "high": 0.985},
    }
    fig = plots.compare_figure(near, metric="auc_macro")
    assert fig.layout.title.text == "a is highest: AUC 0.980, 95 % 0.970 to 0.990"
    assert fig.layout.title.subtitle.text == "Its interval overlaps with b"
    far = {"a": {"value": 0.1, "low": 0.09, "high": 0.11}, "b": {"value": 0.3, "low": 0.2, "high": 0.4}}
    assert plots.compare_figure(far, metric="log_loss").layout.title.text.startswith("a leads: Log loss 0.100")
    assert list(plots.compare_figure(far, metric="log_loss").data[0].y) == ["b", "a"]  # the best on top
    assert plots.compare_figure({}, metric="auc_macro").layout.title.text == "No run to compare yet"


def test_class_bars_say_what_is_out_of_balance():
    def title(**totals):
        return plots.class_bars({"train": totals}).layout.title.text

    assert title(no=10, sphere=10) == "20 images, classes balanced"
    assert title(no=30, sphere=10) == "40 images, largest class 3.0 times the smallest"
    assert title(no=30, vort=0) == "30 images, no image of vortex (axion)"


def test_names_of_other_sets_share_the_look_of_the_class():
    assert plots.class_style("cdm") == plots.class_style("sphere")
    assert plots.class_style("No Substructure").label == "no substructure"
    new = [plots.class_style(f"new {i}", i) for i in range(4)]
    assert len({style.color for style in new}) == len({style.marker for style in new}) == 4
    assert plots.class_style("sphere").color == "#E69F00"


def test_names_are_text_not_markup(predicted):
    labels, prob = predicted
    names = (HOSTILE, "b", "c")
    figures = [
        plots.confusion_figure(metrics.confusion(labels, prob), names),
        plots.roc_figure(metrics.class_curves(labels, prob, names, n_boot=5), title="t"),
        plots.class_bars({HOSTILE: {HOSTILE: 3}}),
        plots.score_figure(labels, prob[:, 0], names, of=HOSTILE),
        plots.compare_figure({HOSTILE: {"value": 0.5, "low": 0.4, "high": 0.6}}, metric="accuracy"),
        plots.empty_figure("light", HOSTILE),
    ]
    for fig in figures:
        shown = json.loads(fig.to_json())
        for trace in shown["data"]:
            trace.pop("customdata", None)  # carried back to the page, never drawn
        assert "<img" not in json.dumps(shown)


def test_unknown_theme_is_named():
    with pytest.raises(UserError, match="Unknown theme 'sepia'"):
        plots.empty_figure("sepia", "x")


def test_the_title_of_a_comparison_has_the_whole_width():
    """Beside long names, at 900 pixels, its interval was cut off."""
    runs = {"a run " * 9: {"value": 0.7, "low": 0.6, "high": 0.8}}
    title = plots.compare_figure(runs, metric="auc_macro").layout.title
    assert (title.x, title.xref) == (0, "container")
