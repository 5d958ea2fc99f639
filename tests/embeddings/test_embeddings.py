"""Embeddings by the commands' own functions: one file, exact neighbours, maps that repeat, work taken up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deeplense_core.data import DatasetWriter
from deeplense_core.embeddings import embed as embedding_module
from deeplense_core.embeddings import similar as similar_module
from deeplense_core.embeddings.ask import query_vector, similar
from deeplense_core.embeddings.embed import embed, embed_images
from deeplense_core.embeddings.facts import catalog_rows, fact, fact_names, probabilities
from deeplense_core.embeddings.pictures import images_of
from deeplense_core.embeddings.project import map_file, memberships, neighbour_graph, place, project
from deeplense_core.embeddings.similar import Index, distances
from deeplense_core.embeddings.store import mapped, open_embedding, write_npz
from deeplense_core.embeddings.tags import tag, tags, undo
from deeplense_core.errors import UserError
from deeplense_core.images import LensImage
from deeplense_core.trained import load_model
from deeplense_core.workspace import datasets_dir

CLASSES = ("no", "sphere", "vort")


@pytest.fixture(scope="module")
def network():
    return load_model("common-test")


def lenses(count: int, seed: int = 0) -> np.ndarray:
    """Rings with noise at the training scale, float32 (count, 1, 150, 150)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:150, :150] - 74.5
    rings = [np.exp(-(((np.hypot(x, y) - radius) / 6) ** 2)) for radius in rng.uniform(15, 40, count)]
    return (np.array(rings)[:, None] + rng.normal(0, 0.01, (count, 1, 150, 150))).astype(np.float32)


@pytest.fixture
def dataset(workspace):
    writer = DatasetWriter(datasets_dir() / "rings", classes=CLASSES, shape=(1, 150, 150), source={"kind": "test"},
                           pixel_scale_arcsec=0.05)  # fmt: skip
    with writer:
        labels = np.array(CLASSES)[np.arange(10) % 3]
        writer.append(lenses(10), {"label": labels, "truth_theta_E": np.arange(10.0)})
        return writer.finish()


@pytest.fixture
def made(dataset, network, workspace):
    return embed(network, [str(dataset.path)], workspace / "rings.npz").embedding


def test_a_data_set_becomes_one_file_that_numpy_opens(made, dataset, network):
    with np.load(made.path) as file:
        assert file["ids"].tolist() == dataset.catalog["id"].tolist()
        vectors = file["vectors"]
    assert vectors.dtype == np.float32
    wanted, outputs = embed_images(network, [LensImage(image, 0.05) for image in dataset.images])
    np.testing.assert_allclose(vectors, wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(made.outputs, outputs, rtol=1e-4, atol=1e-4)
    assert np.array_equal(made.vectors, vectors)
    assert isinstance(made.vectors, np.memmap)
    assert made.vectors.flags.aligned
    assert made.vectors.offset % 64 == 0
    assert made.labels.tolist() == dataset.catalog["label"].tolist()
    assert made.column("truth_theta_E").tolist() == list(range(10))


def test_interrupted_work_is_taken_up_where_it_stopped(dataset, network, workspace, made, monkeypatch):
    monkeypatch.setattr(embedding_module, "BATCH", 4)
    out = workspace / "again.npz"

    def stop(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed(network, [str(dataset.path)], out, progress=stop)
    assert not out.exists()
    torn = out.with_name("again.npz.part.vectors")
    torn.write_bytes(torn.read_bytes() + b"torn")
    again = embed(network, [str(dataset.path)], out)
    assert again.taken_up == 4
    np.testing.assert_allclose(again.embedding.vectors, made.vectors, rtol=1e-4, atol=1e-5)
    assert [path.name for path in workspace.glob("again*")] == ["again.npz"]


def test_files_of_all_kinds_with_a_bad_one_among_them(tmp_path, network, workspace):
    images = lenses(3)
    (tmp_path / "a").mkdir()
    np.save(tmp_path / "a" / "one.npy", images[0, 0])
    np.save(tmp_path / "three bands.npy", np.concatenate([images[1]] * 3))
    np.save(tmp_path / "small.npy", images[2, 0, ::2, ::2])
    (tmp_path / "broken.npy").write_bytes(b"nothing")
    found = embed(network, [str(tmp_path)], workspace / "files.npz", pixel_scale_arcsec=0.05)
    assert found.failed == 1
    assert "broken.npy" in found.failed_file.read_text()
    made = found.embedding
    assert made.ids.tolist() == ["small.npy", "three bands.npy", "a/one.npy"]
    assert made.column("folder").tolist() == [tmp_path.name, tmp_path.name, "a"]
    shown = images_of(made, [2, 1])
    np.testing.assert_array_equal(shown[0].pixels[0], images[0, 0])
    assert shown[1].pixels.shape == (3, 150, 150)
    vector = query_vector(made, shown[1], 0.05)  # one band of a network gets the mean of three
    np.testing.assert_allclose(vector, made.vectors[1], rtol=1e-4, atol=1e-5)
    asked = similar(made, str(tmp_path / "a" / "one.npy"), 2, pixel_scale_arcsec=0.05)
    assert asked["neighbours"][0]["id"] == "a/one.npy"
    assert asked["neighbours"][0]["distance"] == pytest.approx(0, abs=1e-5)


def test_a_network_of_other_weights_is_refused(made, network):
    changed = type(made)(made.path, {**made.about, "weights": "others"})
    with pytest.raises(UserError, match="other weights"):
        query_vector(changed, LensImage(lenses(1)[0], 0.05))
    with pytest.raises(UserError, match="makes images of images"):
        embed(load_model("bicubic"), ["x"], Path("y.npz"))


def brute(vectors, query, metric, k):
    away = distances(query, vectors, metric)
    return np.lexsort((np.arange(len(away)), away))[:k], np.sort(away)[:k]


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("codes", [False, True])
def test_neighbours_are_those_of_brute_force(metric, codes, monkeypatch):
    if codes:
        monkeypatch.setattr(similar_module, "PLAIN", 100)
    rng = np.random.default_rng(1)
    vectors = rng.normal(3, 1, (3000, 24)).astype(np.float32)
    vectors[50:60] = vectors[50]  # equal ones come in the order of their rows
    vectors[60] = 0
    index = Index(vectors, metric)
    assert (index.coded is not None) == codes
    for query in (vectors[50], vectors[7], rng.normal(0, 1, 24).astype(np.float32), 100 * vectors[3]):
        rows, away = brute(vectors, query, metric, 12)
        found = index.nearest(query, 12)
        assert found.rows[0].tolist() == rows.tolist()
        np.testing.assert_allclose(found.distances[0], away, atol=1e-12)


def test_codes_are_kept_and_bound_their_rounding(tmp_path, monkeypatch):
    monkeypatch.setattr(similar_module, "PLAIN", 100)
    vectors = np.random.default_rng(2).normal(0, 1, (500, 16)).astype(np.float32)
    first = Index(vectors, "l2", tmp_path / "kept")
    codes, rounding = first.coded
    assert np.linalg.norm(codes.reconstruct_n(0, 500) - vectors, axis=1).max() == pytest.approx(rounding)
    monkeypatch.setattr(similar_module, "_make_codes", None)
    assert Index(vectors, "l2", tmp_path / "kept").nearest(vectors[9], 1).rows.tolist() == [[9]]


def test_questions_that_cannot_be_answered(made):
    with pytest.raises(UserError, match="Unknown metric"):
        Index(made.vectors, "euclid")
    with pytest.raises(UserError, match="another network"):
        Index(made.vectors).nearest(np.zeros(3), 1)
    with pytest.raises(UserError, match="no file of that name"):
        similar(made, "nobody")
    assert str(made.ids[2]) not in [one["id"] for one in similar(made, str(made.ids[2]), 5)["neighbours"]]


def test_pca_is_the_plane_of_largest_spread_and_is_kept(made):
    drawn = project(made, "pca")
    centred = made.vectors - made.vectors.mean(0)
    values = np.linalg.svd(centred, compute_uv=False)[:2]
    np.testing.assert_allclose(np.linalg.norm(drawn.positions, axis=0), values, rtol=1e-3)
    kept = map_file(made, "pca")
    before = kept.stat().st_mtime_ns
    assert np.array_equal(project(made, "pca").positions, drawn.positions)
    assert kept.stat().st_mtime_ns == before
    moved = place(drawn, Index(made.vectors, "l2"), np.asarray(made.vectors[:3]))
    np.testing.assert_allclose(moved, drawn.positions[:3], rtol=1e-3, atol=1e-4)


def test_tsne_repeats_and_places_its_own_points_where_they_lie(made):
    drawn = project(made, "tsne", {"perplexity": 2})
    map_file(made, "tsne", {"perplexity": 2}).unlink()
    assert np.array_equal(project(made, "tsne", {"perplexity": 2}).positions, drawn.positions)
    index = Index(made.vectors, "l2")
    np.testing.assert_allclose(place(drawn, index, np.asarray(made.vectors[4:6])), drawn.positions[4:6], rtol=1e-5)
    between = place(drawn, index, made.vectors.mean(0))[0]
    assert (between >= drawn.positions.min(0)).all()
    assert (between <= drawn.positions.max(0)).all()
    with pytest.raises(UserError, match="perplexity"):
        project(made, "tsne", {"perplexity": 1})
    with pytest.raises(UserError, match="no settings"):
        project(made, "pca", {"neighbours": 3})


@pytest.mark.long
def test_umap_repeats_and_keeps_groups_together(workspace):
    from deeplense_core.embeddings.project import METHODS, UmapConfig

    rng = np.random.default_rng(0)
    labels = np.arange(300) % 3
    vectors = (20 * np.eye(3, 8)[labels] + rng.normal(0, 1, (300, 8))).astype(np.float32)
    first, second = (METHODS["umap"].build(vectors, UmapConfig(), 0)["positions"] for _ in range(2))
    assert np.array_equal(first, second)
    rows, _ = neighbour_graph(first, 6)
    assert (labels[rows] == labels[:, None]).mean() > 0.99


def test_graph_names_each_point_first_and_its_true_neighbours():
    vectors = np.random.default_rng(3).normal(50, 1, (200, 6)).astype(np.float32)
    rows, away = neighbour_graph(vectors, 5)
    assert rows[:, 0].tolist() == list(range(200))
    true = np.sort(np.linalg.norm(vectors[:, None] - vectors[None], axis=2), axis=1)[:, :5]
    np.testing.assert_allclose(away, true, atol=2e-3)


def test_weights_of_neighbours_add_up_as_umap_has_it():
    away = np.sort(np.random.default_rng(4).uniform(1, 3, (20, 15)), axis=1)
    weights = memberships(away)
    np.testing.assert_allclose(weights.sum(1), np.log2(15), rtol=1e-6)
    assert (weights[:, 0] == 1).all()


def test_facts_of_images(made):
    found = probabilities(made)
    np.testing.assert_allclose(found.sum(1), 1)
    assert fact_names(made)[:5] == ["class", "predicted class", "score", "right or wrong", "error"]
    true = np.array([CLASSES.index(str(label)) for label in made.labels])
    np.testing.assert_allclose(fact(made, "error"), -np.log(np.maximum(found[np.arange(10), true], 1e-12)))
    assert (fact(made, "right or wrong") == np.where(found.argmax(1) == true, "right", "wrong")).all()
    row = catalog_rows(made, [4], {str(made.ids[4]): "odd"})[0]
    assert (row["name"], row["tag"], row["label"]) == (made.ids[4], "odd", made.labels[4])
    with pytest.raises(UserError, match="knows no"):
        fact(made, "colour")


def test_tags_are_kept_changed_and_taken_back(made):
    first = tag(made, [0, 1], "odd")
    second = tag(made, [1], "even")
    assert tags(made) == {str(made.ids[0]): "odd", str(made.ids[1]): "even"}
    undo(made, second)
    assert set(tags(made).values()) == {"odd"}
    undo(made, first)
    assert tags(made) == {}
    with pytest.raises(UserError, match="at most"):
        tag(made, [0], "x" * 41)


def test_files_that_are_none(tmp_path, made):
    (tmp_path / "bad.npz").write_bytes(b"no")
    with pytest.raises(UserError, match="damaged"):
        open_embedding(tmp_path / "bad.npz")
    write_npz(tmp_path / "map.npz", {"about": np.array('{"format": 1, "method": "pca"}')})
    with pytest.raises(UserError, match="no embedding"):
        open_embedding(tmp_path / "map.npz")
    assert mapped(made.path, "outputs").shape == (10, 3)
