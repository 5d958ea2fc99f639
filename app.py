"""The dashboard's site map: page settings and navigation, nothing else. Run with ``streamlit run app.py``."""

from pathlib import Path

import streamlit as st

from pages.ui import tour
from pages.ui.warmup import warm_up

PAGES = {
    "overview": ("Overview", ":material/home:"),
    "simulate": ("Simulate", ":material/tune:"),
    "data": ("Data", ":material/photo_library:"),
    "analyse": ("Analyse", ":material/search:"),
    "train": ("Train", ":material/model_training:"),
    "runs": ("Runs", ":material/list:"),
    "evaluate": ("Evaluate", ":material/show_chart:"),
    "find": ("Find lenses", ":material/travel_explore:"),
    "superres": ("Super-resolution", ":material/grid_4x4:"),
    "embeddings": ("Embeddings", ":material/scatter_plot:"),
    "results": ("Results", ":material/leaderboard:"),
}

root = Path(__file__).parent
folder = root / "pages"
# A file, not a Material symbol: browsers would fetch a symbol's icon from fonts.gstatic.com.
st.set_page_config(page_title="DeepLense", page_icon=root / "assets" / "samples" / "icon.png", layout="wide")
current = st.navigation(
    [
        st.Page(folder / f"{name}.py", title=title, icon=icon, default=name == "overview")
        for name, (title, icon) in PAGES.items()
    ],
    position="top",
)
tour.bar(current.url_path)
current.run()
warm_up()
