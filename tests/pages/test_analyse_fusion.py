"""Networks that see features beside the image show on the analyse page which of them carried a decision."""

import io

import numpy as np
import pytest

from deeplense_core.runs import Run
from deeplense_core.train import plan, train
from deeplense_core.workspace import datasets_dir
from tests.finding.tiny_finds import FUSION, discs, write


@pytest.fixture
def finder(workspace) -> Run:
    data = write(datasets_dir() / "discs", 60).path
    run = Run.create(plan("find", str(data), "fusion-attention", {**FUSION, "epochs": 1}, device="cpu"))
    train(run)
    return run


def test_features_are_shown_by_their_share_of_the_decision(open_page, finder):
    app = open_page("analyse", run=finder.id)
    file = io.BytesIO()
    np.save(file, discs(1, 5)[0][0])
    box = app.file_uploader(key="analyse_upload")
    app = box.set_value([("disc.npy", file.getvalue(), "application/octet-stream")]).run()
    app.button_group(key="analyse_view").set_value("Evidence").run()
    kinds = app.selectbox(key="analyse_evidence")
    assert kinds.options == ["Grad-CAM", "Occlusion", "Attention"]
    kinds.set_value("attention").run()
    assert not app.exception, app.exception
    assert not app.error, [error.value for error in app.error]
    table = app.dataframe[-1].value
    assert set(table["Feature"]) == {"snr r", "residual snr g", "colour g r", "age"}
    assert table.set_index("Feature").loc["age", "In this image"] == "unknown"
    assert table["Share"].is_monotonic_decreasing
    assert any("of the decision went through features" in text.value for text in app.caption)
