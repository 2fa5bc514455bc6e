"""The values between two logged lines, and how they outlive a stop."""

from segkit.runs.checkpoint import check_plain
from segkit.runs.recording.log_window import Window


def test_means_are_over_the_updates_that_reported_a_value():
    window = Window()
    window.add({"loss": 1.0, "kept": 0.5})
    window.add({"loss": 4.0})
    assert window.means() == {"loss": 2.5, "kept": 0.5}


def test_window_goes_on_from_its_state_to_the_last_digit():
    values = [0.1 * 3**n for n in range(20)]
    whole, part = Window(), Window()
    for value in values:
        whole.add({"loss": value})
    for value in values[:7]:
        part.add({"loss": value})
    resumed = Window.from_state(part.state_dict())
    for value in values[7:]:
        resumed.add({"loss": value})
    assert resumed.means() == whole.means()


def test_state_is_a_copy_of_plain_values_without_the_time_of_this_process():
    window = Window(images=4, seconds=2.0, waited=1.0, updates=1)
    window.add({"loss": 1.0})
    state = window.state_dict()
    check_plain(state)
    window.add({"loss": 9.0})
    resumed = Window.from_state(state)
    assert resumed == Window(values={"loss": [1.0]})
    resumed.add({"loss": 2.0})
    assert state == {"values": {"loss": [1.0]}}
