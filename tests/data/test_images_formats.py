"""Reading one image: every format, every order of axes, and one message for each way of being malformed."""

import contextlib
import gzip
import io
import struct
import tempfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from deeplense_core.errors import UserError
from deeplense_core.images import BadImageError, read_image, to_chw

PIXELS = np.arange(12 * 10, dtype=np.float64).reshape(12, 10)


def npy_bytes(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def write(path, content):
    path.write_bytes(content)
    return path


def header_only(descr, shape):
    text = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


# --- what must open


@settings(deadline=None, max_examples=60)
@given(
    array=hnp.arrays(
        st.sampled_from(["<f4", ">f4", "<f8", ">i2", "u1", "<u4", "?"]),
        st.tuples(st.integers(1, 4), st.integers(5, 9), st.integers(5, 9)),
        elements=st.integers(0, 1),
    ),
    fortran=st.booleans(),
)
def test_npy_and_npz_round_trip_in_every_dtype(array, fortran):
    array = np.asfortranarray(array) if fortran else array
    array[0, 0, 0], array[0, 0, 1] = 0, 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez_compressed(folder / "x.npz", note=np.array("text"), image=array)
        for path in (write(folder / "x.npy", npy_bytes(array)), folder / "x.npz"):
            image = read_image(path)
            np.testing.assert_array_equal(image.pixels, array.astype(np.float32))
            assert image.pixels.dtype == np.float32
            assert image.pixels.flags.c_contiguous
            assert (image.meta["array_shape"], image.meta["dtype"]) == (array.shape, str(array.dtype))


def test_the_extension_does_not_matter(tmp_path):
    image = read_image(write(tmp_path / "image.jpg", npy_bytes(PIXELS)))
    assert image.meta["format"] == "NPY"


def test_npz_key_can_be_chosen(tmp_path):
    np.savez(tmp_path / "x.npz", a=PIXELS, b=PIXELS + 1)
    assert read_image(tmp_path / "x.npz").pixels[0, 0, 0] == 0
    chosen = read_image(tmp_path / "x.npz", key="b")
    assert chosen.pixels[0, 0, 0] == 1
    assert (chosen.meta["key"], chosen.meta["keys"]) == ("b", ["a", "b"])
    with pytest.raises(BadImageError, match="no array 'c'. Choose from: a, b"):
        read_image(tmp_path / "x.npz", key="c")


def test_a_plane_keeps_the_name_of_its_band(tmp_path):
    np.savez(tmp_path / "x.npz", images=PIXELS + np.arange(3)[:, None, None], filters=np.array(["g", "r", "i"]))
    assert read_image(tmp_path / "x.npz").bands == ("g", "r", "i")
    image = read_image(tmp_path / "x.npz", plane=1)
    assert (image.bands, image.pixels[0, 0, 0]) == (("r",), 1)


@pytest.mark.parametrize(
    ("mode", "dtype", "name"),
    [("L", "u1", "x.png"), ("L", "u1", "x.tif"), ("I;16", "<u2", "x.png"), ("I;16", "<u2", "x.tif"),
     ("F", "<f4", "x.tif")],
)  # fmt: skip
def test_pictures_keep_their_numbers(tmp_path, mode, dtype, name):
    Image.frombytes(mode, (10, 12), PIXELS.astype(dtype).tobytes()).save(tmp_path / name)
    np.testing.assert_array_equal(read_image(tmp_path / name).pixels[0], PIXELS)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colour_pictures_become_three_bands(tmp_path, mode):
    colour = np.zeros((12, 10, 3), np.uint8)
    colour[:6, :, 0], colour[:, :3, 2] = 255, 128
    picture = Image.fromarray(colour)
    (picture.quantize(16) if mode == "P" else picture.convert(mode)).save(tmp_path / "x.png")
    image = read_image(tmp_path / "x.png")
    np.testing.assert_array_equal(image.pixels, np.moveaxis(colour, 2, 0))
    assert image.bands == ("R", "G", "B")


def test_jpeg_and_the_first_frame_of_a_tiff(tmp_path):
    Image.fromarray(PIXELS.astype("u1")).save(tmp_path / "x.jpg", quality=100)
    assert np.abs(read_image(tmp_path / "x.jpg").pixels[0] - PIXELS).max() < 12
    frames = [Image.fromarray((PIXELS + k).astype("u1")) for k in range(3)]
    frames[0].save(tmp_path / "x.tif", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif").pixels[0], PIXELS)


def fits_file(path, *hdus):
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
    return path


def sky_header(cd=True, scale=0.2, angle=0.3):
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.5,
                          "CRPIX1": 3.0, "CRPIX2": 4.0, "BUNIT": "nJy", "FILTER": "r"})  # fmt: skip
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * [[-1], [1]]
    for i in (1, 2):
        for j in (1, 2):
            header[f"{'CD' if cd else 'PC'}{i}_{j}"] = turn[i - 1, j - 1] * (scale / 3600 if cd else 1)
        if not cd:
            header[f"CDELT{i}"] = scale / 3600
    return header


@pytest.mark.parametrize("cd", [True, False])
def test_fits_pixel_scale_and_centre_agree_with_astropy(tmp_path, cd):
    from astropy.wcs import WCS
    from astropy.wcs.utils import proj_plane_pixel_scales

    header = sky_header(cd)
    image = read_image(fits_file(tmp_path / "x.fits", fits.ImageHDU(PIXELS, header, name="SCI")), sky=True)
    wcs = WCS(header)
    assert image.pixel_scale_arcsec == pytest.approx(3600 * proj_plane_pixel_scales(wcs)[0], rel=1e-9)
    ra, dec = wcs.wcs_pix2world([[(10 - 1) / 2, (12 - 1) / 2]], 0)[0]
    assert (image.meta["ra_deg"], image.meta["dec_deg"]) == pytest.approx((ra, dec), abs=1e-9)
    assert (image.meta["unit"], image.bands) == ("nJy", ("r",))
    assert WCS(fits.Header.fromstring(image.meta["wcs"], sep="\n")).wcs_pix2world([[0, 0]], 0) == pytest.approx(
        wcs.wcs_pix2world([[0, 0]], 0)
    )


def test_fits_without_a_wcs_has_no_pixel_scale(tmp_path):
    header = fits.Header({"CDELT1": 0.5, "CDELT2": 0.5})
    image = read_image(fits_file(tmp_path / "x.fits", fits.ImageHDU(PIXELS, header)))
    assert image.pixel_scale_arcsec is None
    assert "ra_deg" not in image.meta


def test_planes_of_a_deep_fits_cube(tmp_path):
    """A spectral cube has more planes than columns, and the file says which axis is which."""
    cube = np.random.default_rng(0).random((40, 20, 30)).astype(np.float32)
    path = fits_file(tmp_path / "x.fits", fits.ImageHDU(cube))
    fits.writeto(tmp_path / "y.fits", cube)
    for name in (path, tmp_path / "y.fits"):
        image = read_image(name, plane=7)
        assert image.meta["planes"] == 40
        np.testing.assert_array_equal(image.pixels[0], cube[7])
    fits.writeto(tmp_path / "z.fits", np.moveaxis(cube[:3], 0, 2))
    np.testing.assert_array_equal(read_image(tmp_path / "z.fits").pixels, cube[:3])


def test_fits_takes_sci_else_the_first_image_else_what_was_asked_for(tmp_path):
    table = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=np.ones(3))])
    one_d = fits.ImageHDU(np.arange(5.0), name="SPECTRUM")
    hdus = [fits.ImageHDU(PIXELS + k, name=name) for k, name in enumerate(["VAR", "SCI", "WHT"])]
    path = fits_file(tmp_path / "x.fits", table, one_d, *hdus)
    assert read_image(path).pixels[0, 0, 0] == 1
    assert [(h["index"], h["name"]) for h in read_image(path).meta["hdus"]] == [(3, "VAR"), (4, "SCI"), (5, "WHT")]
    assert read_image(path, hdu="wht").pixels[0, 0, 0] == 2
    assert read_image(path, hdu=3).meta["hdu"] == "VAR"
    with pytest.raises(BadImageError, match="no image HDU 'WTH'. Did you mean 'WHT'"):
        read_image(path, hdu="WTH")
    assert read_image(fits_file(tmp_path / "y.fits", one_d, hdus[0])).meta["hdu"] == "VAR"


@pytest.mark.parametrize("dtype", ["u1", ">i2", ">u2", ">i4", ">f4", ">f8"])
def test_fits_dtypes_compression_and_gzip(tmp_path, dtype):
    plain = fits_file(tmp_path / "x.fits", fits.ImageHDU(PIXELS.astype(dtype)))
    zipped = write(tmp_path / "x.fits.gz", gzip.compress(plain.read_bytes()))
    packed = fits_file(tmp_path / "y.fits", fits.CompImageHDU(PIXELS.astype(dtype), compression_type="GZIP_1"))
    for path in (plain, zipped, packed):
        np.testing.assert_array_equal(read_image(path).pixels[0], PIXELS)


def test_hdf5_in_lenstronomys_layout(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["exposure_time"], file["image_data"] = PIXELS + 1, PIXELS
        file["transform_pix2angle"] = np.array([[-0.03, 0.04], [0.04, 0.03]])
    image = read_image(tmp_path / "x.h5")
    np.testing.assert_array_equal(image.pixels[0], PIXELS)
    assert image.pixel_scale_arcsec == pytest.approx(0.05)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_hdf5_with_a_pixel_scale_that_is_none(tmp_path, value):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["image_data"], file["transform_pix2angle"] = PIXELS, np.full((2, 2), value)
    assert read_image(tmp_path / "x.h5").pixel_scale_arcsec is None


@pytest.mark.parametrize(
    ("shape", "channels", "expected"),
    [
        ((9, 8), "auto", (1, 9, 8)), ((1, 9, 8), "auto", (1, 9, 8)), ((9, 8, 1), "auto", (1, 9, 8)),
        ((9, 8, 3), "auto", (3, 9, 8)), ((3, 9, 8), "auto", (3, 9, 8)), ((1, 1, 9, 8), "auto", (1, 9, 8)),
        ((3, 9, 3), "auto", (3, 9, 3)), ((3, 9, 3), "last", (3, 3, 9)), ((3, 9, 2), "first", (3, 9, 2)),
        ((3, 9, 2), "auto", (2, 3, 9)),
    ],
)  # fmt: skip
def test_every_order_of_axes(shape, channels, expected):
    array = np.arange(np.prod(shape)).reshape(shape)
    out = to_chw(array, channels)
    assert out.shape == expected
    moved = len(shape) == 3 and shape[0] != expected[0]
    np.testing.assert_array_equal(np.moveaxis(out, 0, 2) if moved or channels == "last" else out, array.reshape(
        shape if moved or channels == "last" else expected))  # fmt: skip


@pytest.mark.parametrize(("shape", "words"), [((5,), "2 or 3 dimensions"), ((2, 2, 3, 4), "2 or 3 dimensions"),
                                              ((40, 50, 60), "40 channels"), ((0, 5), "no pixels")])  # fmt: skip
def test_what_is_no_image_is_refused(shape, words):
    with pytest.raises(BadImageError, match=words):
        to_chw(np.zeros(shape))
    with pytest.raises(UserError, match="auto, first, last"):
        to_chw(np.zeros((5, 5)), "middle")


# --- what must not


class Canary:
    """Unpickled, it would leave a file behind."""

    path = ""

    def __reduce__(self):
        return (open, (Canary.path, "w"))


def pickled(path):
    Canary.path = str(path.parent / "canary")
    return npy_bytes(np.array([Canary(), 1], dtype=object), allow_pickle=True)


def pickled_npz(path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.npy", pickled(path))
    return file.getvalue()


def claims_in_npz(path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", header_only("<f8", (70_000, 70_000)) + bytes(1000))
    return file.getvalue()


def encrypted_npz(path):
    content = bytearray(npz_of(PIXELS))
    content[6] |= 1  # the flag in the local header, and in the central directory
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def npz_of(array):
    file = io.BytesIO()
    np.savez(file, array)
    return file.getvalue()


def fits_bytes(*hdus):
    file = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(file)
    return file.getvalue()


def tile_bomb(path):
    content = fits_bytes(fits.CompImageHDU(np.zeros((32, 32), np.int16), compression_type="GZIP_1"))
    for axis in (1, 2):
        at = content.index(f"ZNAXIS{axis} ".encode())
        content = content[: at + 10] + f"{50_000:>20}".encode() + content[at + 30 :]
    return content


def damaged_tiles(path):
    pixels = np.arange(1024, dtype=np.int16).reshape(32, 32) % 99
    content = fits_bytes(fits.CompImageHDU(pixels, tile_shape=(8, 32)))
    return content[:-2880] + b"\xff" * 700 + content[-2180:]


def huge_fits(path):
    content = fits_bytes(fits.ImageHDU(np.zeros((32, 32))))
    at = content.rindex(b"NAXIS1 ")
    return content[: at + 10] + f"{9_000_000:>20}".encode() + content[at + 30 :]


def table_only(path):
    return fits_bytes(fits.BinTableHDU.from_columns([fits.Column("a", "E", array=np.ones(3))]))


def hdf5_bytes(path, fill):
    file = io.BytesIO()
    with h5py.File(file, "w") as root:
        fill(root, path.parent)
    return file.getvalue()


def external_link(path):
    with h5py.File(path.parent / "secret.h5", "w") as root:
        root["image_data"] = PIXELS

    def fill(root, folder):
        root["image_data"] = h5py.ExternalLink(str(folder / "secret.h5"), "/image_data")

    return hdf5_bytes(path, fill)


def soft_link(path):
    def fill(root, folder):
        root["image_data"] = h5py.SoftLink("/elsewhere")

    return hdf5_bytes(path, fill)


def external_storage(path):
    (path.parent / "secret").write_bytes(PIXELS.tobytes())

    def fill(root, folder):
        root.create_dataset("image_data", PIXELS.shape, "<f8", external=[(str(folder / "secret"), 0, 960)])

    return hdf5_bytes(path, fill)


def virtual_storage(path):
    def fill(root, folder):
        layout = h5py.VirtualLayout(PIXELS.shape, "<f8")
        layout[:] = h5py.VirtualSource(str(folder / "secret.h5"), "image_data", PIXELS.shape)
        root.create_virtual_dataset("image_data", layout)

    return hdf5_bytes(path, fill)


def huge_hdf5(path):
    return hdf5_bytes(path, lambda root, _: root.create_dataset("image_data", (70_000, 70_000), "<f8", chunks=True))


def png_of(size):
    file = io.BytesIO()
    Image.new("1", size).save(file, "PNG")
    return file.getvalue()


def spoilt(value):
    array = PIXELS.copy()
    array[3, 4] = value
    return npy_bytes(array)


BAD = {
    "empty": (b"", "empty file", r"is empty \(0 bytes\)"),
    "text": (b"ID,ra,dec\n1,2,3\n", "unknown format", "Bring NPY, NPZ, FITS"),
    "html": (b"<html><img onerror=alert(1)>", "unknown format", "is no image known here"),
    "pickled npy": (pickled, "pickled objects", "could run code; it was not opened"),
    "pickled npz": (pickled_npz, "pickled objects", "could run code; it was not opened"),
    "npy claims TiB": (header_only("<f8", (700_000, 700_000)), "too large", r"claims shape \(700000, 700000\)"),
    "npz claims GB": (claims_in_npz, "too large", r"claims shape \(70000, 70000\)"),
    "npy claims less, still short": (header_only("<f8", (100, 100)), "truncated file", "promises 80000 bytes"),
    "truncated npy": (npy_bytes(PIXELS)[:-5], "truncated file", "cut short"),
    "truncated header": (npy_bytes(PIXELS)[:30], "damaged file", "damaged .npy header"),
    "npy of version 9": (b"\x93NUMPY\x09\x00" + npy_bytes(PIXELS)[8:], "damaged file", "damaged .npy header"),
    "negative shape": (header_only("<f8", (-3, -4)) + bytes(96), "damaged file", "damaged .npy header"),
    "complex": (npy_bytes(PIXELS.astype(complex)), "wrong dtype", "complex128, not real numbers"),
    "strings": (npy_bytes(PIXELS.astype(str)), "wrong dtype", "not real numbers"),
    "records": (npy_bytes(np.zeros((5, 5), "f4,f4")), "wrong dtype", "not real numbers"),
    "scalar": (npy_bytes(np.array(3.0)), "wrong shape", r"shape \(\)"),
    "line": (npy_bytes(np.arange(5.0)), "wrong shape", "an image has 2 or 3 dimensions"),
    "no pixels": (npy_bytes(np.zeros((0, 5))), "empty image", "no pixels in it"),
    "NaN": (spoilt(np.nan), "NaN or infinite pixels", "1 NaN or infinite pixels of 120"),
    "infinite": (spoilt(-np.inf), "NaN or infinite pixels", "1 NaN or infinite pixels of 120"),
    "beyond float32": (spoilt(1e200), "NaN or infinite pixels", "1 NaN or infinite"),
    "constant": (npy_bytes(np.full((5, 5), 3.5)), "constant image", r"every pixel is 3\.5"),
    "torn npz": (npz_of(PIXELS)[:-30], "damaged file", "damaged or encrypted .npz"),
    "encrypted npz": (encrypted_npz, "damaged file", "damaged or encrypted .npz"),
    "npz without an image": (npz_of(np.arange(5)), "no image", "it has arr_0"),
    "zip of something else": (None, "ZIP", "is a ZIP file, where one image is expected"),
    "table-only FITS": (table_only, "no image", "no 2-D or 3-D image among its HDUs.*BinTableHDU"),
    "FITS tile bomb": (tile_bomb, "too large", r"claims shape \(50000, 50000\)"),
    "FITS claims GB": (huge_fits, "too large", "claims shape"),
    "FITS of damaged tiles": (damaged_tiles, "damaged file", "is damaged .*Copy it again"),
    "truncated FITS": (fits_bytes(fits.ImageHDU(PIXELS))[:-2880], "truncated file", "cut short"),
    "FITS header only": (b"SIMPLE  =                    T", "damaged file", "damaged FITS"),
    "gzip of text": (gzip.compress(b"hello"), "unknown format", "what is inside is not FITS"),
    "torn gzip": (gzip.compress(fits_bytes(fits.ImageHDU(PIXELS)))[:-20], "damaged file", "not proper gzip"),
    "torn PNG": (png_of((500, 500))[:60], "damaged file", "damaged picture"),
    "PNG of 13,000^2": (png_of((13_000, 13_000)), "too large", "Mpixel|too many pixels"),
    "torn HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(50), "damaged file", "damaged HDF5"),
    "HDF5 external link": (external_link, "no image", "no 2-D or 3-D data set"),
    "HDF5 soft link": (soft_link, "no image", "no 2-D or 3-D data set"),
    "HDF5 external storage": (external_storage, "external storage", "in another file, which is refused"),
    "HDF5 virtual": (virtual_storage, "external storage", "in another file, which is refused"),
    "HDF5 without an image": (lambda path: hdf5_bytes(path, lambda root, _: root.create_dataset("x", data=range(5))),
                              "no image", r"has no 2-D or 3-D data set\.$"),
    "HDF5 claims GB": (huge_hdf5, "too large", "claims shape"),
}


def zip_of_text():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("../../readme.txt", "hello")
    return file.getvalue()


@pytest.mark.parametrize(("content", "reason", "words"), BAD.values(), ids=BAD)
def test_each_malformed_kind_has_its_message(tmp_path, content, reason, words):
    path = tmp_path / "file.npy"
    content = zip_of_text() if content is None else content(path) if callable(content) else content
    with pytest.raises(BadImageError, match=words) as caught:
        read_image(write(path, content))
    assert caught.value.reason == reason
    assert "'file.npy" in str(caught.value)
    assert not (tmp_path / "canary").exists()


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(BadImageError, match="no file at"):
        read_image(tmp_path / "x.npy")
    with pytest.raises(BadImageError, match="cannot be read: Is a directory"):
        read_image(tmp_path)


SEEDS = {"npy": npy_bytes(PIXELS), "npz": npz_of(PIXELS), "fits": fits_bytes(fits.ImageHDU(PIXELS)),
         "png": png_of((20, 20))}  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(kind=st.sampled_from(sorted(SEEDS)), data=st.data())
def test_spoilt_bytes_never_raise_anything_else(kind, data):
    content = bytearray(SEEDS[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(1, len(content)))]
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(BadImageError):
        assert read_image(write(Path(folder) / "x", bytes(content))).pixels.dtype == np.float32


def test_a_header_of_numpy_that_ends_in_the_middle(tmp_path):
    """numpy reads what may be an old header with a tokenizer, whose error is of a kind of its own."""
    for place in range(10, 14):
        with pytest.raises(BadImageError):  # noqa: PT012
            spoilt = bytearray(npy_bytes(PIXELS))
            spoilt[place] = 0
            read_image(write(tmp_path / f"{place}.npy", bytes(spoilt)))
