"""Every figure of the project, in one look. Plotly for pages and reports, ECharts options for live curves.

In Streamlit draw with ``st.plotly_chart(figure, theme=None, config=PLOTLY_CONFIG)``: its own theme would
replace this one, and the default bar holds a button that sends the chart to a server.
"""

from deeplense_core.plots.classes import (
    class_bars,
    compare_figure,
    confusion_figure,
    score_figure,
)
from deeplense_core.plots.curves import (
    pr_figure,
    recovery_figure,
    reliability_figure,
    roc_figure,
    threshold_figure,
)
from deeplense_core.plots.decimate import CURVE_POINTS, decimate
from deeplense_core.plots.finders import (
    LEAKY,
    FinderCurve,
    finder_recovery_figure,
    finder_roc_figure,
    finder_style,
    finder_threshold_figure,
    stamp_leaky,
)
from deeplense_core.plots.live import live_options
from deeplense_core.plots.names import METRIC_DISPLAY, metric_label
from deeplense_core.plots.surveys import survey_figure
from deeplense_core.plots.theme import (
    CLASS_COLORS,
    CLASS_DASHES,
    CLASS_DISPLAY,
    CLASS_MARKERS,
    PLATE,
    PLOTLY_CONFIG,
    TOKENS,
    ClassStyle,
    class_style,
    empty_figure,
    finding,
    tokens,
)

__all__ = [
    "CLASS_COLORS",
    "CLASS_DASHES",
    "CLASS_DISPLAY",
    "CLASS_MARKERS",
    "CURVE_POINTS",
    "FinderCurve",
    "LEAKY",
    "METRIC_DISPLAY",
    "PLATE",
    "PLOTLY_CONFIG",
    "TOKENS",
    "ClassStyle",
    "class_bars",
    "class_style",
    "compare_figure",
    "confusion_figure",
    "decimate",
    "empty_figure",
    "finder_recovery_figure",
    "finder_roc_figure",
    "finder_style",
    "finder_threshold_figure",
    "finding",
    "live_options",
    "metric_label",
    "pr_figure",
    "recovery_figure",
    "reliability_figure",
    "roc_figure",
    "score_figure",
    "stamp_leaky",
    "survey_figure",
    "threshold_figure",
    "tokens",
]
