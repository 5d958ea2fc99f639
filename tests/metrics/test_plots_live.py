"""The live panel's options, and the theme that app and figures share."""

import json
import tomllib
from pathlib import Path

import pytest

from deeplense_core import plots
from deeplense_core.plots.live import LIVE_POINTS, aligned, smooth, thin
from pages.ui.theme import ON_ACCENT

ROOT = Path(__file__).parents[2]


def run(steps=10, epochs=3):
    rows, step = [], 0
    for epoch in range(epochs):
        for _ in range(steps):
            step += 1
            rows.append({"kind": "train", "step": step, "loss": 1.0 / step, "epoch": epoch})
        rows.append({"kind": "val", "step": epoch, "loss": 0.4, "auc_macro": 0.7 + 0.01 * epoch, "accuracy": 0.6})
    return [*rows, {"kind": "info", "step": 0, "text": "hello"}]


def series(options, name):
    return next(s for s in options["series"] if s["name"] == name)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("rows", [[], run()], ids=["empty", "run"])
def test_options_are_plain_json_in_both_themes(rows, theme):
    options = plots.live_options(rows, theme=theme)
    text = json.dumps(options, allow_nan=False)
    assert plots.TOKENS[theme]["text"] in text
    assert "function" not in text
    assert options["animation"] is False


def test_validation_stands_at_the_training_step_it_followed():
    options = plots.live_options(run(), smoothing=0)
    assert series(options, "validation AUC")["data"] == [[10, 0.7], [20, 0.71], [30, 0.72]]
    assert series(options, "training loss")["data"] == [[s, 1.0 / s] for s in range(1, 31)]
    assert not any(s["name"].endswith("raw") for s in options["series"])


def test_a_resumed_run_is_drawn_once():
    again = [{"kind": "train", "step": s, "loss": 9.0} for s in range(25, 31)]
    train, val = aligned([*run(), *again, {"kind": "val", "step": 2, "auc_macro": 0.9}])
    assert [row["x"] for row in train] == list(range(1, 31))
    assert train[-1]["loss"] == 9.0
    assert [row["auc_macro"] for row in val] == [0.7, 0.71, 0.9]


def test_log_scale_drops_what_it_cannot_show():
    rows = [{"kind": "train", "step": s, "loss": loss} for s, loss in enumerate([1.0, 0.0, float("nan"), -1, 0.5])]
    options = plots.live_options(rows, log_y=True, smoothing=0)
    assert options["yAxis"][0]["type"] == "log"
    assert series(options, "training loss")["data"] == [[0, 1.0], [4, 0.5]]
    linear = plots.live_options(rows, smoothing=0)
    assert [p[0] for p in series(linear, "training loss")["data"]] == [0, 1, 3, 4]


def test_smoothing():
    assert smooth([1, 1, 1], 0.9) == pytest.approx([1, 1, 1])  # no pull toward zero at the start
    assert smooth([3, 1, 2], 0) == [3, 1, 2]
    assert smooth([0, 1], 0.5) == pytest.approx([0, 2 / 3])
    assert len(series(plots.live_options(run(), smoothing=0.9), "training loss, raw")["data"]) == 30


def test_a_long_run_sends_few_points():
    points = [[i, float(i % 2)] for i in range(10_001)]
    few = thin(points)
    assert LIVE_POINTS / 2 < len(few) <= LIVE_POINTS
    assert few[-1] == points[-1]
    assert [x for x, _ in few] == sorted({x for x, _ in few})
    assert few[0][1] == pytest.approx(0.5, abs=0.05)
    assert len(json.dumps(plots.live_options(run(steps=5000)))) < 60_000


def test_figures_and_app_share_one_theme(contrast):
    """The tokens are written twice, in Python and in TOML; this keeps them alike."""
    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())
    for name, tokens in plots.TOKENS.items():
        theme = config["theme"][name]
        assert theme["backgroundColor"] == tokens["background"]
        assert theme["secondaryBackgroundColor"] == tokens["panel"]
        assert theme["textColor"] == tokens["text"]
        # Streamlit's buttons are white on it; pages/ui/theme.py makes them dark in the dark theme.
        assert contrast(ON_ACCENT[name], theme["primaryColor"]) >= 4.5
        for ground in (tokens["background"], tokens["panel"]):
            assert contrast(theme["primaryColor"], ground) >= 4.5
        assert contrast(theme["linkColor"], tokens["background"]) >= 4.5
    colors = list(plots.CLASS_COLORS.values())
    assert config["theme"]["chartCategoricalColors"][:4] == colors[:4]
    assert config["server"]["address"] == "127.0.0.1"
    assert config["browser"]["gatherUsageStats"] is False


def test_streamlit_knows_every_option():
    """Each key of config.toml is an option of the installed Streamlit."""
    from streamlit import config as options

    def keys(table, prefix=""):
        for key, value in table.items():
            if isinstance(value, dict):
                yield from keys(value, f"{prefix}{key}.")
            else:
                yield f"{prefix}{key}"

    known = set(options._config_options_template)
    ours = set(keys(tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())))
    assert ours <= known, ours - known


def test_an_unvalidated_run_says_so():
    assert plots.live_options(run()[:5])["yAxis"][1]["name"] == "no validation yet"
    assert plots.live_options(run())["yAxis"][1]["name"] == "validation score"
