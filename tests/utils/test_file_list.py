# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""utils/file_list.py: the listed files, and the index that avoids listing a large folder again."""
import os
import pickle

import numpy as np
import pytest

from utils import file_list
from utils.file_list import list_files
from utils.folder_lock import only_writer


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Returns a folder of twelve images in three folders, last changed long ago. Even one file is indexed."""
    monkeypatch.setattr(file_list, "INDEXED_FROM", 1)
    root = tmp_path / "faces"
    for part in ("", "b", "b/\u00e9\udcff"):  # the last name is not valid UTF-8
        (root / part).mkdir(parents=True, exist_ok=True)
        for i in range(4):
            (root / part / f"{i}.png").touch()
    (root / "notes.txt").touch()
    age(root)
    return root


def age(root):
    for parent, _, _ in os.walk(root):
        os.utime(parent, (10 ** 9, 10 ** 9))


def listing(root, index):
    return list_files(str(root), {".png"}, index)


def read_without_walking(monkeypatch, root, index):
    """Returns the list; fails if the folder itself is read instead of the index."""
    def walked(*arguments, **options):
        raise AssertionError("the folder was read again")
    with monkeypatch.context() as patch:
        patch.setattr(file_list.os, "scandir", walked)
        return listing(root, index)


def test_paths_come_folder_by_folder_and_can_be_chosen_from(folder):
    files = listing(folder, None)
    expected = [str(folder / part / f"{i}.png") for part in ("", "b", "b/\u00e9\udcff") for i in range(4)]
    assert list(files) == expected and all(os.path.exists(path) for path in files)
    assert files[-1] == expected[-1] and list(files[2:6]) == expected[2:6]
    assert list(files.at([7, 0]).at([1])) == expected[:1] and not files.at([])
    with pytest.raises(IndexError):
        files[12]


def test_the_index_is_read_instead_of_the_folder_and_shared(folder, tmp_path, monkeypatch):
    first = listing(folder, tmp_path / "index")
    again = read_without_walking(monkeypatch, folder, tmp_path / "index")
    assert list(first) == list(again)
    assert isinstance(again._names, np.memmap)
    sent = pickle.dumps(again.at([3, 5]))
    assert len(sent) < 1000 and list(pickle.loads(sent)) == [first[3], first[5]]
    assert isinstance(pickle.loads(sent)._names, np.memmap)
    assert not list((tmp_path / "index").glob("*.tmp"))


@pytest.mark.parametrize("change", [
    lambda root: (root / "b" / "9.png").touch(), lambda root: (root / "b" / "0.png").unlink(),
    lambda root: (root / "b" / "0.png").rename(root / "b" / "8.png"), lambda root: (root / "new").mkdir()])
def test_a_folder_that_changed_is_read_again(folder, tmp_path, change):
    listing(folder, tmp_path / "index")
    change(folder)
    assert list(listing(folder, tmp_path / "index")) == list(listing(folder, None))


def test_a_folder_that_changed_while_it_was_listed_is_not_trusted(folder, tmp_path, monkeypatch):
    """A file added within the same clock tick does not change the folder's modification time."""
    os.utime(folder / "b")
    listing(folder, tmp_path / "index")
    with pytest.raises(AssertionError, match="read again"):
        read_without_walking(monkeypatch, folder, tmp_path / "index")


def test_a_torn_index_and_a_place_that_cannot_be_written_are_no_harm(folder, tmp_path):
    expected = list(listing(folder, tmp_path / "index"))
    for path in next((tmp_path / "index").iterdir()).iterdir():
        content = path.read_bytes()
        path.write_bytes(content[:len(content) // 2])
        assert list(listing(folder, tmp_path / "index")) == expected
    (tmp_path / "file").touch()
    assert list(listing(folder, tmp_path / "file" / "below")) == expected


def test_links_that_lead_back_or_again_add_nothing(folder):
    expected = list(listing(folder, None))
    (folder / "b" / "up").symlink_to("..")
    (folder / "z").symlink_to("b")
    assert list(listing(folder, None)) == expected


def test_hidden_files_and_what_is_no_regular_file_are_not_listed(folder, tmp_path):
    expected = list(listing(folder, None))
    for name in ("._0.png", ".12.ab.tmp", ".png", "b/.ipynb_checkpoints/0-checkpoint.png", ".hidden/0.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    os.mkfifo(folder / "b" / "pipe.png")
    (folder / "x.HEIC").touch()
    found = listing(folder, tmp_path / "index")
    assert list(found) == expected
    assert found.notes == [f"{folder}: 4 other files ignored (hidden 1, .txt 1, .heic 1, pipes, sockets or devices 1)"]
    assert listing(folder, tmp_path / "index").notes == found.at([0]).notes == found.notes  # as the index holds them
    (folder / "b" / "lost.png").symlink_to("nowhere")  # its reader reports it
    assert len(listing(folder, None)) == len(expected) + 1
    (folder / "b" / "dots").mkdir()
    (folder / "b" / "dots" / "9.png").touch()
    hidden = folder.rename(folder.with_name(".faces"))  # the chosen folder itself may be hidden
    assert len(listing(hidden, None)) == len(expected) + 2


def test_output_folders_are_not_searched_by_whatever_name(folder, tmp_path):
    expected = list(listing(folder, tmp_path / "index"))
    (folder / "link").symlink_to("b")
    found = list_files(str(folder), {".png"}, tmp_path / "index", leave_out=(folder / "b", folder, tmp_path / "gone"))
    assert list(found) == expected[:4] and found.notes[1:] == [
        f"{folder}: the output folder {name} is not searched" for name in ("b", "link")]


def test_folders_that_a_program_wrote_are_not_searched(folder, tmp_path):
    """A training must not read what newtest.py restored, nor newtest.py a training's figures."""
    expected = list(listing(folder, tmp_path / "index"))
    with only_writer(folder / "b", "--name"):
        pass
    found = listing(folder, tmp_path / "index")
    assert list(found) == expected[:4] and found.notes[1:] == [f"{folder}: the output folder b is not searched"]
    assert list(listing(folder / "b", None)) == expected[4:]  # unless it is the chosen folder itself


def test_a_path_that_is_no_utf8_has_an_index_too(folder, tmp_path):
    gbk = folder.rename(folder.with_name("\udcc1\udcb3"))
    assert list(listing(gbk, tmp_path / "index")) == list(listing(gbk, None))
