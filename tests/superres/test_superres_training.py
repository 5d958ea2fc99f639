"""Training against a discriminator: it warms up, learns, and goes on bit for bit where it was stopped."""

import dataclasses
import io
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from deeplense_core import train
from deeplense_core.augment import d4
from deeplense_core.data import DatasetWriter, open_dataset
from deeplense_core.errors import UserError
from deeplense_core.metrics.superres import data_range, ssim
from deeplense_core.models import MODELS, build_model, learns
from deeplense_core.models.interpolation import enlarge
from deeplense_core.runs import Run
from deeplense_core.sources import describe, stored_images
from deeplense_core.tasks import superres_scores
from deeplense_core.tasks.superres import SuperResTask, cut_patches, turn_together
from deeplense_core.tasks.superres_scores import noise_floor
from deeplense_core.trained import load_model

SMALL = {"width": 4, "growth": 4, "blocks": 1, "crop": 8, "batch_size": 4, "epochs": 2, "warm_up": 0.25,
         "adversarial": 0.3, "perceptual": 0.5, "perceptual_layer": "conv1_2", "compile": "off",
         "precision": "float32"}  # fmt: skip


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Rings of 16 x 16 and their means over 2 x 2, each with noise of its own."""
    rng, count = np.random.default_rng(0), 36
    y, x = np.mgrid[:16, :16] - 7.5
    high = 100 * np.exp(-((np.hypot(x, y) - rng.uniform(3, 6, (count, 1, 1))) ** 2))[:, None]
    low = high.reshape(count, 1, 8, 2, 8, 2).mean((3, 5))
    truth = {"truth_sky": 10.0, "truth_hr_counts_per_unit": 1.0, "truth_lr_counts_per_unit": 4.0}
    rows = {"label": [""] * count, "split": ["train"] * 20 + ["val"] * 16,
            **{name: np.full(count, value) for name, value in truth.items()}}  # fmt: skip
    folder = tmp_path_factory.mktemp("pairs") / "rings"
    with DatasetWriter(folder, classes=(), shape=(1, 8, 8), target_shape=(1, 16, 16), source={"kind": "test"}) as out:
        out.append(low + rng.normal(0, 1, low.shape), rows, high + rng.normal(0, 2, high.shape))
        out.finish()
    return folder


def state(run: Run) -> dict:
    raw = run.latest_checkpoint()
    assert raw is not None
    return torch.load(io.BytesIO(raw), weights_only=True)


def same(a, b) -> bool:
    """Equal bit for bit, whatever they hold."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or (isinstance(a, float) and math.isnan(a) and math.isnan(b))


@pytest.mark.parametrize("stop_at", [1, 4, 7])
def test_generator_discriminator_and_optimizer_resume_bit_for_bit(pairs, quick_features, monkeypatch, stop_at):
    """Stopped in the warm-up, with the discriminator at work, and in the second epoch; 5 steps are an epoch."""
    whole, broken = (Run.create(train.plan("superres", str(pairs), "esrgan", SMALL, seed=3, device="cpu"))
                     for _ in range(2))  # fmt: skip
    assert train.train(whole) == "done"
    asked = iter([False] * (stop_at - 1) + [True])
    with monkeypatch.context() as patch:
        patch.setattr(Run, "should_stop", lambda self: next(asked))
        assert train.train(broken) == "cancelled"
    assert train.train(broken) == "done"
    ends = state(whole), state(broken)
    assert ends[0].keys() == ends[1].keys()
    assert {"companion", "optimizer"} <= ends[0].keys()
    for part in ends[0]:
        assert same(ends[0][part], ends[1][part]), part
    assert whole.read_file("model.safetensors") == broken.read_file("model.safetensors")


def test_the_discriminator_learns_after_the_warm_up_and_is_watched(pairs, quick_features, monkeypatch):
    monkeypatch.setattr(train.Pace, "EVERY_S", 0.0)
    run = Run.create(train.plan("superres", str(pairs), "esrgan", SMALL, seed=3, device="cpu"))
    train.train(run)
    rows = run.metrics("train")
    watched = [row for row in rows if "discriminator_accuracy" in row]
    assert watched
    assert len(watched) < len(rows), "there is no warm-up"
    assert all(0 <= row["discriminator_accuracy"] <= 1 for row in watched)
    torch.manual_seed(3)
    job = train.setup(run.spec)
    assert job.companion is not None
    before, after = job.companion.state_dict(), state(run)["companion"]
    assert any(not torch.equal(before[name], after[name]) for name in before if name.endswith("original"))
    assert run.status.best_name == "closeness", "where images shall look right, PSNR does not choose the epoch"
    assert "perceptual_weights" in run.read_file("model.json").decode()


def test_patches_too_small_for_the_discriminator_are_refused(pairs):
    with pytest.raises(UserError, match=r"patches of 14 fine pixels and needs 16"):
        train.plan("superres", str(pairs), "esrgan", {**SMALL, "crop": 7})
    assert train.plan("superres", str(pairs), "esrgan", {**SMALL, "crop": 7, "adversarial": 0})


@pytest.mark.parametrize("name", [*(n for n, e in MODELS.items() if "superres" in e.about["tasks"] and learns(e)
                                    and n != "cascade"), "cascade:srcnn+edsr"])  # fmt: skip
@pytest.mark.parametrize("scale", [2, 4])
def test_what_is_saved_is_loaded(name, scale):
    nets = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        net = build_model(name, {}, in_channels=2, scale=scale, unit=50.0).eval()
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, 0, 0.05)
        nets.append(net)
    images = 50 * torch.rand(1, 2, 12, 10)
    with torch.no_grad():
        assert not torch.equal(nets[0](images), nets[1](images))
        nets[1].load_state_dict(load(save({k: v.contiguous() for k, v in nets[0].state_dict().items()})))
        assert torch.equal(nets[0](images), nets[1](images))


def test_patches_that_re_observation_leaves_nothing_of_are_refused():
    """The loss became NaN, and the message spoke of the learning rate."""
    settings = {"crop": 16, "batch_size": 4, "physics": 0.1, "compile": "off", "precision": "float32"}
    with pytest.raises(UserError, match=r"the outer [678] coarse pixels, .* and the patches have 16. Set crop to"):
        train.setup(train.plan("superres", "sim:sr-survey", "srcnn", settings, device="cpu"))
    assert train.setup(train.plan("superres", "sim:sr-survey", "srcnn", {**settings, "crop": 24}, device="cpu"))


@pytest.mark.parametrize("known", ["the noise of every pixel", "that of the sky", "the exposure alone"])
def test_the_noise_floor_of_validation_is_that_of_the_evaluation(pairs, known):
    columns = {"the noise of every pixel": {"truth_sky": 10.0, "truth_hr_counts_per_unit": 4.0},
               "that of the sky": {"hr_noise": 1.5}, "the exposure alone": {"truth_hr_counts_per_unit": 4.0}}[known]
    part = stored_images(open_dataset(pairs), "val", labelled=False)
    part = dataclasses.replace(part, columns={name: np.full(len(part), value) for name, value in columns.items()})
    observed = np.concatenate(list(part.target_blocks(99)))
    task = SuperResTask({"batch_size": 4, "crop": 8}, describe(str(pairs)))
    found = task.score(observed + 1, part)
    floor = noise_floor(observed, part.columns, data_range(observed))
    if known == "the exposure alone":
        assert np.isnan(floor).all()
        assert "psnr_floor" not in found
    else:
        assert found["psnr_floor"] == pytest.approx(floor.mean())
        variance = 1.5**2 if "sky" in known else (observed.mean((1, 2, 3)) + 10) / 4
        np.testing.assert_allclose(10 ** (-floor / 10) * data_range(observed) ** 2, variance, rtol=1e-6)


def test_the_loss_in_bfloat16_is_that_in_float32():
    """Brightness in sigmas: the re-observation of a bright pixel in bfloat16 was off by more than its noise."""
    settings = {"physics": 1.0, "batch_size": 4, "crop": 32, "compile": "off", "precision": "float32"}
    job = train.setup(train.plan("superres", "sim:sr-pairs", "srcnn", settings, device="cpu"))
    batch, said = job.source.batch(0, 0, 4, 1), []
    for rounded in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=rounded):
            out = job.task.step(torch.nn.Upsample(scale_factor=2), batch, torch.Generator().manual_seed(0), 0.0)
        said.append({name: float(value) for name, value in out.logs.items()} | {"loss": float(out.loss)})
    assert said[1] == pytest.approx(said[0], rel=1e-4)


@pytest.mark.parametrize("shape", [(9, 9), (9, 12)])
def test_patches_of_both_images_show_the_same_sky(shape):
    """Cut and turned together; and each pair has a place and a turn of its own."""
    low = torch.rand(12, 2, *shape)
    high = low.repeat_interleave(3, -2).repeat_interleave(3, -1)
    generator = torch.Generator().manual_seed(0)
    small, fine = cut_patches(low, high, 4, 3, generator)
    assert (small.shape, fine.shape) == ((12, 2, 4, 4), (12, 2, 12, 12))
    assert torch.equal(torch.nn.functional.avg_pool2d(fine, 3), torch.nn.functional.avg_pool2d(
        small.repeat_interleave(3, -2).repeat_interleave(3, -1), 3))  # fmt: skip
    places = [(low[i, 0, :, :] == small[i, 0, 0, 0]).nonzero()[0].tolist() for i in range(12)]
    assert len({tuple(place) for place in places}) > 4
    assert {row for row, _ in places} != {0}
    turned, turned_fine = turn_together(low, high, generator)
    assert turned.shape == low.shape
    assert torch.equal(turned_fine, turned.repeat_interleave(3, -2).repeat_interleave(3, -1))
    elements = [next(e for e in range(8) if d4(low[i : i + 1], e).shape == low[i : i + 1].shape
                     and torch.equal(d4(low[i : i + 1], e), turned[i : i + 1])) for i in range(12)]  # fmt: skip
    assert len(set(elements)) > 2
    assert cut_patches(low, high, 0, 3, generator)[0] is low


def test_what_is_scored_block_by_block_is_what_each_image_is_worth(pairs, quick_features, monkeypatch):
    """With the columns of its own block; and of as many images as is said, the perceptual distance."""
    monkeypatch.setattr(superres_scores, "BLOCK", 5)
    monkeypatch.setattr(superres_scores, "PERCEPTUAL_IMAGES", 7)
    part = stored_images(open_dataset(pairs), "val", labelled=False)
    depth = {"truth_hr_counts_per_unit": np.linspace(1, 4, len(part))}
    part = dataclasses.replace(part, columns={**part.columns, **depth})
    found = superres_scores.evaluate(load_model("bicubic"), describe(str(pairs)), part)
    place = found.facts["row_names"].index("bicubic")
    observed, low = (np.concatenate(list(blocks)) for blocks in (part.target_blocks(99), part.blocks(99)))
    range_ = data_range(observed)
    assert found.facts["data_range"] == range_
    np.testing.assert_allclose(found.arrays["psnr_floor"][:, place], noise_floor(observed, part.columns, range_))
    made = enlarge(torch.from_numpy(low), 2).numpy()
    np.testing.assert_allclose(found.arrays["ssim"][:, place], ssim(made, observed, range_), rtol=1e-5)
    assert np.isfinite(found.arrays["perceptual"][:, place]).tolist() == [True] * 7 + [False] * 9
    assert found.facts["perceptual_images"] == 7
