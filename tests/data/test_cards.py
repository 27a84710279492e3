import numpy as np
import pytest

from adamem.data import card, dataset_names
from adamem.data.cards import card_folders
from adamem.errors import DataError, UnknownName


def test_every_card_is_whole():
    """Each card reads, bears its file's name, and says source, licence and metric."""
    names = dataset_names()
    assert {"fashion-mnist", "pydocs", "medquad-passages", "sift-128-euclidean", "yahoo-minilm-384-normalized"} <= set(
        names
    )
    for name in names:
        known = card(name)
        assert known.name == name
        assert known.source
        assert known.licence
        assert known.metric is not None
        assert known.kind != "vectors" or (known.rows and known.dim and known.files)


def test_every_downloadable_file_has_a_checksum_or_is_of_a_known_host():
    """A file without any checksum is only taken from the sets' own publishers."""
    hosts = ("http://ann-benchmarks.com/", "https://huggingface.co/datasets/vector-index-bench/vibe/resolve/main/")
    hosts += ("https://github.com/fabiocarrara/str-encoders/releases/",)
    for name in dataset_names():
        for file in card(name).files:
            if file.url and not (file.sha256 or file.md5):
                assert file.url.startswith(hosts), file.url


def test_names_of_public_sets_tell_their_shape():
    """ann-benchmarks and VIBE put dimension and distance into the name; the cards agree with it."""
    metrics = {"euclidean": "l2", "angular": "cosine", "cosine": "cosine", "normalized": "cosine", "ip": "ip"}
    checked = 0
    for name in dataset_names():
        head, _, distance = name.rpartition("-")
        if distance in metrics:
            checked += 1
            assert card(name).metric == metrics[distance]
            assert card(name).dim == int(head.rpartition("-")[2])
    assert checked > 30


def test_no_python_lies_beside_the_cards():
    """The folder of the cards holds .toml files only: a module there would shadow another package."""
    assert {path.suffix for path in card_folders()[0].iterdir() if path.is_file()} == {".toml"}


def test_an_unknown_name_gets_the_nearest():
    """The error lists what is known and guesses what was meant."""
    with pytest.raises(UnknownName, match=r"unknown dataset 'sift-128'; did you mean 'sift-128-euclidean'.*known: "):
        card("sift-128")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("name = ", "is no TOML file"),
        ('name = "mine"', "key 'kind' is"),
        ('name = "mine"\ncolour = 1', "key 'kind'|key 'colour'"),
        (
            'name = "yours"\nkind = "text"\nformat = "texts"\ntitle = ""\nlicence = ""\nsource = ""',
            "key 'name' is 'yours', expected the file's own name 'mine'",
        ),
        (
            'name = "mine"\nkind = "text"\nformat = "texts"\ntitle = ""\nlicence = ""\nsource = ""\nmetric = "hamming"',
            "key 'metric' is 'hamming': Input should be 'l2', 'cosine' or 'ip'",
        ),
    ],
)
def test_a_bad_card_is_named(cache, content, complaint):
    """A card that is none says which key is wrong."""
    (cache / "cards").mkdir(parents=True)
    (cache / "cards" / "mine.toml").write_text(content)
    with pytest.raises(DataError, match=complaint):
        card("mine")


def test_shapes_on_cards_are_those_of_the_files(real_data):
    """Rows, queries and dimensions of every vector set of the mirror are as its card says."""
    from adamem.data import load

    for name in ("fashion-mnist", "lsa-medquad256", "minilm-medquad384"):
        found, known = load(name), card(name)
        assert found.base.shape == (known.rows, known.dim)
        assert found.queries.shape == (known.query_count, known.dim)
        assert found.base.dtype == np.float32
