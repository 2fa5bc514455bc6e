"""Who says why a run of several processes ended, and that those who wait for a process that gave up are told."""

import os
import socket

import pytest

from segkit.distributed import lost_ranks
from segkit.distributed.connections import hang_up, open_connections
from segkit.distributed.lost_ranks import EndedElsewhere, FailureBoard, LostRank, is_lost_connection
from segkit.errors import ConfigError, DataError
from segkit.system.typed import typed


class Store(dict):
    """What torchrun's store does, in one process."""

    def set(self, key, value):
        self[key] = value.encode()

    def check(self, keys):
        return all(key in self for key in keys)

    def compare_set(self, key, expected, desired):
        if key not in self and expected == "":
            self.set(key, desired)
        return self[key]


CLOSED = RuntimeError("[gloo/transport/tcp/pair.cc:561] Connection closed by peer [127.0.0.1]:4004")


@pytest.fixture
def board(monkeypatch):
    """`board(rank)`: the board of three processes as that one sees it; nobody waits."""
    monkeypatch.setattr(lost_ranks, "_WAIT", 0.0)
    store = Store()
    return lambda rank: FailureBoard(store, rank, 3)


def test_the_first_to_fail_says_so_with_its_rank_and_the_others_are_silent(board):
    first = board(1).judge(DataError("cannot read 7.png"))
    assert (
        isinstance(first, DataError) and str(first) == f"rank 1 on {socket.gethostname()}: cannot read 7.png"
    )
    for error in (ConfigError("another"), ValueError("a bug")):
        other = board(2).judge(error)
        assert isinstance(other, EndedElsewhere) and other.exit_code == DataError.exit_code
        assert str(other) == str(first)
        assert type(other.as_there()) is DataError and str(other.as_there()) == str(first)


def test_a_bug_keeps_its_type_and_gets_a_note(board):
    error = ValueError("a bug")
    assert board(2).judge(error) is error
    assert error.__notes__ == [f"on rank 2, {socket.gethostname()}"]
    other = board(0).judge(KeyError("x"))
    assert str(other) == f"rank 2 on {socket.gethostname()}: ValueError: a bug"
    assert other.as_there() is other


def test_a_lost_connection_is_explained_by_who_left_a_reason(board, monkeypatch):
    monkeypatch.setattr(lost_ranks, "_WAIT", 60.0)
    board(1).judge(DataError("cannot read 7.png"))
    other = board(0).judge(CLOSED)
    assert isinstance(other, EndedElsewhere) and str(other).endswith("cannot read 7.png")


def test_who_is_gone_without_a_word_is_named_once(board):
    board(2).store.set("segkit/gone/2", "")
    lost = board(0).judge(CLOSED)
    assert isinstance(lost, LostRank) and lost.lost == [1] and lost.exit_code == 9
    assert str(lost).startswith(f"rank 0 on {socket.gethostname()}: lost rank 1 of 3 without a word: ")
    other = board(2).judge(CLOSED)
    assert isinstance(other, EndedElsewhere) and str(other) == str(lost)


def test_where_the_launcher_is_gone_too_the_error_stays(board):
    class Gone(Store):
        def compare_set(self, key, expected, desired):
            raise RuntimeError("store: Broken pipe")

    error = DataError("cannot read 7.png")
    assert FailureBoard(Gone(), 1, 3).judge(error) is error


def test_only_torch_s_errors_about_connections_are_such():
    assert is_lost_connection(CLOSED)
    assert not is_lost_connection(RuntimeError("CUDA error: out of memory"))
    assert not is_lost_connection(ConnectionResetError("Connection reset by peer"))


def test_hanging_up_ends_a_connection_for_both_sides():
    before = open_connections()
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as here,
    ):
        there, _ = server.accept()
        with there:
            found = {number: inode for number, inode in open_connections().items() if number not in before}
            assert set(found) == {here.fileno(), there.fileno()}
            mine = {here.fileno(): found[here.fileno()]}
            hang_up({number: inode + 1 for number, inode in mine.items()})  # another file has the number now
            here.sendall(b"x")
            assert there.recv(1) == b"x"
            hang_up(mine)
            assert there.recv(1) == b""
            hang_up(mine)
    hang_up(mine)


def test_looking_for_connections_leaves_nothing_open(tmp_path):
    """Of what is no connection either, such as a file that is open meanwhile."""
    with open(tmp_path / "file", "w") as file:
        before = os.listdir("/dev/fd")
        assert file.fileno() not in open_connections()
        hang_up({file.fileno(): os.fstat(file.fileno()).st_ino})
        assert os.listdir("/dev/fd") == before


def test_how_a_run_goes_on_is_said_with_the_launcher(monkeypatch):
    alone = typed("train", "--resume", "runs/x")
    for name, value in {
        "RANK": "1",
        "WORLD_SIZE": "4",
        "LOCAL_WORLD_SIZE": "2",
        "GROUP_WORLD_SIZE": "2",
    }.items():
        monkeypatch.setenv(name, value)
    assert typed("train", "--resume", "runs/x") == (
        "torchrun --nnodes 2 --nproc-per-node 2 " + alone.removeprefix("python ")
    )
    assert typed("check_data", "x") == "python scripts/check_data.py x"
