"""The three published layouts of lens finding, made here in small and read as ``--layout auto`` finds them."""

import numpy as np
import pytest
from astropy.io import fits

from deeplense_core.errors import UserError
from deeplense_core.ingest import ingest
from deeplense_core.ingest.cutouts import unmasked
from deeplense_core.photometry import missing_bands

SIDE = 24


def pixels(seed: int, unit: float = 1.0) -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    image = 30 * np.exp(-0.5 * (x**2 + y**2) / 4) + np.random.default_rng(seed).normal(size=(SIDE, SIDE))
    return (image * unit).astype(np.float32)


def write_fits(path, image, header=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.writeto(path, image, header)


@pytest.fixture
def set_2024(tmp_path):
    root = tmp_path / "2024"
    for sort, first in (("easy", 0), ("hard", 50)):
        for k in range(6):
            for band in "GRI":
                if (sort, k, band) != ("easy", 2, "G"):
                    write_fits(root / sort / f"imageSDSS_{band}-{k}.fits", pixels(3 * (first + k) + ord(band)))
        lines = [f"{k},{k % 2},{17 * k},{20 + k}" for k in range(6)]
        (root / f"{sort}_test.csv").write_text("\n".join(["ID,no_source,numb_pix_lensed_image,sky_level", *lines]))
    write_fits(root / "easy" / "imageSDSS_R-77.fits", pixels(900))
    (root / "hard" / "imageSDSS_I-3.fits").write_bytes(b"SIMPLE  = broken")
    return root


def test_2024_is_found_and_its_labels_are_turned_round(set_2024, tmp_path):
    made = ingest(set_2024, tmp_path / "set")
    table = made.catalog.set_index("id")
    assert made.manifest["source"]["layout"] == "lens-finding-2024"
    assert made.bands == ("g", "r", "i")
    assert len(made) == 12
    assert table.loc["easy/0", "label"] == table.loc["hard/4", "label"] == "lens"
    assert table.loc["easy/1", "label"] == "nonlens"
    assert table.loc["hard/3", "truth_numb_pix_lensed_image"] == 51
    assert table.loc["hard/3", "feature_sky_level"] == 23
    assert "feature_numb_pix_lensed_image" not in table
    assert not [name for name in table if "no_source" in name]


def test_a_missing_or_broken_band_is_flagged_and_said(set_2024, tmp_path):
    made = ingest(set_2024, tmp_path / "set")
    names = made.catalog["id"].tolist()
    gone = missing_bands(np.asarray(made.images))
    assert gone[names.index("easy/2")].tolist() == [True, False, False]
    assert gone[names.index("hard/3")].tolist() == [False, False, True]
    assert int(gone.sum()) == 2
    table = made.catalog.set_index("id")
    assert table.loc["easy/2", "feature_missing_g"] == 1
    assert np.isnan(table.loc["easy/2", "feature_mag_g"])
    report = made.manifest["report"]
    assert any("lack band g" in note for note in report["notes"])
    said = {entry["file"]: entry["reason"] for entry in report["skipped_files"]}
    assert said["easy/77"] == "not in the table"
    assert said["hard/3 i"].startswith("band: ")
    place = names.index("easy/4")
    np.testing.assert_array_equal(made.images[place, 1], pixels(12 + ord("R")))


@pytest.mark.parametrize("space", [False, True])
def test_bologna_is_found_and_masked_pixels_hold_the_sky(tmp_path, space):
    root = tmp_path / "bologna"
    bands = {"VIS": ""} if space else {"U": "Band1", "G": "Band2", "R": "Band3", "I": "Band4"}
    for k in range(100000, 100008):
        for band, folder in bands.items():
            image = pixels(k + ord(band[0]), 1e-10)
            if k == 100002:
                image[3:6] = 100.0
            path = root / "Public" / folder / f"image{'EUC' if space else 'SDSS'}_{band}-{k}.fits"
            write_fits(path, image)
    lines = [f"{k},{k % 2},{0.1 * (k % 2)},{k % 7},{k % 5}" for k in range(100000, 100009)]
    (root / "classifications.csv").write_text("\n".join(
        ["ID,is_lens,Einstein_area,numb_pix_lensed_image,flux_lensed_image_in_sigma", *lines]))
    made = ingest(root, tmp_path / "set")
    table = made.catalog.set_index("id")
    assert made.manifest["source"]["layout"] == "bologna"
    assert made.bands == (("vis",) if space else ("u", "g", "r", "i"))
    assert table.loc["100001", "label"] == "lens"
    assert table.loc["100002", "label"] == "nonlens"
    assert table.loc["100001", "truth_Einstein_area"] == pytest.approx(0.1)
    assert {"truth_numb_pix_lensed_image", "truth_flux_lensed_image_in_sigma"} <= set(table)
    striped = made.images[made.catalog["id"].tolist().index("100002")]
    assert float(np.abs(striped).max()) < 1e-7
    assert table.loc["100002", "masked_fraction"] == pytest.approx(3 / SIDE)
    assert table.loc["100001", "feature_snr_vis" if space else "feature_snr_r"] > 5
    reasons = made.manifest["report"]["skipped"]
    assert reasons == {"no image": 1}


def test_numbers_are_matched_however_they_are_written(tmp_path):
    root = tmp_path / "src"
    for k in (1, 2, 3):
        write_fits(root / f"imageEUC_VIS-{k:06}.fits", pixels(k))
    (root / "gone.csv").symlink_to(tmp_path / "nowhere")
    (root / "t.csv").write_text("ID,is_lens,mag\n1,1,20\n,,\n000002,0,21\n 3,1,22\n")
    table = ingest(root, tmp_path / "out").catalog
    assert dict(zip(table["id"], table["label"], strict=True)) == {"1": "lens", "2": "nonlens", "3": "lens"}
    assert table["feature_mag"].tolist() == [20, 21, 22]


@pytest.mark.parametrize(("said", "scale"), [(None, 0.1), (0.2, 0.2)])
def test_the_pixel_scale_of_the_files_is_kept(tmp_path, said, scale):
    sky = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CDELT1": -0.1 / 3600, "CDELT2": 0.1 / 3600}
    for k in (1, 2):
        write_fits(tmp_path / "src" / f"imageEUC_VIS-{k}.fits", pixels(k), fits.Header(sky))
    (tmp_path / "src" / "t.csv").write_text("ID,is_lens\n1,1\n2,0\n")
    assert ingest(tmp_path / "src", tmp_path / "out", pixel_scale_arcsec=said).pixel_scale_arcsec == scale


def test_a_hundred_among_bright_pixels_is_no_mask():
    image = np.array([[100.0, 99.0], [101.0, 5.0]], np.float32)
    assert unmasked(image, "x")[1] == 0
    assert unmasked(np.array([[100.0, 1e-9], [2e-9, 3e-9]], np.float32), "x")[1] == 0.25


def test_2025_is_found_by_its_folders(tmp_path):
    root = tmp_path / "2025"
    for folder, count in (("train_lenses", 6), ("train_nonlenses", 7), ("test_lenses", 3), ("test_nonlenses", 5)):
        (root / folder).mkdir(parents=True)
        for k in range(count):
            image = np.stack([pixels(1000 * len(folder) + 10 * k + band) for band in range(3)])
            low, high = image.min((1, 2), keepdims=True), image.max((1, 2), keepdims=True)
            np.save(root / folder / f"{k}.npy", (image - low) / (high - low))
    made = ingest(root, tmp_path / "set")
    assert made.manifest["source"]["layout"] == "lens-finding-2025"
    assert made.classes == ("lens", "nonlens")
    assert made.bands == ("g", "r", "i")
    assert made.manifest["counts"]["lens"]["test"] == 3
    assert made.manifest["counts"]["nonlens"]["test"] == 5
    assert sum(made.manifest["counts"]["nonlens"].values()) == 12
    assert made.catalog["feature_snr_g"].notna().all()
    assert made.manifest["report"]["audit"]["scaling"]["severity"] == "note"


def test_another_layout_than_was_said_and_a_table_alone_are_refused(set_2024, tmp_path):
    with pytest.raises(UserError, match="not layout 'bologna'"):
        ingest(set_2024, tmp_path / "set", layout="bologna")
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "classifications.csv").write_text("ID,is_lens\n1,0\n2,1\n")
    with pytest.raises(UserError, match="Unpack the images beside the table"):
        ingest(bare, tmp_path / "set")
    assert not (tmp_path / "set").exists()
