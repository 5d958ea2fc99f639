"""The analyse page: files in, answers out that say how far they can be trusted; a bad file stops nothing."""

import io
import re
import zipfile

import numpy as np
import pytest
from astropy.io import fits
from trained_run import said, trained, trained_home  # noqa: F401  (fixtures)

from deeplense_core.data import open_dataset
from deeplense_core.embeddings.embed import embed
from deeplense_core.inspection import marked
from deeplense_core.reading.uploads import receive
from deeplense_core.trained import load_model
from pages.ui.answers import Reading, ask_all, evidence, made_at, whole_image
from tests.pages.packed import panels_of

SCRIPT = "<img src=x onerror=alert(1)>"


def npy(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def drop(app, files: list[tuple[str, bytes]]):
    """Drops files on the page and runs it."""
    box = app.file_uploader(key="analyse_upload")
    app = box.set_value([(name, data, "application/octet-stream") for name, data in files]).run()
    assert not app.exception, app.exception
    return app


def headings(app) -> list[str]:
    return [heading.value for heading in app.subheader]


@pytest.fixture
def images(trained) -> np.ndarray:  # noqa: F811
    return np.array(open_dataset(trained.spec.data).images)


def test_the_first_visit_shows_one_sample_answered_by_the_shipped_network(open_page):
    app = open_page("analyse")
    assert not app.error
    assert app.selectbox(key="analyse_model").value == "common-test"
    assert headings(app) == ["Subhalo (CDM): probability above 0.999"]
    assert "95 % sure to be among: **subhalo (CDM)**" in said(app)
    assert "Change when flipped or turned: **0.000, steady**" in said(app)
    assert not app.warning


def test_several_samples_make_a_table(open_page, trained):  # noqa: F811
    app = open_page("analyse", run=trained.id)
    assert app.selectbox(key="analyse_model").value == trained.id
    app.button_group(key="analyse_samples").set_value(["no", "sphere", "vort"]).run()
    table = app.dataframe[0].value
    assert list(table["name"]) == ["sample no.fits", "sample sphere.fits", "sample vort.fits"]
    np.testing.assert_allclose(table[["p_no", "p_sphere", "p_vort"]].sum(axis=1), 1, atol=1e-9)
    assert "resampled from 0.05 to 0.1 arcsec per pixel" in table["warning"][0]
    assert headings(app)[0].startswith("3 images: ")


def test_a_pixel_scale_where_a_file_does_not_say(open_page, trained):  # noqa: F811
    app = open_page("analyse", run=trained.id)
    app = drop(app, [("x.npy", npy(np.random.default_rng(0).random((40, 40))))])
    assert "Pixel scale unknown: stretched to the training field" in said(app)
    app.number_input(key="analyse_scale").set_value(0.05).run()
    assert "Resampled from 0.05 to 0.1 arcsec per pixel" in said(app)


def test_uploads_and_a_bad_one_among_them(open_page, trained, images):  # noqa: F811
    bad = images[1, 0].copy()
    bad[3, 4] = np.nan
    app = drop(open_page("analyse", run=trained.id), [
        ("good.npy", npy(images[0])), ("bad.npy", npy(bad)), ("not an image.png", b"hello"),
        ("good.npy", npy(images[2])),
    ])  # fmt: skip
    assert list(app.dataframe[0].value["name"]) == ["good.npy", "good.npy"]
    assert len(app.error) == 2
    assert any("1 NaN or infinite pixels of 1024" in error.value for error in app.error)
    expected = load_model(trained.id).predict(images[[0, 2]])
    shown = app.dataframe[0].value[["p_no", "p_sphere", "p_vort"]].to_numpy()
    np.testing.assert_allclose(shown, [one.probabilities for one in expected], atol=1e-6)


def test_fifty_files_with_one_bad(open_page, trained, images):  # noqa: F811
    files = [(f"{i}.npy", npy(images[i])) for i in range(50)]
    files[17] = ("17.npy", files[17][1][:100])
    app = drop(open_page("analyse", run=trained.id), files)
    assert len(app.dataframe[0].value) == 49
    assert len(app.error) == 1
    assert "17.npy" in app.error[0].value
    assert headings(app)[0].startswith("49 images: ")


def test_a_zip_file_gives_its_members(open_page, trained, images):  # noqa: F811
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/1.npy", npy(images[0]))
        archive.writestr("../2.npy", npy(images[1]))
        archive.writestr("3.txt", b"no image")
    app = drop(open_page("analyse", run=trained.id), [("all.zip", file.getvalue())])
    assert len(app.dataframe[0].value) == 2
    assert len(app.error) == 1


@pytest.mark.parametrize("name", ["../../etc/passwd.npy", "a" * 200 + ".npy", "=cmd.npy", f"{SCRIPT}.npy"])
def test_a_name_is_only_text(trained, images, name):  # noqa: F811
    answers = ask_all(receive(name, npy(images[0])), trained.id, Reading())
    assert answers[0].refusal == ""
    assert answers[0].name == name


def test_a_script_in_a_name_and_in_cards_is_text(open_page, trained, images):  # noqa: F811
    header = fits.Header({"BUNIT": SCRIPT, "FILTER": SCRIPT, "EXTNAME": SCRIPT})
    hdus = fits.HDUList([fits.PrimaryHDU(images[0, 0], header), fits.ImageHDU(images[1, 0], header)])
    file = io.BytesIO()
    hdus.writeto(file)
    app = drop(open_page("analyse", run=trained.id), [(f"{SCRIPT}.fits", file.getvalue())])
    assert "<img" in said(app)
    assert not re.search(r"(?<!\\)<img", said(app)), "every one is escaped"
    app = drop(app, [(f"{SCRIPT}.npy", b"nothing")])
    assert "\\<img src=x" in app.error[0].value


def test_another_image_of_the_same_name_gets_its_own_answer(trained, images):  # noqa: F811
    first, second = (ask_all(receive("x.npy", npy(image)), trained.id, Reading())[0] for image in images[:2])
    assert first.prediction.probabilities.tolist() != second.prediction.probabilities.tolist()
    np.testing.assert_array_equal(whole_image(second.upload, Reading()).pixels, images[1])


def test_the_hdu_can_be_chosen(open_page, trained, images):  # noqa: F811
    hdus = [fits.PrimaryHDU(), *(fits.ImageHDU(images[i, 0], name=name) for i, name in enumerate(("VIS", "NIR")))]
    file = io.BytesIO()
    fits.HDUList(hdus).writeto(file)
    app = drop(open_page("analyse", run=trained.id), [("two.fits", file.getvalue())])
    box = next(box for box in app.selectbox if box.label == "HDU")
    assert box.options == ["automatic", "VIS · 32 × 32", "NIR · 32 × 32"]
    assert "HDU VIS" in said(app)
    box.set_value("NIR").run()
    assert "HDU NIR" in said(app)
    upload = receive("two.fits", file.getvalue())
    answer = ask_all(upload, trained.id, Reading(hdu="NIR"))[0].prediction
    expected = load_model(trained.id).predict(images[1:2])[0]
    np.testing.assert_allclose(answer.probabilities, expected.probabilities, atol=1e-6)


def test_a_network_of_one_band_takes_the_mean_or_the_band_that_is_chosen(open_page, trained, images):  # noqa: F811
    three = np.concatenate(images[:3])
    app = drop(open_page("analyse", run=trained.id), [("three.npy", npy(three))])
    assert "Mean of 3 bands: the network was trained on one" in said(app)
    box = next(box for box in app.selectbox if box.label == "Band")
    box.set_value(1).run()
    assert "Only band 2 of 3 bands" in said(app)
    upload = receive("three.npy", npy(three))
    one, mean = (ask_all(upload, trained.id, reading)[0] for reading in (Reading(bands=(1,)), Reading()))
    model = load_model(trained.id)
    for answer, image in ((one, images[1]), (mean, three.mean(0, keepdims=True))):
        expected = model.predict(image[None])[0].probabilities
        np.testing.assert_allclose(answer.prediction.probabilities, expected, atol=1e-6)


def test_a_plane_of_a_long_cube_can_be_chosen(open_page, trained, images):  # noqa: F811
    app = drop(open_page("analyse", run=trained.id), [("cube.npy", npy(np.concatenate(images[:20])))])
    assert "20 channels" in app.error[0].value
    box = next(box for box in app.selectbox if box.label == "Plane")
    box.set_value(3).run()
    assert not app.error
    assert "probability" in headings(app)[0] or "Unlike" in headings(app)[0]


def test_an_image_of_another_kind_gets_no_class(open_page):
    """A smooth disk: the network is sure of it, and the page is not."""
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    app = drop(open_page("analyse"), [("disk.npy", npy(np.exp(-(x**2 + y**2) * 8)))])
    assert headings(app) == ["Unlike the training images: no class can be trusted"]
    assert "noise over 100x lower" in app.warning[0].value
    assert "95 % sure" not in said(app)


def test_every_real_image_gets_a_result_or_a_true_warning(open_page, real_images):
    """None of these was made by the simulator on which the shipped network learnt: none may get a class."""
    files = [path for path in sorted(real_images.rglob("*")) if path.suffix in (".fits", ".npy", ".npz", ".h5")]
    app = drop(open_page("analyse"), [(path.name, path.read_bytes()) for path in files])
    assert not app.error
    assert set(app.dataframe[0].value["class"]) == {"unlike the training images"}
    assert len(app.dataframe[0].value) == len(files)


def test_evidence_and_preprocessing(open_page):
    app = open_page("analyse")
    view = app.button_group(key="analyse_view")
    view.set_value("Evidence").run()
    assert not app.exception
    assert "where the network looks, not whether it is right" in said(app)
    app.selectbox(key="analyse_target").set_value("vort").run()
    assert not app.exception
    app.button_group(key="analyse_view").set_value("Preprocessing").run()
    assert not app.exception
    assert "step by step" in said(app)
    app.button_group(key="analyse_view").set_value("Super-resolved").run()
    assert not app.exception
    assert "It can invent structure" in said(app)
    _, fine = panels_of(app)
    assert (fine["title"], fine["values"].shape[1:]) == ("edsr-x2: 2 times finer", (300, 300))


def test_evidence_lies_on_the_image(trained, images):  # noqa: F811
    (upload,) = receive("x.npy", npy(images[0].repeat(2, 1).repeat(3, 2)))
    for kind in ("grad-cam", "occlusion"):
        found = evidence(upload, trained.id, made_at(trained.id), Reading(), "sphere", kind)
        assert found.shape == (64, 96)
        assert np.isfinite(found).all()


def test_mark_for_inspection_and_undo(open_page, trained, images):  # noqa: F811
    app = drop(open_page("analyse", run=trained.id), [(f"{i}.npy", npy(images[i])) for i in range(3)])
    app.button(key="analyse_mark").click().run()
    assert [one.name for one in marked()] == ["0.npy"]
    assert marked()[0].answer["model_id"] == trained.id
    assert app.button(key="analyse_mark").label == "Marked"
    app.button(key="analyse_mark_all").click().run()
    assert sorted(one.name for one in marked()) == ["0.npy", "1.npy", "2.npy"]
    app.button(key="analyse_undo").click().run()
    assert [one.name for one in marked()] == ["0.npy"]
    app.button(key="analyse_mark").click().run()
    assert marked() == []


def test_filters_act_on_table_marks_and_export(open_page, trained, images):  # noqa: F811
    files = [(f"{i}.npy", npy(images[i])) for i in range(6)] + [("odd.npy", npy(np.eye(32) + 0.001))]
    app = drop(open_page("analyse", run=trained.id), files)
    app.button_group(key="analyse_classes").set_value(["unlike the training images"]).run()
    names = list(app.dataframe[0].value["name"]) if app.dataframe else ["odd.npy"]
    assert "odd.npy" in names
    assert len(names) < 7
    app.button_group(key="analyse_classes").set_value([]).run()
    app.slider(key="analyse_score").set_value((0.0, 0.01)).run()
    assert "No image fits this filter" in said(app)


def test_the_lens_of_the_simulator_is_answered(open_page, trained):  # noqa: F811
    app = open_page("simulate", theta_E="1.1")
    app.button(key="lens_classify").click().run()
    assert not app.exception
    assert "arcsec/pixel" in said(app)
    app.switch_page("pages/analyse.py").run()  # the harness would go back to where it was told to start
    app.button(key="analyse_samples_again").click().run()
    assert not app.exception
    assert not app.error


def test_images_of_an_embedding_that_are_like_an_upload(open_page, images, trained, workspace):  # noqa: F811
    """Its own image comes first among the neighbours, at no distance."""
    embedding = embed(load_model(trained.id), [trained.spec.data], workspace / "embeddings" / "all.npz").embedding
    app = drop(open_page("analyse", run=trained.id), [("again.npy", npy(images[3]))])
    app.toggle(key="analyse_similar").set_value(True).run()
    assert not app.exception
    assert not app.error
    assert "Most like again.npy" in headings(app)
    captions = [image.caption for element in app.image for image in element.proto.imgs]
    distances = [caption for caption in captions if "cosine distance" in caption]
    assert str(embedding.ids[3]) in distances[0]
    assert distances[0].endswith("cosine distance 0.0000")
