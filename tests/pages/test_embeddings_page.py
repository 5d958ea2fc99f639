"""The embeddings page: an empty workspace, a map of planted points, and what a choice leads to."""

import base64
import json

import numpy as np
import pytest
from trained_run import ring_set, said

from deeplense_core import inspection
from deeplense_core.embeddings import SAMPLE, making
from deeplense_core.embeddings.store import COLUMN, Embedding, embeddings_dir, open_embedding, write_npz
from deeplense_core.embeddings.tags import tags
from pages.ui import embedding_making, embedding_points
from pages.ui.scatter import state_of, unpack_rows


def made(count: int = 60) -> Embedding:
    """An embedding of the rings as a network of two numbers would give it; its PCA map is drawn."""
    from deeplense_core.embeddings.project import project

    dataset = ring_set(count)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(count, 4)).astype(np.float32) + dataset.labels[:, None].astype(np.float32) * 5
    raw = embeddings_dir() / "raw"
    raw.write_bytes(vectors.tobytes())
    outputs = rng.normal(size=(count, 3)).astype(np.float32)
    about = {"format": 1, "kind": "dataset", "data": [str(dataset.path)], "fingerprint": dataset.fingerprint,
             "model": "common-test", "weights": "", "task": "classify", "classes": list(dataset.classes),
             "count": count,
             "size": 4, "digest": f"digest-{count}", "temperature": 1.0, "created": "2026-01-01"}  # fmt: skip
    path = embeddings_dir() / "rings.npz"
    arrays = {"ids": np.array(list(dataset.catalog["id"])), "labels": np.array(list(dataset.catalog["label"])),
              "paths": np.array([""] * count), "outputs": outputs, "about": np.array(json.dumps(about)),
              COLUMN + "theta_E": np.where(np.arange(count) % 7, 1.0, np.nan)}  # fmt: skip
    write_npz(path, arrays, [("vectors", (count, 4), raw)])
    raw.unlink()
    project(open_embedding(path), "pca")
    return open_embedding(path)


def packed(rows) -> str:
    """What the browser sends for these rows."""
    data, last = bytearray(), -1
    for row in rows:
        step, last = row - last, row
        while step > 127:
            data.append(step & 127 | 128)
            step >>= 7
        data.append(step)
    return base64.b64encode(bytes(data)).decode()


def answer(rows, group: str, picked: int = -1) -> dict:
    return {"serial": 3, "group": group, "rows": packed(rows), "size": len(rows), "picked": picked}


@pytest.mark.parametrize("rows", [[], [0], [127], [128, 129], [3, 500, 99_999], list(range(1000)), [2**20]])
def test_rows_come_back_as_they_were_sent(rows):
    assert unpack_rows(packed(rows)).tolist() == rows


def test_what_the_browser_says_of_other_images_counts_for_nothing():
    assert state_of(answer([1, 2], "a", 2), "a", 10).chosen.tolist() == [1, 2]
    assert state_of(answer([1, 2], "a", 2), "a", 10).picked == 2
    assert state_of(answer([1, 2], "a", 2), "b", 10).picked is None
    assert len(state_of(answer([1, 2], "a"), "b", 10).chosen) == 0
    assert state_of(answer([1, 12], "a", 12), "a", 10).chosen.tolist() == [1]


def test_classes_have_their_own_colours_and_shapes():
    looks, legend = embedding_points.words(np.array(["sphere", "no", "sphere", ""]), "class")
    assert [item["count"] for item in legend["items"]] == [2, 1, 1]
    assert legend["items"][0]["color"] == "#E69F00"
    assert looks[0].tolist() == [0xE6, 0x9F, 0x00, 1] == looks[2].tolist()
    assert looks[1, 3] == 0
    assert legend["items"][-1]["label"] == "unlabelled"


def test_numbers_run_through_the_colours_and_unknown_ones_are_grey():
    values = np.array([0.0, 0.5, 1.0, np.nan])
    looks, legend = embedding_points.numbers(values, "score", "dark")
    assert looks[3].tolist() == [0x8A, 0x8F, 0x98, 7]
    assert looks[0, :3].tolist() != looks[1, :3].tolist() != looks[2, :3].tolist()
    assert legend["missing"] == 1
    same, _ = embedding_points.numbers(np.full(3, 2.0), "score", "light")
    assert len(np.unique(same, axis=0)) == 1


def test_an_empty_workspace_offers_one_click(open_page, monkeypatch):
    started = []
    monkeypatch.setattr(embedding_making, "start", lambda *args: started.append(args))
    app = open_page("embeddings")
    assert not app.error
    app.button(key="embeddings_sample").click().run()
    assert not app.exception
    model, data, out, method, total, count = started[0]
    assert (model, data, method, total, count) == ("common-test", ["sim:common-test"], "pca", SAMPLE, SAMPLE)
    assert out.parent == embeddings_dir()


def test_the_map_and_what_a_choice_leads_to(open_page):
    embedding = made()
    group = embedding.about["digest"]
    app = open_page("embeddings")
    assert not app.error
    assert "cannot tell" in said(app)
    assert app.selectbox(key="embeddings_colour").options[:2] == ["class", "predicted class"]
    for by in app.selectbox(key="embeddings_colour").options:
        app.selectbox(key="embeddings_colour").set_value(by).run()
        assert not app.exception
    app.text_input(key="embeddings_find").set_value("nothing like it").run()
    assert "No image" in said(app)
    app.session_state["embeddings_pca"] = {"chosen": answer([3, 4, 5], group)}
    assert state_of(answer([3, 4, 5], group), group, 60).chosen.tolist() == [3, 4, 5]


def test_chosen_images_are_tagged_marked_and_taken_back(workspace):
    from streamlit.testing.v1 import AppTest

    made()

    def view():
        import numpy as np

        from deeplense_core.embeddings.store import list_embeddings
        from pages.ui.embedding_views import Asked, chosen_view, neighbours_view

        embedding = list_embeddings()[0]
        chosen_view(embedding, np.array([3, 4, 9]))
        neighbours_view(embedding, Asked("three", np.asarray(embedding.vectors[3]), 3))

    app = AppTest.from_function(view, default_timeout=120).run()
    assert not app.exception
    assert "3 images chosen: 2 no substructure, 1 subhalo" in said(app)
    app.text_input(key="embeddings_tag_word").set_value("ring :red[x]")
    app.button(key="embeddings_tag_do").click().run()
    assert not app.exception
    embedding = open_embedding(embeddings_dir() / "rings.npz")
    assert set(tags(embedding).values()) == {"ring :red[x]"}
    assert len(tags(embedding)) == 3
    app.button(key="embeddings_mark").click().run()
    assert [one.name for one in inspection.marked()] == [str(embedding.ids[row]) for row in (3, 4, 9)]
    app.button(key="embeddings_undo").click().run()
    assert inspection.marked() == []
    assert "Most like three" in said(app)


def test_a_folder_that_is_not_there_is_said(workspace):
    from deeplense_core.errors import UserError

    with pytest.raises(UserError, match="nothing at"):
        embedding_making.begin("common-test", "/no/such/folder", "pca")
    assert making.list_makings() == []
