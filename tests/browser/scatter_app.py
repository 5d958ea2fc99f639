"""A page with maps of planted points, for tests/browser/test_scatter.py: ``?count=...&maps=...``."""

from collections.abc import Sequence

import numpy as np
import streamlit as st

from pages.ui.scatter import PICTURE_PX, Picture, Points, pictures_on_hover, scatter

PLANTED = 20
CLASSES = (("circle", (0x56, 0xB4, 0xE9)), ("square", (0xE6, 0x9F, 0x00)))


def positions(count: int, seed: int = 0) -> np.ndarray:
    """A cloud, and away from it the last 20 points on a small grid; float32 (count, 2)."""
    cloud = np.random.default_rng(seed).normal(0, 1, (count - PLANTED, 2))
    y, x = np.mgrid[:4, :5]
    planted = np.stack([8 + 0.25 * x.ravel(), 8 + 0.25 * y.ravel()], 1)
    return np.concatenate([np.clip(cloud, -4, 4), planted]).astype(np.float32)


def points(count: int, swapped: bool, seed: int = 0) -> Points:
    """Two classes in turn; ``swapped`` changes their colours."""
    order = CLASSES[::-1] if swapped else CLASSES
    looks = [[*colour, shape] for shape, (_, colour) in enumerate(order)]
    items = [{"label": f"class <b>{k}</b>", "color": "#888888", "shape": k, "count": count // 2, "look": looks[k]}
             for k in (0, 1)]  # fmt: skip
    return Points(positions(count, seed), np.array(looks, np.uint8)[np.arange(count) % 2],
                  {"kind": "classes", "items": items})  # fmt: skip


def look_up(rows: Sequence[int]) -> list[Picture]:
    """A grey square of its own for each point."""
    return [Picture((f"image {row}", "<i>words</i>"), np.full((PICTURE_PX, PICTURE_PX, 3), row % 256, np.uint8))
            for row in rows]  # fmt: skip


if __name__ == "__main__":
    st.set_page_config(layout="wide")
    count, maps = (int(st.query_params.get(name, default)) for name, default in (("count", "2000"), ("maps", "1")))
    swapped = st.toggle("Other colours", key="swapped")
    for number, cell in enumerate(st.columns(maps)):
        with cell:
            found = points(count, swapped, number)
            state = scatter(found, key=f"map{number}", group="all", title="planted", height=420)
            st.text(f"map {number}: {len(state.chosen)} chosen {state.chosen.tolist()[:25]}, picked {state.picked}")
    pictures_on_hover("all", "pictures", look_up)
