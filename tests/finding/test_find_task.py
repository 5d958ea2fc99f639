"""The find task from plan to answer, with and without features beside the image."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import torch
from tiny_finds import BANDS, FUSION, TINY, discs, write

from deeplense_core import examine, train
from deeplense_core.calibrate import calibrate
from deeplense_core.errors import UserError
from deeplense_core.evaluate import evaluate
from deeplense_core.evaluations.predictions import evaluations
from deeplense_core.features import robust_scale
from deeplense_core.images import LensImage
from deeplense_core.losses.classes import balancing_weights, class_loss
from deeplense_core.metrics.logistic import logistic
from deeplense_core.runs import Run
from deeplense_core.trained import load_model


@pytest.fixture(scope="session")
def finds(tmp_path_factory):
    return write(tmp_path_factory.mktemp("sets") / "discs").path


def run_of(data, model="fusion-attention", seed=0, **settings) -> Run:
    own = FUSION if model == "fusion-attention" else TINY
    return Run.create(train.plan("find", str(data), model, {**own, **settings}, seed=seed, device="cpu"))


def test_a_fusion_network_learns_and_is_scored_beside_its_baselines(finds):
    run = run_of(finds, epochs=12, lr=0.01)
    assert train.train(run) == "done"
    calibrate(run.id)
    report = evaluate(run.id, str(finds))
    assert report["metrics"]["auroc"]["value"] > 0.9
    assert {"auprc", "tpr0", "tpr10", "ece", "rotation_change"} <= set(report["metrics"])
    assert {"chance", "brightness and colours of the pixels", "features of the catalogue, logistic regression",
            "one orientation instead of the mean over eight"} == set(report["rows"])  # fmt: skip
    saved = np.load(evaluations(run.id)[0][0] / "predictions.npz")
    is_lens = saved["labels"] == 0
    np.testing.assert_array_equal(np.isfinite(saved["truth_theta_E"]), is_lens)
    np.testing.assert_allclose(saved["scores"], saved["probabilities"][:, 0])
    assert "leaky" not in report


def test_images_alone_get_measured_features_and_an_unknown_column_is_no_zero(finds):
    run = run_of(finds)
    train.train(run)
    model = load_model(run.id)
    assert model.features == ("feature_snr_r", "feature_residual_snr_g", "feature_colour_g_r", "feature_age")
    images, _ = discs(6, 5)
    alone = model.logits(images)
    from deeplense_core.photometry import measure

    known = measure(images, BANDS)
    np.testing.assert_allclose(model.logits(images, columns=known), alone, rtol=1e-5, atol=1e-6)
    young = model.logits(images, columns={**known, "feature_age": np.zeros(6)})
    assert np.abs(young - alone).max() > 1e-4
    answers = model.predict(images, 0.2)
    assert len(answers) == 6
    assert sum(answers[0].probabilities) == pytest.approx(1)


def test_pixels_without_data_are_said_and_change_no_other(finds):
    run = run_of(finds, "d4net", width=2, radii=16, angles=64, epochs=1)
    train.train(run)
    model = load_model(run.id)
    images, _ = discs(2, 5)
    images[:, 2] = np.nan
    fitted, warnings = model.fit(images, 0.2)
    assert np.isfinite(fitted).all()
    assert np.ptp(fitted[:, 2]) == 0
    assert any("33.3 % of the pixels carry no data" in text for text in warnings)
    assert np.isfinite(model.logits(fitted)).all()


def test_resume_is_exact(finds, monkeypatch):
    whole, broken = run_of(finds, noise=0.1, rotation=True), run_of(finds, noise=0.1, rotation=True)
    train.train(whole)
    asked = iter([False] * 4 + [True])
    with monkeypatch.context() as patch:
        patch.setattr(Run, "should_stop", lambda self: next(asked))
        assert train.train(broken) == "cancelled"
    assert train.train(broken) == "done"
    assert broken.read_file("model.safetensors") == whole.read_file("model.safetensors")
    ends = [torch.load(io.BytesIO(run.latest_checkpoint() or b""), weights_only=True)["net"] for run in (whole, broken)]
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())


def test_truth_as_a_feature_is_refused_or_stamped(finds):
    with pytest.raises(UserError, match="is_lens is known.*gives the answer away"):
        run_of(finds, features="is_lens, snr_r")
    run = run_of(finds, features="is_lens, snr_r", leaky_ablation=True, epochs=1)
    train.train(run)
    assert json.loads(run.read_file("model.json"))["leaky"] is True
    report = evaluate(run.id, str(finds))
    assert report["leaky"] is True


def test_what_cannot_serve_is_said(finds, tmp_path):
    from deeplense_core.data import DatasetWriter

    with DatasetWriter(tmp_path / "other", classes=("no", "sphere"), shape=(1, 8, 8), source={}) as out:
        out.append(np.random.default_rng(0).normal(size=(4, 1, 8, 8)), {"label": ["no", "sphere"] * 2})
        other = out.finish()
    with pytest.raises(UserError, match="finding tells lens from nonlens"):
        run_of(other.path)
    with pytest.raises(UserError, match="Unknown setting 'features'"):
        run_of(finds, "d4net", features="snr_r")
    with pytest.raises(UserError, match="not made for task 'classify'"):
        train.plan("classify", str(finds), "fusion-resnet", {})


def test_what_carried_a_decision_lies_on_the_image(finds):
    run = run_of(finds)
    train.train(run)
    image = LensImage(discs(1, 5)[0][0], 0.2, BANDS, {})
    seen, shares = examine.carried(load_model(run.id), image, "lens")
    assert seen.shape == (24, 24)
    assert seen.max() <= 1.01
    assert list(shares) == list(load_model(run.id).features)
    assert 0 <= sum(share for _, share in shares.values()) <= 1
    assert np.isnan(shares["feature_age"][0])
    assert shares["feature_age"][1] == 0  # unknown: the seed's network cannot have used it
    assert examine.evidence_map(load_model(run.id), image, "lens", "grad-cam").shape == (24, 24)


# Losses ---------------------------------------------------------------------------------------------


def test_losses_leave_unlabelled_images_out_and_weigh_the_rare():
    logits, labels = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 3.0]]), torch.tensor([0, 0, -1])
    plain = class_loss(logits, labels)
    assert float(plain) == pytest.approx(float(torch.nn.functional.cross_entropy(logits[:2], labels[:2])))
    p = logits.softmax(1)[:2, 0]
    assert float(class_loss(logits, labels, gamma=2.0)) == pytest.approx(float((-(1 - p) ** 2 * p.log()).mean()))
    weights = balancing_weights(torch.tensor([0, 1, 1, 1, -1, -1]), 2)
    assert weights.tolist() == pytest.approx([2.0, 2 / 3])
    both = torch.tensor([0, 1])
    want = torch.nn.functional.cross_entropy(logits[:2], both, weight=weights)
    assert float(class_loss(logits[:2], both, weights)) == pytest.approx(float(want))
    nothing = class_loss(logits.requires_grad_(), torch.full((3,), -1))
    nothing.backward()
    assert float(nothing.detach()) == 0


def test_the_scale_of_features_stands_outliers_and_empty_columns():
    matrix = np.stack([np.append(np.linspace(-1, 1, 99), 1e9), np.full(100, np.nan), np.full(100, 3.0)], 1)
    centre, spread = robust_scale(matrix)
    assert centre[0] == pytest.approx(0, abs=0.02)
    assert spread[0] == pytest.approx(1 / 1.349, rel=0.05)
    assert (centre[1:].tolist(), spread[1:].tolist()) == ([0, 3], [1, 1])


def test_the_regression_is_scikit_learns():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3))
    y = x[:, 0] - 0.5 * x[:, 1] + rng.logistic(size=300) > 1
    weights, offset = logistic(x, y, balanced=True)
    want = LogisticRegression(class_weight="balanced", tol=1e-10, max_iter=1000).fit(x, y)
    np.testing.assert_allclose([*weights, offset], [*want.coef_[0], *want.intercept_], atol=2e-4)
