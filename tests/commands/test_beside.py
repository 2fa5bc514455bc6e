"""Reading ahead and writing behind: in order, bounded, and no error is lost."""

import threading

import pytest

from segkit.commands.beside import AHEAD, BEHIND, WriteBehind, read_ahead


@pytest.mark.parametrize("ahead", [1, AHEAD, 5])
def test_items_come_in_order_and_few_are_read_ahead(ahead):
    begun = []

    def read(item):
        begun.append(item)
        return 10 * item

    for place, result in enumerate(read_ahead(read, range(20), ahead=ahead)):
        assert result == 10 * place
        assert len(begun) <= place + 1 + ahead
    assert sorted(begun) == list(range(20))


def test_an_item_that_cannot_be_read_is_an_error_at_its_place():
    def read(item):
        if item == 3:
            raise ValueError("no third")
        return item

    found = []
    with pytest.raises(ValueError, match="no third"):
        for item in read_ahead(read, range(9)):
            found.append(item)
    assert found == [0, 1, 2]


def test_everything_is_written_in_order():
    written = []
    with WriteBehind(lambda *pair: written.append(pair)) as behind:
        for n in range(20):
            behind.submit(n, -n)
    assert written == [(n, -n) for n in range(20)]


def test_submit_waits_for_a_writer_that_falls_behind():
    let_on, begun = threading.Semaphore(0), []

    def write(n):
        begun.append(n)
        let_on.acquire()

    with WriteBehind(write) as behind:
        for n in range(BEHIND):
            behind.submit(n)
        late = threading.Thread(target=behind.submit, args=(BEHIND,))
        late.start()
        assert late.is_alive() and BEHIND not in begun
        for _ in range(BEHIND + 1):
            let_on.release()
        late.join()
    assert begun == list(range(BEHIND + 1))


@pytest.mark.parametrize("last", [0, 5])
def test_an_error_of_the_writer_is_raised_and_nothing_is_written_after_it(last):
    written = []

    def write(n):
        if n == last:
            raise OSError("disk full")
        written.append(n)

    def use():
        with WriteBehind(write) as behind:
            for n in range(6):
                behind.submit(n)

    with pytest.raises(OSError, match="disk full"):
        use()
    assert written[:last] == list(range(last))


def test_what_was_submitted_before_another_error_is_written_and_does_not_hide_it():
    written = []
    with pytest.raises(ValueError, match="other"), WriteBehind(written.append) as behind:
        behind.submit(1)
        behind.submit(2)
        raise ValueError("other")
    assert written == [1, 2]

    def fail(_):
        raise OSError("disk full")

    with pytest.raises(ValueError, match="other"), WriteBehind(fail) as behind:
        behind.submit(1)
        raise ValueError("other")
