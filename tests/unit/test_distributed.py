"""Large runs without Ray: ids, blocks, commits, exactly once, isolation of images that break workers, verification."""

from __future__ import annotations

import json
import sys
from collections import Counter

import pytest

from samtailor.distributed import passes
from samtailor.distributed.items import IdSet, Item, list_items, spool
from samtailor.distributed.ledger import Layout, Ledger
from samtailor.distributed.manifest import verify
from samtailor.distributed.results import Result, done, postponed, unreadable
from samtailor.distributed.run import Sizes, run
from samtailor.distributed.store import Store
from samtailor.errors import DataError, InputError, MissingExtraError

COLUMNS = {"image": "string", "score": "double"}


def encode(rows, columns):
    return json.dumps([{name: row[name] for name in columns} for row in rows]).encode()


def decode(content, name):
    return json.loads(content)


LAYOUT = Layout("objects", COLUMNS, encode, decode, ".json")


def items(count, first=0):
    return [Item(f"i{number}", f"/in/{number}.png") for number in range(first, first + count)]


def result(item):
    return done(item, ({"image": item.id, "score": 0.5},), height=4, width=6)


class Killed(BaseException):
    """The driver is killed."""


class Engine:
    """Computes results here: loses images that break workers together with their group, and repeats some results."""

    def __init__(self, *, poison=(), lose=(), twice=False, stop_after=None):
        self.poison, self.lose, self.twice, self.stop_after = set(poison), list(lose), twice, stop_after
        self.given, self.closed = Counter(), 0

    def run(self, blocks, group):
        for block in blocks:
            for first in range(0, len(block), group):
                yield from self._group(block[first : first + group])

    def _group(self, group):
        self.given.update(item.id for item in group)
        if any(item.id in self.poison for item in group):
            return
        if self.lose and self.lose[0] in {item.id for item in group}:
            self.lose.pop(0)
            return
        for item in group:
            if self.stop_after is not None and sum(self.given.values()) > self.stop_after:
                raise Killed
            yield result(item)
            if self.twice:
                yield result(item)

    def close(self):
        self.closed += 1


def go(tmp_path, engine, number=20, *, block=6, group=3, tries=2, **options):
    settings = options.pop("settings", {"task": "label"})
    return run(
        options.pop("items", items(number)), str(tmp_path / "out"), LAYOUT, settings, lambda: engine,
        sizes=Sizes(block, group, tries), **options,
    )  # fmt: skip


def rows_of(tmp_path, table):
    return [row for file in sorted((tmp_path / "out" / table).glob("*.json")) for row in json.loads(file.read_bytes())]


def ids_of(tmp_path, table="images"):
    return Counter(row["image"] for row in rows_of(tmp_path, table))


def check(tmp_path):
    return verify(str(tmp_path / "out"), decode=decode)


def test_every_image_is_in_the_result_once(tmp_path):
    engine = Engine(twice=True)
    summary = go(tmp_path, engine)
    assert ids_of(tmp_path) == ids_of(tmp_path, "objects") == Counter(item.id for item in items(20))
    assert (summary.images, summary.rows, summary.earlier, engine.closed) == (20, 20, 0, 1)
    assert len(list((tmp_path / "out" / "objects").iterdir())) == 4  # blocks of 6
    assert check(tmp_path).problems == []


def test_a_second_run_does_only_what_is_missing(tmp_path):
    go(tmp_path, Engine())
    engine = Engine()
    summary = go(tmp_path, engine, 25)
    assert engine.given == Counter(item.id for item in items(5, 20))
    assert (summary.images, summary.earlier) == (25, 20)
    go(tmp_path, None, 25)  # nothing is missing: no engine is started
    assert check(tmp_path).problems == []


@pytest.mark.parametrize("stop_after", range(1, 20, 3))
def test_a_driver_that_is_killed_loses_and_doubles_nothing(tmp_path, stop_after):
    with pytest.raises(Killed):
        go(tmp_path, Engine(stop_after=stop_after))
    committed = sum(ids_of(tmp_path).values())
    assert committed % 6 == 0
    with pytest.raises(DataError, match="not finished"):
        check(tmp_path)
    engine = Engine()
    go(tmp_path, engine)
    assert sum(engine.given.values()) == 20 - committed
    assert ids_of(tmp_path) == Counter(item.id for item in items(20))
    assert check(tmp_path).problems == []


def test_tables_without_a_commit_are_deleted(tmp_path):
    with pytest.raises(Killed):
        go(tmp_path, Engine(stop_after=15))
    commit = next((tmp_path / "out" / "commits").iterdir())
    commit.unlink()  # killed between the tables and the commit
    go(tmp_path, Engine())
    assert ids_of(tmp_path) == Counter(item.id for item in items(20))


def test_a_damaged_commit_means_that_its_images_are_done_again(tmp_path):
    go(tmp_path, Engine())
    commit = next((tmp_path / "out" / "commits").iterdir())
    commit.write_bytes(commit.read_bytes()[:-9])
    engine = Engine()
    go(tmp_path, engine)
    assert sum(engine.given.values()) in (2, 6)
    assert ids_of(tmp_path) == Counter(item.id for item in items(20))
    assert check(tmp_path).problems == []


def test_lost_groups_are_tried_again_image_by_image(tmp_path):
    engine = Engine(lose=["i4", "i5"])  # the group i3 to i5, then i5 alone
    summary = go(tmp_path, engine)
    assert summary.status == {"done": 20}
    assert {name: n for name, n in engine.given.items() if n > 1} == {"i3": 2, "i4": 2, "i5": 3}
    tries = {row["image"]: row["tries"] for row in rows_of(tmp_path, "images")}
    assert (tries["i0"], tries["i3"], tries["i5"]) == (1, 2, 3)


def test_an_image_that_breaks_workers_is_given_up_and_named(tmp_path):
    engine = Engine(poison=["i7", "i13"])
    summary = go(tmp_path, engine, tries=3)
    assert engine.given["i7"] == 4  # in its group, then three times alone
    assert engine.given["i6"] == 2
    assert summary.status == {"done": 18, "failed": 2}
    assert {(row["image"], row["error"], row["tries"]) for row in summary.not_processed} == {
        ("i7", passes.LOST, 4),
        ("i13", passes.LOST, 4),
    }
    assert ids_of(tmp_path) == Counter(item.id for item in items(20))
    assert check(tmp_path).problems == []


def test_only_images_that_break_workers_are_left(tmp_path):
    names = [f"i{number}" for number in range(0, 100, 5)]
    summary = go(tmp_path, Engine(poison=names), 100, group=2)
    assert summary.status == {"done": 80, "failed": 20}


def test_workers_that_die_on_every_image_stop_the_run(tmp_path):
    with pytest.raises(InputError, match="not at fault"):
        go(tmp_path, Engine(poison=[item.id for item in items(20)]))
    assert ids_of(tmp_path) == Counter()
    assert go(tmp_path, Engine()).status == {"done": 20}


def test_what_was_given_up_is_tried_again_on_request(tmp_path):
    go(tmp_path, Engine(poison=["i7"]))
    assert go(tmp_path, Engine()).status == {"done": 19, "failed": 1}
    engine = Engine()
    assert go(tmp_path, engine, retry_failed=True).status == {"done": 20}
    assert engine.given == {"i7": 1}
    assert ids_of(tmp_path) == ids_of(tmp_path, "objects") == Counter(item.id for item in items(20))
    assert check(tmp_path).problems == []


def test_a_driver_that_is_killed_while_it_replaces_a_block_doubles_nothing(tmp_path, monkeypatch):
    go(tmp_path, Engine(poison=["i7"]))
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "_withdraw", lambda *a: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            go(tmp_path, Engine(), retry_failed=True)
    assert max(ids_of(tmp_path).values()) == 2  # both blocks are there
    assert go(tmp_path, Engine()).status == {"done": 20}
    assert ids_of(tmp_path) == ids_of(tmp_path, "objects") == Counter(item.id for item in items(20))


class Saying(Engine):
    def _group(self, group):
        for item in group:
            if item.id == "i1":
                yield unreadable(item, "damaged")
            else:
                yield postponed(item, "no network") if item.id == "i2" else result(item)


def test_reasons_of_workers_are_kept(tmp_path):
    summary = go(tmp_path, Saying())
    assert {(row["image"], row["status"], row["error"]) for row in summary.not_processed} == {
        ("i1", "unreadable", "damaged"),
        ("i2", "failed", "no network"),
    }


def test_a_part_is_a_share_of_the_images(tmp_path):
    seen = Counter()
    for index in (1, 2, 3):
        engine = Engine()
        run(
            items(50),
            str(tmp_path / str(index)),
            LAYOUT,
            {},
            lambda engine=engine: engine,
            sizes=Sizes(part=(index, 3)),
        )
        assert 5 < len(engine.given) < 30
        seen += engine.given
    assert seen == Counter(item.id for item in items(50))


@pytest.mark.parametrize("sizes", [{"block": 0}, {"group": 0}, {"tries": 0}, {"part": (3, 2)}, {"part": (0, 1)}])
def test_impossible_sizes_are_refused(sizes):
    with pytest.raises(InputError):
        Sizes(**sizes)


def test_other_settings_and_other_content_are_refused(tmp_path):
    go(tmp_path, Engine())
    with pytest.raises(InputError, match=r"other settings: threshold was None, now it is 0\.5"):
        go(tmp_path, Engine(), settings={"task": "label", "threshold": 0.5})
    assert go(tmp_path, Engine(), settings={"threshold": 0.5}, overwrite=True).images == 20
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="no earlier result"):
        run(items(3), str(tmp_path / "other"), LAYOUT, {}, Engine)
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["letter.txt"]


def test_ids_must_be_unique(tmp_path):
    with pytest.raises(DataError, match=r"'i3': /in/3\.png and /in/3\.png"):
        go(tmp_path, Engine(), items=[*items(5), *items(1, 3)])
    with pytest.raises(DataError, match="no images"):
        go(tmp_path, Engine(), items=[])


def test_id_sets():
    known = IdSet(f"{n}" for n in range(1000))
    assert known.having(["5", "x", "999", "1000"]).tolist() == [True, False, True, False]
    assert IdSet().having(["a"]).tolist() == [False]
    assert IdSet(["1", "2"]).within(known)
    assert not IdSet(["1", "-2"]).within(known)


def test_only_missing_images_are_spooled():
    with spool(items(7), IdSet(["i1", "i2"])) as spooled:
        assert (spooled.total, spooled.missing) == (7, 5)
        assert [[item.id for item in block] for block in spooled.blocks(2)] == [["i0", "i3"], ["i4", "i5"], ["i6"]]


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda file: file.write_bytes(file.read_bytes() + b" "), "checksum differs"),
        (lambda file: file.unlink(), "has no file"),
        (lambda file: file.with_name("part-new-0.json").write_bytes(b"[]"), "not in the manifest"),
    ],
)
@pytest.mark.parametrize("table", ["images", "objects"])
def test_verification_reports_damage(tmp_path, damage, problem, table):
    go(tmp_path, Engine())
    damage(sorted((tmp_path / "out" / table).iterdir())[1])
    assert any(problem in one for one in check(tmp_path).problems)


def test_verification_reports_doubled_and_unknown_images(tmp_path):
    go(tmp_path, Engine())
    ledger = Ledger(Store(tmp_path / "out"), LAYOUT, {"task": "label", "part": [1, 1]})
    row = Result("i3", {**result(items(1, 3)[0]).row}, ({"image": "stranger", "score": 0.1},))
    ledger.commit([row])
    from samtailor.distributed.manifest import write_manifest

    write_manifest(ledger, [])
    problems = check(tmp_path).problems
    assert any("more than once" in one for one in problems)
    assert any("not in the table of images" in one for one in problems)


def test_a_changed_manifest_is_noticed(tmp_path):
    go(tmp_path, Engine())
    manifest = tmp_path / "out" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"images": 20', '"images": 19'))
    with pytest.raises(DataError, match="checksum differs"):
        check(tmp_path)


def test_sources_of_images(tmp_path):
    for name in ("a/one.png", "a/two.jpg", "b/one.png", "b/note.txt"):
        file = tmp_path / "in" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    names = {item.id: item.uri for item in list_items([str(tmp_path / "in")])}
    assert names == {name: str(tmp_path / "in" / file) for name, file in
                     {"a/one": "a/one.png", "a/two": "a/two.jpg", "b/one": "b/one.png"}.items()}  # fmt: skip
    assert {item.id for item in list_items([str(tmp_path / "in" / "*" / "one.*")])} == {"a/one", "b/one"}
    assert [item.id for item in list_items([str(tmp_path / "in" / "a" / "two.jpg")])] == ["two"]
    with pytest.raises(DataError, match="pattern"):
        list(list_items([str(tmp_path / "*.bmp")]))
    with pytest.raises(DataError):
        list(list_items([str(tmp_path / "none")]))
    with pytest.raises(InputError, match="nonsense://"):
        list(list_items(["nonsense://bucket/a"]))


def test_the_library_of_an_object_store_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(MissingExtraError, match=r"s3://bucket/a: .*samtailor\[store\]"):
        list(list_items(["s3://bucket/a"]))


def test_an_object_store_holds_images_and_results(tmp_path):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for name in ("a", "b", "c"):
        memory.pipe_file(f"/photos/x/{name}.png", b"x")
    listed = list(list_items(["memory://photos"]))
    assert [item.id for item in listed] == ["x/a", "x/b", "x/c"]
    assert listed[0].uri == "memory:///photos/x/a.png"
    engine = Engine(poison=["x/b"])
    summary = run(listed, "memory://results/run", LAYOUT, {"a": 1}, lambda: engine, sizes=Sizes(2, 2, 1))
    assert summary.status == {"done": 2, "failed": 1}
    assert run(listed, "memory://results/run", LAYOUT, {"a": 1}, None).images == 3
    assert verify("memory://results/run", decode=decode).problems == []
    memory.rm("/results", recursive=True)
    memory.rm("/photos", recursive=True)
