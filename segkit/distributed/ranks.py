"""The processes of one run, as torchrun starts them, and what they tell each other.

With `segkit.distributed.shard` and `segkit.losses.scope`, which adds up pixels, the only file that knows
torch.distributed. What the hosts tell each other goes by gloo and through host memory, beside the gradients: no device
waits for it.
"""

import inspect
import os
import socket
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn

from segkit.distributed.connections import hang_up, open_connections
from segkit.distributed.lost_ranks import FailureBoard
from segkit.errors import ConfigError
from segkit.system.typed import launched_processes

#: How long a process waits for another that is alive. One that dies is noticed at once, by its closed connections.
PATIENCE = timedelta(hours=24)
#: How long processes wait for each other when they start.
MEETING = timedelta(minutes=15)
#: The stores where this process has met others, by what the environment says of them, and how often there.
_MET: dict[tuple[str | None, ...], tuple[Any, int]] = {}


class Ranks:
    """A process among those of a run; without arguments, the only one, where all of this costs nothing.

    `rank` of `world`, `local` of `local_world` on this machine. Rank 0 is the main one, which alone writes files and
    prints. Every method but the properties is called by all of them, in the same order.
    """

    def __init__(self, rank: int = 0, world: int = 1, *, local: int = 0, local_world: int = 1):
        self.rank, self.world, self.local, self.local_world = rank, world, local, local_world
        self._parent = os.getppid()
        self._control: Any = None
        self._vote: tuple[Any, Tensor] | None = None
        self._connections: dict[int, int] = {}
        self._board: FailureBoard | None = None
        self._judged: BaseException | None = None

    @property
    def main(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    @property
    def connected(self) -> bool:
        """Whether this process has met others and not left them."""
        return self._control is not None

    @property
    def launcher_gone(self) -> bool:
        """Whether the launcher has died, which would leave these processes to themselves."""
        return self.world > 1 and os.getppid() != self._parent

    def meet(self) -> None:
        """Connect the processes. Raises ConfigError if they do not meet."""
        import torch.distributed

        on_gpu = torch.cuda.is_available()
        if on_gpu and self.local < torch.cuda.device_count():
            torch.cuda.set_device(self.local)
        try:
            store = _meeting_place()
            before = open_connections()  # the launcher's, which are needed to the end
            torch.distributed.init_process_group(
                "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
                store=store,
                rank=self.rank,
                world_size=self.world,
                timeout=PATIENCE,
            )
            self._control = torch.distributed.new_group(backend="gloo", timeout=PATIENCE)
            found = open_connections()
            self._connections = {number: found[number] for number in found if number not in before}
        except (RuntimeError, ValueError) as error:
            raise ConfigError(
                f"rank {self.rank} of {self.world} on {socket.gethostname()} did not meet the others: {error}\n"
                "   -> every machine starts the same torchrun command, and reaches the first one's --master-addr"
            ) from error
        self._board = FailureBoard(store, self.rank, self.world)

    def share(self, value: Any = None) -> Any:
        """The main process's value, on all."""
        if self._control is None:
            return value
        box = [value]
        torch.distributed.broadcast_object_list(box, src=0, group=self._control)
        return box[0]

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, by rank, on all."""
        if self._control is None:
            return [value]
        values: list[Any] = [None] * self.world
        torch.distributed.all_gather_object(values, value, group=self._control)
        return values

    def mean(self, numbers: Tensor) -> Tensor:
        """Means over the processes, in host memory and float64 where there are several. NaN stays NaN."""
        if self._control is None:
            return numbers
        sums = numbers.cpu().double()
        torch.distributed.all_reduce(sums, group=self._control)
        return sums / self.world

    def vote(self, number: int) -> int:
        """The largest of the numbers that the processes gave when this was called before; 0 the first time.

        One call late, so that nobody waits: by the next call the answer has long been there.
        """
        if self._control is None:
            return number
        answer = self.end_vote()
        ballot = torch.tensor([number])
        largest = torch.distributed.ReduceOp.MAX
        work = torch.distributed.all_reduce(ballot, op=largest, group=self._control, async_op=True)
        self._vote = (work, ballot)
        return answer

    def end_vote(self) -> int:
        """The answer that the last `vote` is still owed; 0 if there is none."""
        vote, self._vote = self._vote, None
        if vote is None:
            return 0
        work, ballot = vote
        work.wait()
        return int(ballot)

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Bring the main process's values into these tensors, on their device."""
        if self._control is not None:
            for tensor in tensors:
                torch.distributed.broadcast(tensor, src=0)

    def average_gradients(self, model: nn.Module, *, find_unused: bool, device: torch.device) -> nn.Module:
        """The model wrapped so that backward averages gradients over the processes, while it still computes others.

        Its parameters become the main process's. Buffers stay each process's own, see `broadcast`.
        """
        from torch.nn.parallel import DistributedDataParallel  # takes long to import

        # The name that torch 2.11 has for it is deprecated in later ones.
        names = inspect.signature(DistributedDataParallel).parameters
        name = "forward_sync_buffers" if "forward_sync_buffers" in names else "broadcast_buffers"
        own_buffers: dict[str, Any] = {name: False}
        return DistributedDataParallel(
            model,
            device_ids=[device] if device.type == "cuda" else None,
            **own_buffers,
            gradient_as_bucket_view=True,
            find_unused_parameters=find_unused,
        )

    def leave(self) -> None:
        """Be on one's own from now on."""
        self._vote = None
        if self._control is not None:
            self._control = None
            torch.distributed.destroy_process_group()

    def fail(self, error: BaseException) -> BaseException:
        """Leave the others because of `error`; the one to end with instead, see `FailureBoard.judge`. Whoever waits for
        this process gets an error, at once."""
        if self._control is not None:
            hang_up(self._connections)
        self.leave()
        if self._board is None or error is self._judged:
            return error
        self._judged = self._board.judge(error)
        return self._judged


ALONE = Ranks()


def launched_ranks() -> Ranks:
    """This process's place among those that torchrun started, before it has met them. Raises ConfigError."""
    if launched_processes() == 1:
        return Ranks()
    missing = [
        name
        for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
        if name not in os.environ
    ]
    if missing:
        raise ConfigError(
            f"RANK and WORLD_SIZE are set in the environment, as by torchrun, but not {', '.join(missing)}\n"
            "   -> start with torchrun (python -m torch.distributed.run), or unset RANK and WORLD_SIZE"
        )
    rank, world, local, local_world = (
        int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    )
    return Ranks(rank, world, local=local, local_world=local_world)


def _meeting_place() -> Any:
    """A part of the launcher's store for one meeting of all processes: their addresses, and later why they parted.

    A script may train several times. What an earlier meeting has left there would be taken for the present one's, and
    the processes would look for each other where nobody listens any more.
    """
    import torch.distributed
    from torch.distributed.rendezvous import rendezvous

    where = tuple(os.environ.get(name) for name in ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE"))
    # Kept open: where the first process holds the store itself, it ends with that process's last connection.
    store, times = _MET.get(where) or (next(iter(rendezvous("env://", timeout=MEETING)))[0], 0)
    _MET[where] = store, times + 1
    return torch.distributed.PrefixStore(f"segkit/{times}", store)


@contextmanager
def joined_ranks() -> Generator[Ranks]:
    """Meet the other processes that torchrun started, if it did. An error in one ends all of them.

    The error leaves the process that it came in, with the rank in its text; the others leave with EndedElsewhere,
    which has the same exit status and says nothing. Where a process died without a word, one of the others says so.
    """
    ranks = launched_ranks()
    if ranks.world == 1:
        yield ranks
        return
    ranks.meet()
    try:
        yield ranks
    except BaseException as error:
        failure = ranks.fail(error)
        if failure is error:
            raise
        raise failure from None
    finally:
        ranks.leave()
