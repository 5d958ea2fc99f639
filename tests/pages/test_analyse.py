"""The analyse page: files in, probabilities out; a bad file stops nothing."""

import io

import numpy as np
import pytest
from trained_run import said, trained, trained_home  # noqa: F401  (fixtures)

from deeplense_core.data import open_dataset
from deeplense_core.trained import load_model
from pages.ui.answers import ask


def npy(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_an_empty_workspace_leads_to_training_or_to_a_shipped_network(open_page):
    app = open_page("analyse")
    assert not app.error
    assert app.selectbox or [button.label for button in app.button] == ["Train"]


def test_samples_are_answered_at_once(open_page, trained):  # noqa: F811
    app = open_page("analyse", run=trained.id)
    assert not app.error
    table = app.dataframe[0].value
    assert list(table["name"]) == ["sample no.npy", "sample sphere.npy", "sample vort.npy"]
    np.testing.assert_allclose(table[["p_no", "p_sphere", "p_vort"]].sum(axis=1), 1, atol=1e-9)
    assert "pixel scale unknown" in table["warning"][0]
    app.number_input(key="analyse_scale").set_value(0.05).run()
    assert "resampled from 0.05 to 0.1 arcsec per pixel" in app.dataframe[0].value["warning"][0]


def test_uploads_and_a_bad_one_among_them(open_page, trained):  # noqa: F811
    images = open_dataset(trained.spec.data).images
    bad = images[1, 0].copy()
    bad[3, 4] = np.nan
    app = open_page("analyse", run=trained.id)
    app.file_uploader(key="analyse_upload").set_value([
        ("good.npy", npy(images[0]), "application/octet-stream"),
        ("bad.npy", npy(bad), "application/octet-stream"),
        ("not an image.png", b"hello", "image/png"),
        ("good.npy", npy(images[2]), "application/octet-stream"),
    ]).run()  # fmt: skip
    assert not app.exception
    assert list(app.dataframe[0].value["name"]) == ["good.npy", "good.npy"]
    assert len(app.error) == 2
    assert "1 NaN or infinite pixels of 1024" in app.error[0].value
    expected = load_model(trained.id).predict(np.array(images[[0, 2]]))
    shown = app.dataframe[0].value[["p_no", "p_sphere", "p_vort"]].to_numpy()
    np.testing.assert_allclose(shown, [one.probabilities for one in expected], atol=1e-9)


@pytest.mark.parametrize("name", ["../../etc/passwd.npy", "a" * 300 + ".npy", "=cmd.npy", "\u202egnp.npy"])
def test_a_name_is_only_text(trained, name):  # noqa: F811
    image = np.array(open_dataset(trained.spec.data).images[0])
    answers = ask([(name, npy(image))], trained.id, None)
    assert answers.failed == []
    assert answers.rows[0]["name"] == name


def test_another_image_of_the_same_name_gets_its_own_answer(trained):  # noqa: F811
    images = np.array(open_dataset(trained.spec.data).images[:2])
    first, second = (ask([("x.npy", npy(image))], trained.id, None) for image in images)
    assert first.rows[0]["score"] != second.rows[0]["score"]
    np.testing.assert_array_equal(second.images[0], images[1])


def test_the_lens_of_the_simulator_is_answered(open_page, trained):  # noqa: F811
    app = open_page("simulate", theta_E="1.1")
    app.button(key="lens_classify").click().run()
    assert not app.exception
    assert list(app.dataframe[0].value["name"]) == ["lens.fits"]
    app.switch_page("pages/analyse.py").run()  # the harness would go back to where it was told to start
    app.button(key="analyse_samples_again").click().run()
    assert len(app.dataframe[0].value) == 3
