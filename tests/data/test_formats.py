import gzip
import json
import struct

import h5py
import numpy as np
import pytest

from adamem.data import load
from adamem.errors import DataError, InvalidInput

RNG = np.random.default_rng(0)
BASE = RNG.integers(1, 100, size=(50, 6)).astype(np.float32)
QUERIES = RNG.integers(1, 100, size=(7, 6)).astype(np.float32)


def write_hdf5(path, **attributes):
    with h5py.File(path, "w") as file:
        file.attrs.update({"distance": "euclidean", "point_type": "float", "dimension": 6} | attributes)
        file["train"], file["test"], file["learn"] = BASE, QUERIES, BASE[:5]
        file["neighbors"], file["distances"] = np.zeros((7, 3), "i4"), np.zeros((7, 3), "f4")


def write_idx(path, table):
    head = struct.pack(">HBB", 0, 0x08, 3) + struct.pack(">3I", len(table), 2, 3)
    path.write_bytes(gzip.compress(head + table.astype("u1").tobytes()))


def write_texmex(path, table, dtype):
    rows = [struct.pack("<i", table.shape[1]) + row.astype(dtype).tobytes() for row in table]
    path.write_bytes(b"".join(rows))


def write_flat(path, table, dtype):
    path.write_bytes(struct.pack("<2I", *table.shape) + table.astype(dtype).tobytes())


def write_lines(path, table, separator):
    path.write_text("".join(separator.join(str(int(x)) for x in row) + "\n" for row in table))


PAIRS = {
    "npy": (np.save, "base.npy", "queries.npy"),
    "float64 npy": (lambda path, table: np.save(path, table.astype("f8")), "base.npy", "query.npy"),
    "float16 npy": (lambda path, table: np.save(path, table.astype("f2")), "train.npy", "test.npy"),
    "column-wise npy": (lambda path, table: np.save(path, np.asfortranarray(table)), "base.npy", "queries.npy"),
    "idx": (write_idx, "train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz"),
    "fvecs": (lambda path, table: write_texmex(path, table, "<f4"), "sift_base.fvecs", "sift_query.fvecs"),
    "bvecs": (lambda path, table: write_texmex(path, table, "u1"), "base.bvecs", "query.bvecs"),
    "ivecs": (lambda path, table: write_texmex(path, table, "<i4"), "base.ivecs", "query.ivecs"),
    "fbin": (lambda path, table: write_flat(path, table, "<f4"), "base.fbin", "query.fbin"),
    "f16bin": (lambda path, table: write_flat(path, table, "<f2"), "base.f16bin", "query.f16bin"),
    "u8bin": (lambda path, table: write_flat(path, table, "u1"), "base.u8bin", "query.u8bin"),
    "i8bin": (lambda path, table: write_flat(path, table, "i1"), "base.i8bin", "query.i8bin"),
    "ibin": (lambda path, table: write_flat(path, table, "<i4"), "base.ibin", "query.ibin"),
    "tsv": (lambda path, table: write_lines(path, table, "\t"), "base.tsv", "queries.tsv"),
    "csv": (lambda path, table: write_lines(path, table, ","), "base.csv", "queries.csv"),
    "txt": (lambda path, table: write_lines(path, table, "  "), "base.txt", "queries.txt"),
}


@pytest.mark.parametrize("kind", PAIRS)
def test_every_matrix_format_gives_the_same_rows(kind, tmp_path):
    """A folder with base and queries in any format becomes float32 rows, C-contiguous, in the file's order."""
    write, base, queries = PAIRS[kind]
    write(tmp_path / base, BASE)
    write(tmp_path / queries, QUERIES)
    found = load(tmp_path, metric="l2")
    assert np.array_equal(found.base, BASE)
    assert np.array_equal(found.queries, QUERIES)
    assert found.base.dtype == np.float32
    assert found.base.flags.c_contiguous


def test_hdf5_carries_its_metric_and_its_learning_vectors(tmp_path):
    """ann-benchmarks' and VIBE's layout: train, test, learn, and the distance as an attribute."""
    write_hdf5(tmp_path / "a.hdf5")
    found = load(tmp_path / "a.hdf5")
    assert found.metric == "l2"
    assert np.array_equal(found.base, BASE)
    assert np.array_equal(found.queries, QUERIES)
    assert np.array_equal(found.learn, BASE[:5])


@pytest.mark.parametrize(
    ("distance", "metric"),
    [("angular", "cosine"), ("cosine", "cosine"), ("normalized", "cosine"), ("ip", "ip"), ("euclidean", "l2")],
)
def test_hdf5_distances_by_their_names(tmp_path, distance, metric):
    """Each name that ann-benchmarks and VIBE use for a distance is one of ours."""
    write_hdf5(tmp_path / "a.hdf5", distance=distance)
    assert load(tmp_path / "a.hdf5").metric == metric


def test_npz_members_by_name(tmp_path):
    """np.savez(base=, queries=, learn=), compressed or not, becomes a data set."""
    np.savez_compressed(tmp_path / "a.npz", base=BASE, queries=QUERIES, learn=BASE[:3])
    found = load(tmp_path / "a.npz", metric="ip")
    assert np.array_equal(found.base, BASE)
    assert np.array_equal(found.queries, QUERIES)
    assert np.array_equal(found.learn, BASE[:3])


def test_ids_files_name_the_rows(tmp_path):
    """base_ids.json and query_ids.json in a folder give the rows their names."""
    np.save(tmp_path / "base.npy", BASE)
    np.save(tmp_path / "query.npy", QUERIES)
    (tmp_path / "base_ids.json").write_text(json.dumps([f"b{i}" for i in range(50)]))
    (tmp_path / "query_ids.json").write_text(json.dumps([f"q{i}" for i in range(7)]))
    found = load(tmp_path, metric="l2", limit=3)
    assert found.base_ids == ("b0", "b1", "b2")
    assert found.query_ids == tuple(f"q{i}" for i in range(7))


@pytest.mark.parametrize("kind", ["npy", "idx", "fvecs", "bvecs", "fbin", "u8bin"])
def test_a_truncated_matrix_is_refused(kind, tmp_path):
    """A file that lost its last bytes is an error that names it, not a shorter data set."""
    write, base, queries = PAIRS[kind]
    write(tmp_path / base, BASE)
    write(tmp_path / queries, QUERIES)
    whole = (tmp_path / base).read_bytes()
    (tmp_path / base).write_bytes(whole[:-5])
    with pytest.raises(DataError, match=rf"{base}.*(again|cropped copy)"):
        load(tmp_path, metric="l2")


def test_a_truncated_hdf5_file_is_refused(tmp_path):
    """Half an HDF5 file is an error with the way out."""
    write_hdf5(tmp_path / "a.hdf5")
    whole = (tmp_path / "a.hdf5").read_bytes()
    (tmp_path / "a.hdf5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"a\.hdf5 is no whole HDF5 file: .*; fetch it again"):
        load(tmp_path / "a.hdf5")


def test_a_truncated_npz_file_is_refused(tmp_path):
    """So is half an npz file."""
    np.savez(tmp_path / "a.npz", base=BASE)
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(whole[:-50])
    with pytest.raises(DataError, match=r"a\.npz is no whole \.npz file: .*; fetch or write it again"):
        load(tmp_path / "a.npz", metric="l2")


def test_an_altered_npz_member_is_refused(tmp_path):
    """A flipped byte inside a member does not pass: the archive's own checksum is looked at."""
    np.savez(tmp_path / "a.npz", base=np.tile(BASE, (200, 1)))
    raw = bytearray((tmp_path / "a.npz").read_bytes())
    raw[200_000] ^= 1  # well after what is read with the header
    (tmp_path / "a.npz").write_bytes(raw)
    with pytest.raises(DataError, match=r"a\.npz \[base\] is truncated or altered: Bad CRC-32"):
        load(tmp_path / "a.npz", metric="l2")


def test_an_altered_gzip_is_refused(tmp_path):
    """A flipped byte in the gzipped images is found by gzip's checksum."""
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", BASE)
    raw = bytearray((tmp_path / "train-images-idx3-ubyte.gz").read_bytes())
    raw[-6] ^= 1  # in the trailer
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(raw)
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz is truncated or altered: CRC check failed"):
        load(tmp_path, metric="l2")


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.npy", b"not an array", "a.npy is no whole .npy file"),
        ("a.hdf5", b"not hdf5", "a.hdf5 is no whole HDF5 file"),
        ("a.fvecs", b"\xff\xff\xff\xff", "claims -1 dimensions"),
        ("a.fbin", b"\x01", "its header says 0 rows of 0 dimensions"),
        ("a.idx", b"\x89PNG", "starts with 89504e47, expected 0000"),
        ("a.tsv", b"1\t2\n3\tfour\n", "a.tsv: a line after row 0 does not have 2 numbers"),
        ("a.tsv", b"1\t2\t3\n4\t5\n", "a.tsv: a line after row 0 does not have 3 numbers"),
        ("a.tsv", b"\xd0\xbf", "a.tsv is no table of numbers"),
        ("a.tsv", b"\n", "a.tsv has 0 columns"),
        ("a.tsv", b"", "a.tsv is an empty file; fetch or write it again"),
        ("a.fvecs", b"", "a.fvecs is an empty file; fetch or write it again"),
        ("a.fbin", b"", "a.fbin is an empty file; fetch or write it again"),
        ("a.xlsx", b"PK", "files that end in '.xlsx' are not read; expected one of .bvecs"),
        ("a.npy.gz", b"\x1f\x8b", "files that end in '.npy.gz' are not read"),
    ],
)
def test_a_foreign_file_is_refused(name, content, complaint, tmp_path):
    """A file of another format than its name says is an error that says what was found."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=complaint):
        load(tmp_path / name, metric="l2")


def test_a_row_of_another_length_is_found(tmp_path):
    """fvecs whose rows differ in length are refused with the row's number."""
    write_texmex(tmp_path / "a.fvecs", BASE, "<f4")
    raw = bytearray((tmp_path / "a.fvecs").read_bytes())
    raw[28 * 9] = 5
    (tmp_path / "a.fvecs").write_bytes(raw)
    with pytest.raises(DataError, match="row 9 claims 5 dimensions, the first has 6"):
        load(tmp_path / "a.fvecs", metric="l2")


def test_sets_and_bits_are_refused(tmp_path):
    """Jaccard and Hamming sets of ann-benchmarks hold no vectors, and the error says so."""
    write_hdf5(tmp_path / "a.hdf5", distance="jaccard")
    with pytest.raises(DataError, match="under distance 'jaccard'; expected dense vectors"):
        load(tmp_path / "a.hdf5")
    write_hdf5(tmp_path / "b.hdf5", distance="hamming", point_type="bit")
    with pytest.raises(DataError, match="holds dense bit points"):
        load(tmp_path / "b.hdf5")


def test_an_hdf5_file_without_vectors_is_refused(tmp_path):
    """The error says what the file holds and what was expected."""
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["images"] = BASE
    with pytest.raises(DataError, match="holds images; expected the vectors under 'train'"):
        load(tmp_path / "a.hdf5", metric="l2")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(bad, tmp_path):
    """NaN and infinity are named by row and column, in a mapped file as in a converted one."""
    table = BASE.copy()
    table[31, 4] = bad
    for dtype in ("f4", "f8"):
        np.save(tmp_path / "a.npy", table.astype(dtype))
        with pytest.raises(DataError, match=rf"a\.npy: row 31, column 4 is {bad}; expected a finite float32"):
            load(tmp_path / "a.npy", metric="l2")


def test_a_double_too_large_for_float32_is_refused(tmp_path):
    """A float64 that would become infinite in float32 is refused with its value."""
    table = BASE.astype("f8")
    table[3, 2] = 1e300
    np.save(tmp_path / "a.npy", table)
    with pytest.raises(DataError, match=r"row 3, column 2 is 1e\+300; expected a finite float32"):
        load(tmp_path / "a.npy", metric="l2")


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
@pytest.mark.parametrize("part", ["base", "queries"])
def test_rows_too_long_for_float32_are_refused(part, metric, dtype, tmp_path):
    """Finite numbers whose squares overflow are named by their row, as no index could build on them."""
    tables = {"base": BASE.astype(dtype), "queries": QUERIES.astype(dtype)}
    tables[part][3] *= 1e30
    for name, table in tables.items():
        np.save(tmp_path / f"{name}.npy", table)
    with pytest.raises(DataError, match=rf"{part}\.npy: row 3 is so long that .* float32; scale the vectors down"):
        load(tmp_path, metric=metric)


def test_long_rows_that_float32_can_square_are_kept(tmp_path):
    """1e18 is long, but its square is not beyond float32."""
    np.save(tmp_path / "a.npy", np.eye(20, dtype="f4") * 1e18)
    assert load(tmp_path / "a.npy", metric="l2").base.max() == np.float32(1e18)


def test_widths_must_agree(tmp_path):
    """Queries of another width than the base are refused, naming both files."""
    np.save(tmp_path / "base.npy", BASE)
    np.save(tmp_path / "queries.npy", QUERIES[:, :5])
    with pytest.raises(DataError, match=r"queries\.npy: queries have 5 dimensions, but the base in .*base\.npy has 6"):
        load(tmp_path, metric="l2")


def test_an_empty_set_is_refused(tmp_path):
    """A file without rows is no data set."""
    np.save(tmp_path / "a.npy", BASE[:0])
    with pytest.raises(DataError, match=r"a\.npy has no rows"):
        load(tmp_path / "a.npy", metric="l2")


def test_rows_without_dimensions_are_called_so(tmp_path):
    """Five rows of no numbers are five rows, not none, in a mapped file as in a bundle."""
    np.save(tmp_path / "a.npy", BASE[:5, :0])
    np.savez(tmp_path / "a.npz", base=BASE[:5, :0])
    for name in ("a.npy", "a.npz"):
        with pytest.raises(DataError, match=rf"{name} has 5 rows of 0 dimensions; expected at least 1"):
            load(tmp_path / name, metric="l2")


def test_a_metric_is_asked_for(tmp_path):
    """A file that does not say its metric needs one from the caller."""
    np.save(tmp_path / "a.npy", BASE)
    with pytest.raises(InvalidInput, match="does not say how its vectors compare; name the metric: l2, cosine, ip"):
        load(tmp_path / "a.npy")


def test_two_files_for_one_part_are_refused(tmp_path):
    """Which of two bases is meant is not guessed."""
    np.save(tmp_path / "base.npy", BASE)
    np.save(tmp_path / "train.npy", BASE)
    with pytest.raises(DataError, match=r"base\.npy and train\.npy both claim to be the base"):
        load(tmp_path, metric="l2")


def test_a_folder_without_data_is_refused(tmp_path):
    """The error says which names are looked for."""
    (tmp_path / "readme.md").write_text("nothing")
    with pytest.raises(DataError, match=r"holds no data set: expected base\.npy"):
        load(tmp_path, metric="l2")


def test_names_must_be_as_many_as_rows(tmp_path):
    """An ids file of another length is refused."""
    np.save(tmp_path / "base.npy", BASE)
    np.save(tmp_path / "queries.npy", QUERIES)
    (tmp_path / "base_ids.json").write_text('["a", "b"]')
    with pytest.raises(DataError, match="50 base rows but 2 names"):
        load(tmp_path, metric="l2")


def test_parquet_lists_become_rows(tmp_path):
    """A Parquet file with one column of lists of numbers is a base; other columns are ignored."""
    arrow = pytest.importorskip("pyarrow", reason="Parquet is read where pyarrow is installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    names = arrow.array([str(number) for number in range(len(BASE))])
    fixed = arrow.FixedSizeListArray.from_arrays(arrow.array(BASE.ravel()), 6)
    for column in (arrow.array(BASE.tolist()), fixed):
        parquet.write_table(arrow.table({"name": names, "emb": column}), tmp_path / "base.parquet", row_group_size=20)
        np.save(tmp_path / "queries.npy", QUERIES)
        found = load(tmp_path, metric="l2")
        assert np.array_equal(found.base, BASE)
        assert np.array_equal(found.queries, QUERIES)


def test_a_bad_parquet_file_is_refused(tmp_path):
    """Truncated, ragged, with gaps, or without a column of vectors: each is named."""
    arrow = pytest.importorskip("pyarrow", reason="Parquet is read where pyarrow is installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    for rows, complaint in (
        ([[1.0, 2.0], [3.0]], "row 1 has not 2 numbers like the first"),
        ([[1.0, 2.0], None], "row 1 has not 2 numbers like the first"),
        ([[1.0, 2.0], [3.0, None]], "row 1, column 1 is nan"),
        ([1.0, 2.0], r"has 0 columns of lists of numbers \(none\) among emb"),
    ):
        parquet.write_table(arrow.table({"emb": arrow.array(rows)}), path)
        with pytest.raises(DataError, match=complaint):
            load(path, metric="l2")
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DataError, match=r"a\.parquet is no whole Parquet file"):
        load(path, metric="l2")
