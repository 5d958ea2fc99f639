"""The data page: sample images, making, cancelling, reading a folder, and looking at what is there."""

import time

import numpy as np
import pytest

from deeplense_core import making, trash
from deeplense_core.data import DatasetWriter, list_datasets, open_dataset
from deeplense_core.errors import UserError
from deeplense_core.workspace import datasets_dir

CLASSES = ("no", "sphere", "vort")


@pytest.fixture(autouse=True)
def nothing_is_left_running(workspace):
    """Ends what a failed test began, so that no process outlives it."""
    yield
    for left in making.list_makings():
        making.cancel(left.id)


def wait_for(condition, seconds: float = 120):
    """The first true value of ``condition``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.1)
    raise AssertionError("waited in vain")


def write_dataset(name: str = "lenses", count: int = 30):
    pixels = np.random.default_rng(0).random((count, 1, 16, 16), dtype=np.float32)
    labels = [CLASSES[i % 3] for i in range(count)]
    source = {"kind": "simulate", "recipe": "common-test"}
    with DatasetWriter(datasets_dir() / name, classes=CLASSES, shape=(1, 16, 16), source=source) as writer:
        writer.append(pixels, {"label": labels})
        audit = {"balance": {"severity": "ok", "text": "classes <b>balanced</b>"}}
        return writer.finish(report={"skipped": {"nan": 2}, "skipped_files": [], "audit": audit})


def captions(app) -> list[str]:
    return [image.caption for element in app.image for image in element.proto.imgs]


def test_empty_workspace_shows_samples_of_a_recipe(open_page):
    app = open_page("data")
    assert not app.error
    assert [image.proto.imgs[0].alt for image in app.image] == [
        "4 lenses, no substructure", "4 lenses, subhalo (CDM)", "4 lenses, vortex (axion)",
    ]  # fmt: skip


def test_samples_differ_by_seed_and_are_kept(open_page):
    def urls(app):
        return [image.url for element in app.image for image in element.proto.imgs]

    from pages.ui.recipes import samples

    first, _ = samples("common-test", 0, False)
    again, _ = samples("common-test", 0, False)
    other, _ = samples("common-test", 1, False)
    assert first.tobytes() == again.tobytes() != other.tobytes()


def test_making_a_data_set_from_the_page(open_page):
    app = open_page("data")
    app.number_input(key="make_count").set_value(24).run()
    app.number_input(key="make_seed").set_value(5).run()
    app.text_input(key="make_name").set_value("my lenses").run()
    app.button(key="make_start").click().run()
    assert not app.exception
    assert [bar.name for bar in making.list_makings()] in (["my-lenses"], [])
    wait_for(lambda: not making.list_makings())
    made = open_dataset(datasets_dir() / "my-lenses")
    assert len(made) == 24
    assert made.manifest["seed"] == 5
    app.run()
    assert not app.exception
    assert app.selectbox(key="data_chosen").value == "my-lenses"
    assert len(captions(app)) == 12


def test_a_name_that_is_taken_is_one_message(open_page):
    write_dataset("lenses")
    app = open_page("data")
    app.segmented_control(key="data_view").set_value("Make from a recipe").run()
    app.text_input(key="make_name").set_value("lenses").run()
    app.button(key="make_start").click().run()
    assert [error.value for error in app.error] == [
        "**A data set named 'lenses' exists already.**  \nChoose another name."
    ]


def test_thumbnails_are_the_rows_of_their_ids(open_page):
    dataset = write_dataset()
    app = open_page("data", data="lenses")
    assert not app.error
    app.selectbox(key="data_lenses_class").set_value("vort").run()
    expected = dataset.catalog[dataset.catalog["label"] == "vort"]["id"]
    assert [caption.split()[0] for caption in captions(app)] == list(expected[:12])
    app.selectbox(key="data_lenses_split").set_value("test").run()
    assert {c.split()[0] for c in captions(app)} == set(
        dataset.catalog.query("label == 'vort' and split == 'test'")["id"]
    )


def test_pairs_show_both_images_and_need_no_labels(open_page):
    rng = np.random.default_rng(0)
    with DatasetWriter(datasets_dir() / "pairs", classes=(), shape=(1, 8, 8), source={}, pixel_scale_arcsec=0.2,
                       target_shape=(1, 16, 16), target_pixel_scale_arcsec=0.1) as writer:  # fmt: skip
        writer.append(rng.random((3, 1, 8, 8)), {"label": [""] * 3}, rng.random((3, 1, 16, 16)))
        writer.finish()
    app = open_page("data")
    assert not app.exception
    assert captions(app) == [f"{i:07d}  \nunlabelled" for i in range(3)] + [f"{i:07d}" for i in range(3)]
    said = [caption.value for caption in app.caption]
    assert "LR: 1 × 8 × 8 pixels 0.2 arcsec each" in said
    assert "HR: 1 × 16 × 16 pixels 0.1 arcsec each, of the same sky" in said


def test_pages_reach_the_last_image(open_page):
    dataset = write_dataset()
    app = open_page("data")
    app.number_input(key="data_lenses_page").set_value(3).run()
    assert [caption.split()[0] for caption in captions(app)] == list(dataset.catalog["id"][24:])


def test_report_and_audit_are_shown_as_text(open_page):
    write_dataset()
    app = open_page("data")
    assert any("2 nan" in expander.label for expander in app.expander)
    assert any("classes \\<b\\>balanced" in text.value for text in app.markdown)


def test_a_deep_link_to_nothing_is_one_message(open_page):
    write_dataset()
    app = open_page("data", data="lenss")
    assert len(app.error) == 1
    assert "Did you mean 'lenses'?" in app.error[0].value


def test_reading_a_folder(open_page, tmp_path):
    rng = np.random.default_rng(1)
    for name in ("no_sub", "cdm", "axion"):
        (tmp_path / name).mkdir()
        for i in range(6):
            np.save(tmp_path / name / f"{i}.npy", rng.random((16, 16)))
    app = open_page("data")
    app.segmented_control(key="data_view").set_value("Read a folder").run()
    app.text_input(key="ingest_folder").set_value(str(tmp_path))
    app.text_input(key="ingest_name").set_value("mine")
    app.button(key="ingest_start").click().run()
    assert not app.exception
    assert not app.error
    wait_for(lambda: not making.list_makings())
    assert sorted(list_datasets()[0].classes) == sorted(CLASSES)


def test_a_folder_that_is_not_there_is_one_message(open_page):
    app = open_page("data")
    app.segmented_control(key="data_view").set_value("Read a folder").run()
    app.text_input(key="ingest_folder").set_value("/no/such/place")
    app.button(key="ingest_start").click().run()
    assert len(app.error) == 1
    assert "/no/such/place" in app.error[0].value


def test_what_failed_says_why_and_can_be_dismissed(open_page, tmp_path):
    (tmp_path / "empty").mkdir()
    making.start_ingest(str(tmp_path / "empty"), "nothing")
    failed = wait_for(lambda: [m for m in making.list_makings() if m.state == "failed"])[0]
    app = open_page("data")
    assert len(app.error) == 1
    assert "'nothing' was not made" in app.error[0].value
    assert "Traceback" not in app.error[0].value
    app.button(key=f"dismiss_{failed.id}").click().run()
    assert not app.error
    assert not making.list_makings()


def test_cancel_ends_the_process_and_leaves_nothing():
    making_id = making.start_simulation("common-test", 19_000, "huge")
    wait_for(lambda: [m for m in making.list_makings() if m.done > 0])
    making.cancel(making_id)
    assert not making.list_makings()
    assert not list(datasets_dir().iterdir())


@pytest.mark.parametrize("count", [0, -3])
def test_counts_below_one_are_refused(count):
    with pytest.raises(UserError, match="at least 1"):
        making.start_simulation("common-test", count, "none")


def test_two_makings_never_share_a_name():
    making_id = making.start_simulation("common-test", 19_000, "same")
    with pytest.raises(UserError, match="exists already"):
        making.start_simulation("common-test", 10, "same")
    making.cancel(making_id)


def test_settings_of_a_recipe_reach_what_is_made(open_page):
    app = open_page("data", recipe="lens-finding-hard")
    app.number_input(key="make_lens-finding-hard_lens_fraction").set_value(0.25).run()
    app.selectbox(key="make_lens-finding-hard_bands").set_value("i").run()
    app.number_input(key="make_count").set_value(16).run()
    assert not app.exception
    assert "Changed: Lens fraction 0.25, Bands i" in [caption.value for caption in app.caption]
    command = "python -m deeplense_core simulate lens-finding-hard --count 16 --seed 0 --set lens_fraction=0.25 " \
              "--set bands=i --out workspace/datasets/lens-finding-hard-own-16-seed0"  # fmt: skip
    assert command in [code.value for code in app.code]
    app.button(key="make_start").click().run()
    wait_for(lambda: not making.list_makings())
    made = open_dataset(datasets_dir() / "lens-finding-hard-own-16-seed0")
    assert made.manifest["source"]["settings"]["lens_fraction"] == 0.25
    assert made.bands == ("i",)
    assert made.shape[0] == 1


def test_settings_that_contradict_are_one_message(open_page):
    app = open_page("data", recipe="common-test")
    app.number_input(key="make_common-test_theta_E_min").set_value(2.0).run()
    assert not app.exception
    assert [error.value for error in app.error] == [
        "**theta\\_E\\_min = 2 is above theta\\_E\\_max = 1.65.**  \nChange one of them."
    ]


def test_a_deleted_data_set_is_brought_back_or_removed_for_good(open_page):
    write_dataset("first")
    write_dataset("second")
    app = open_page("data", data="first")
    app.button(key="data_delete").click().run()
    assert not app.exception
    assert [dataset.path.name for dataset in list_datasets()] == ["second"]
    assert app.selectbox(key="data_chosen").value == "second"
    app.button(key="trash_undo").click().run()
    assert {dataset.path.name for dataset in list_datasets()} == {"first", "second"}
    app.button(key="data_delete").click().run()
    app.multiselect(key="trash_chosen").set_value(["second"]).run()
    app.button(key="trash_restore").click().run()
    assert {dataset.path.name for dataset in list_datasets()} == {"first", "second"}
    app.button(key="data_delete").click().run()
    app.button(key="trash_empty").click().run()
    assert not app.exception
    assert trash.contents() == []
    assert [dataset.path.name for dataset in list_datasets()] == ["second"]


def test_the_last_data_set_can_be_deleted(open_page):
    write_dataset("only")
    app = open_page("data")
    app.button(key="data_delete").click().run()
    assert not app.exception
    assert list_datasets() == []
