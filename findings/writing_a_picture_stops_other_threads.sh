#!/usr/bin/env bash
# tensorboard 2.21.0, seen with Python 3.11.
#
# Expected: EventFileWriter, and with it torch's SummaryWriter, writes in a thread of its own, so that who adds a picture
# goes on at once: what is left to do for a picture that is already compressed is to write its bytes to a file, during
# which Python lets other threads run.
#
# Seen: without TensorFlow the checksum of a record (CRC-32C) is a loop in Python over its bytes, at about 5 MB/s. Threads
# of Python take turns, so for as long as that takes, about 0.2 s for each megabyte, the thread that trains has half of
# its speed in everything that is Python, and a training loop that launches kernels or starts small operations is that.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check tensorboard==2.21.0
cat > "$folder/look.py" <<'PYTHON'
import os
import statistics
import sys
import time
import zlib

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.summary.writer.record_writer import masked_crc32c

MEGABYTE = os.urandom(2**20)


def seconds(work):
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def python_work():
    total = 0
    for number in range(2_000_000):
        total += number
    return total


# The library's own sum, and a checksum of the same length in C.
slow = min(seconds(lambda: masked_crc32c(MEGABYTE)) for _ in range(3))
fast = min(seconds(lambda: zlib.crc32(MEGABYTE)) for _ in range(3))
print(f"a megabyte: masked_crc32c {1e3 * slow:.0f} ms, zlib.crc32 {1e3 * fast:.2f} ms")

writer = EventFileWriter(sys.argv[1], max_queue_size=1000)
alone = statistics.median(seconds(python_work) for _ in range(5))
picture = Summary(value=[Summary.Value(tag="p", image=Summary.Image(encoded_image_string=MEGABYTE))])
added = seconds(lambda: [writer.add_event(Event(summary=picture)) for _ in range(20)])
beside = statistics.median(seconds(python_work) for _ in range(5))
writer.close()
print(f"twenty pictures were added in {1e3 * added:.0f} ms; the same work of another thread took {beside / alone:.1f} x")
assert slow > 50 * fast, "the checksum is not computed in Python any more"
assert beside > 1.3 * alone, "writing does not hold up other threads any more"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder/events"
