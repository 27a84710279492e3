"""A program: damages saved SpiralGraphs in many ways and sees that each is refused, or answers as an index must.

``python spiral_mutations.py FOLDER SEED COUNT``. It runs in a process of its own, so that a crash is told from a
refusal; the last line that it prints names the damage it was at.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np

from adamem.errors import CorruptResult, StorageError
from adamem.index import IdFilter, index_class
from adamem_indexes._store import signed

SPIRAL = index_class("spiral")
NIL = 0xFFFFFFFF
ODD = [None, -1, 0, 1, 2, 63, 64, 299, 300, 2**31, 2**70, 0.5, -0.0, 1e308, float("nan"), float("inf"), "", "x", "l2",
       "ip", "cosine", True, False, [], [1], {}, {"a": 1}, "../x", "a\0b", "y" * 5_000]  # fmt: skip


STRUCTURES = ["a circle of twins", "twins of each other", "one twin of two", "false twins", "links to a twin",
              "links past the end", "one node", "children in a loop", "no way down", "leaves past the end",
              "a twin as a leaf", "a twin as the root", "ids twice", "ids below -1", "all deleted"]  # fmt: skip


def clustered(n, dim, seed):
    random = np.random.default_rng(seed)
    centres = random.normal(size=(6, dim))
    return (centres[random.integers(6, size=n)] + 0.3 * random.normal(size=(n, dim))).astype(np.float32)


def save_all(folder: Path) -> list[Path]:
    """Indexes of every kind, with twins and tombstones; of so few links that searches walk along them."""
    kinds = {
        "graph": ("l2", 40, {"scan_below": 0, "R": 8}),
        "again": ("l2", 40, {"scan_below": 0, "R": 8}),
        "cosine-file": ("cosine", 200, {"scan_below": 0, "R": 8, "vectors": "file", "code_bytes": 64}),
        "ip": ("ip", 40, {"scan_below": 0, "R": 6}),
        "plain": ("l2", 24, {"scan_below": 0, "R": 8, "codes": "fp32"}),
        "scanned": ("cosine", 24, {}),
    }
    for number, (name, (metric, dim, params)) in enumerate(kinds.items()):
        vectors = clustered(290, dim, number)
        vectors = np.concatenate([vectors, vectors[:10]])
        index = SPIRAL.build(vectors, np.arange(300) * 3, metric=metric, params=params)
        index.delete(np.arange(100, 120) * 3)
        index.save(folder / name)
    return [folder / name for name in kinds]


class Damage:
    """One saved folder, and the ways to damage it; each says what it did."""

    def __init__(self, folder: Path, others: list[Path], random: np.random.Generator) -> None:
        self.folder, self.others, self.random = folder, others, random
        self.manifest = json.loads((folder / "manifest.json").read_text())
        self.manifest.pop("sha256")  # `write_manifest` adds the one that fits
        self.files = {name: folder / entry["file"] for name, entry in self.manifest["files"].items()}

    def one(self) -> str:
        ways = [self.bytes_of_a_file, self.end_of_a_file, self.file, self.elements, self.elements, self.elements,
                self.form, self.header, self.parts, self.manifest_value, self.manifest_value, self.manifest_text,
                self.structure, self.structure]  # fmt: skip
        return ways[self.random.integers(len(ways))]()

    def pick(self, options):
        return options[self.random.integers(len(options))]

    def array(self, name):
        return np.load(self.files[name])

    def put(self, name, array) -> None:
        np.save(self.files[name], array)
        self.files[name].write_bytes(self.files[name].read_bytes())
        self.seal()

    def seal(self) -> None:
        """Let the checksums fit again."""
        for name, path in self.files.items():
            if path.is_file():
                content = path.read_bytes()
                entry = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
                self.manifest["files"][name].update(entry)
        self.write_manifest()

    def write_manifest(self) -> None:
        """With a checksum that fits, where what it says has one."""
        try:
            whole = signed(self.manifest)
        except ValueError:  # not a number
            whole = self.manifest
        (self.folder / "manifest.json").write_text(json.dumps(whole))

    def maybe_seal(self) -> str:
        if self.random.random() < 0.7:
            self.seal()
            return ", sealed"
        return ""

    def bytes_of_a_file(self) -> str:
        name = self.pick(list(self.files))
        content = bytearray(self.files[name].read_bytes())
        for _ in range(self.random.integers(1, 6)):
            content[self.random.integers(len(content))] ^= int(self.random.integers(1, 256))
        self.files[name].write_bytes(content)
        return f"bytes of {name}{self.maybe_seal()}"

    def end_of_a_file(self) -> str:
        name = self.pick(list(self.files))
        content = self.files[name].read_bytes()
        cut = int(self.random.integers(len(content)))
        self.files[name].write_bytes(content[:cut] if self.random.random() < 0.7 else content + content[:cut])
        return f"end of {name}{self.maybe_seal()}"

    def file(self) -> str:
        name = self.pick(list(self.files))
        self.files[name].unlink()
        how = self.pick(["gone", "a folder", "empty", "not an entry"])
        if how == "a folder":
            self.files[name].mkdir()
        elif how == "empty":
            self.files[name].write_bytes(b"")
        elif how == "not an entry":
            del self.manifest["files"][name], self.files[name]
        return f"{name} {how}{self.maybe_seal()}"

    def elements(self) -> str:
        name = self.pick(list(self.files))
        array = self.array(name)
        if array.size == 0:
            return f"{name} is empty"
        whole = array.dtype.kind in "iu"
        values = [-(2**31), -300, -2, -1, 0, 1, 5, 279, 299, 300, 2**31 - 1, 2**32 - 1] if whole else [
            np.nan, np.inf, -np.inf, 0.0, -0.0, 1e30, -1e30, 1e-30, 1e18]  # fmt: skip
        for _ in range(self.random.integers(1, 40)):
            place = self.random.integers(array.size)
            array.reshape(-1)[place] = np.array([self.pick(values)]).astype(np.int64 if whole else float).astype(
                array.dtype)[0]  # fmt: skip
        self.put(name, array)
        return f"elements of {name}"

    def form(self) -> str:
        name = self.pick(list(self.files))
        array = self.array(name)
        how = self.pick(["type", "order", "longer", "shorter", "flat", "empty", "deeper", "bytes swapped", "columns"])
        if how == "type":
            array = array.astype(self.pick([np.float64, np.int32, np.uint8, np.float16, np.bool_, "S4", ">f4"]))
        elif how == "order":
            array = array[::-1].T if self.random.random() < 0.5 else np.asfortranarray(array)
        elif how == "longer":
            array = np.concatenate([array, array[:1]])
        elif how == "shorter":
            array = array[:-1]
        elif how == "flat":
            array = array.reshape(-1)
        elif how == "empty":
            array = array[:0]
        elif how == "deeper":
            array = array[None]
        elif how == "bytes swapped":
            array = array.astype(array.dtype.newbyteorder())
        elif array.ndim == 2:
            array = array[:, : array.shape[1] // 2]
        self.put(name, array)
        return f"form of {name}: {how}"

    def header(self) -> str:
        name = self.pick(list(self.files))
        content = bytearray(self.files[name].read_bytes())
        how = self.pick(["bytes", "huge", "negative", "deep", "short"])
        if how == "bytes":
            for _ in range(self.random.integers(1, 4)):
                content[self.random.integers(min(128, len(content)))] = int(self.random.integers(256))
        else:
            shape = {"huge": "(9000000000000000000, 64)", "negative": "(-300, -40)", "deep": "(" * 90, "short": "(1,)"}
            text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape[how]}, }}".ljust(117) + "\n"
            content[10:128] = text.encode()
        self.files[name].write_bytes(content)
        self.seal()
        return f"header of {name}: {how}"

    def parts(self) -> str:
        other = self.pick(self.others)
        entries = json.loads((other / "manifest.json").read_text())["files"]
        some = [name for name in self.files if name in entries and self.random.random() < 0.4]
        for name in some:
            shutil.copy(other / entries[name]["file"], self.files[name])
        return f"{some} of {other.name}{self.maybe_seal()}"

    def manifest_value(self) -> str:
        at, path = self.manifest, []
        while True:
            key = self.pick(list(at))
            path.append(key)
            if not isinstance(at[key], dict) or not at[key] or self.random.random() < 0.1:
                break
            at = at[key]
        value = self.pick([*ODD, "remove"])
        if value == "remove":
            del at[key]
        else:
            at[key] = value
        self.write_manifest()
        return f"manifest's {'.'.join(path)} = {str(value)[:40]!r}"

    def manifest_text(self) -> str:
        path = self.folder / "manifest.json"
        content = bytearray(path.read_bytes())
        how = self.pick(["cut", "bytes", "deep", "other", "a folder"])
        if how == "cut":
            content = content[: self.random.integers(len(content))]
        elif how == "bytes":
            for _ in range(self.random.integers(1, 4)):
                content[self.random.integers(len(content))] = int(self.random.integers(256))
        elif how == "deep":
            content = b"[" * 200_000
        elif how == "other":
            content = self.pick([b"{}", b"[]", b"null", b"1", b'"x"', b"\xff\xfe", b"1" * 10_000])
        path.unlink()
        if how == "a folder":
            path.mkdir()
        else:
            path.write_bytes(content)
        return f"manifest's text: {how}"

    def structure(self) -> str:
        how = self.pick(STRUCTURES)
        n = 300
        if how in (
            "children in a loop",
            "no way down",
            "leaves past the end",
            "a twin as a leaf",
            "a twin as the root",
        ):
            if "children" not in self.files:
                return f"no spiral for {how}"
            name = {"a twin as a leaf": "leaves", "leaves past the end": "leaves", "a twin as the root": "root"}.get(
                how, "children")  # fmt: skip
            array = self.array(name)
            row = self.random.integers(array.shape[0])
            array[row] = {"children in a loop": row, "no way down": -1, "leaves past the end": n}.get(how, 290)
        elif "twin" in how and "links" not in how:
            name, array = "twins", self.array("twins")
            some = self.random.permutation(280)[:3] + 10
            for a, b in {"a circle of twins": [(0, 1), (1, 2), (2, 0)], "twins of each other": [(0, 1), (1, 0)],
                         "one twin of two": [(0, 2), (1, 2)], "false twins": [(0, 1)]}[how]:  # fmt: skip
                array[some[a]] = some[b]
        elif "links" in how or how == "one node":
            name, array = "links", self.array("links")
            if how == "links to a twin":
                array[:290, 0] = 290
            elif how == "one node":
                array[:] = 7
            else:
                array[self.random.integers(n)] = n + self.random.integers(2**20)
        else:
            name, array = "ids", self.array("ids")
            if how == "all deleted":
                array[:] = -1
            else:
                array[self.random.integers(80)] = array[290] if how == "ids twice" else -7
        self.put(name, array)
        return how


def check_answers(index, random: np.random.Generator) -> None:
    """Searches as the contract wants them, with the vectors that the index says it holds as the truth."""
    body = index._body
    ids = body.labels.of_rows.copy()
    held = body.rows.vectors[: ids.size].astype(np.float64)
    live = np.flatnonzero(ids >= 0)
    assert len(index) == live.size
    row_of = {int(ids[row]): int(row) for row in live}
    queries = random.normal(size=(3, index.dim)).astype(np.float32)
    if ids.size:
        queries[:2] = held[0], held[random.integers(min(10, ids.size))]  # those have twins
    some = IdFilter(ids[live[::3]]) if live.size else None
    for k, wanted in ((1, None), (10, None), (400, None), (10, some)):
        found = index.search(queries, k, params={"ef": int(random.integers(1, 64))}, filter=wanted)
        count = min(k, live.size if wanted is None else len(wanted))
        for query, answer, distances in zip(queries.astype(np.float64), found.ids, found.distances, strict=True):
            assert (answer[:count] >= 0).all(), "too few"
            assert (answer[count:] == -1).all(), "too many"
            pairs = list(zip(distances[:count].tolist(), answer[:count].tolist(), strict=True))
            assert pairs == sorted(pairs), "out of order"
            assert len(set(answer[:count].tolist())) == count, "an id twice"
            rows = [row_of[int(label)] for label in answer[:count]]
            if index.metric == "l2":
                true = ((held[rows] - query) ** 2).sum(axis=1)
            else:
                unit = query / np.linalg.norm(query) if index.metric == "cosine" else query
                true = (1.0 if index.metric == "cosine" else 0.0) - held[rows] @ unit
            size = (held[rows] ** 2).sum(axis=1) + (query**2).sum() + 1
            assert (np.abs(distances[:count] - true) <= 1e-5 * size).all(), "false distances"


def main() -> None:
    folder, seed, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    saved = save_all(folder / "saved")
    refused = answered = 0
    for number in range(count):
        random = np.random.default_rng([seed, number])
        base = saved[random.integers(len(saved))]
        here = folder / "here"
        shutil.rmtree(here, ignore_errors=True)
        shutil.copytree(base, here)
        with np.errstate(all="ignore"):
            damage = Damage(here, saved, random).one()
        sys.stdout.write(f"{seed} {number}: {base.name}: {damage}\n")
        sys.stdout.flush()
        try:
            index = SPIRAL.load(here, mmap=bool(random.integers(2)))
        except (CorruptResult, StorageError) as error:
            said = str(error)
            refused += 1
        else:
            said = ""
        if said:
            assert "; " in said, said  # what is wrong; the way out
            continue
        answered += 1
        check_answers(index, random)
        if random.random() < 0.5:
            fresh = clustered(30, index.dim, number)
            index.insert(fresh, np.arange(5_000, 5_030))
            index.delete(np.arange(5_000, 5_005))
            check_answers(index, random)
            index.maintain()
            check_answers(index, random)
            index.save(folder / "again")
            check_answers(SPIRAL.load(folder / "again"), random)
    sys.stdout.write(f"done: {refused} refused, {answered} answered\n")


if __name__ == "__main__":
    main()
