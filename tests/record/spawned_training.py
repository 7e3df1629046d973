"""Trainings in processes that the script starts itself: ``spawned_training.py HOW FORM... [--port N]``.

HOW is how they are started; each trains the FORMs of ``distributed_training`` in a process group of its own making, and
leaves what those leave.
"""

import argparse
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.distributed import init_process_group
from torch.utils.data import DataLoader, TensorDataset

if TYPE_CHECKING:
    from record import distributed_training as training
else:
    import distributed_training as training


SIZE = 2


def train(rank: int, port: int, names: list[str]) -> None:
    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{port}"
    init_process_group("gloo", init_method=address, rank=rank, world_size=SIZE, timeout=timedelta(seconds=60))
    for name in names:
        training.run(name)
    # Processes that are forked from one that is recorded.
    assert len(list(DataLoader(TensorDataset(torch.ones(2)), num_workers=1, multiprocessing_context="fork"))) == 2
    dist.destroy_process_group()


class Odd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, gradient: torch.Tensor) -> torch.Tensor:
        raise FloatingPointError("in backward")


def fail(rank: int, port: int, names: list[str]) -> None:
    train(rank, port, names)
    loss = Odd.apply(torch.ones(1, requires_grad=True)) if rank == 0 else torch.ones(1, requires_grad=True)
    loss.backward()


def interrupt(rank: int, port: int, names: list[str]) -> None:
    train(rank, port, names)
    if rank == 0:
        signal.raise_signal(signal.SIGINT)


def alone(rank: int, port: int, names: list[str]) -> None:
    torch.manual_seed(rank)
    net = training.Net()
    optimizer = torch.optim.Adam(net.parameters())
    for _ in range(3):
        out = net(torch.randn(5, 4))
        loss = out["price"].square().mean() + out["stars"].square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def start(method: str, port: int, names: list[str], target: Callable[..., None] = train) -> list[int | None]:
    mp.set_start_method(method)
    processes = [mp.Process(target=target, args=(rank, port, names)) for rank in range(SIZE)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("how")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--port", type=int)
    asked = parser.parse_args()
    given = (asked.port, asked.names)
    if asked.how in ("spawn", "fork"):
        mp.start_processes(train, given, nprocs=SIZE, start_method=asked.how)
    elif asked.how.startswith("by_process_"):
        print(start(asked.how.removeprefix("by_process_"), *given))
    elif asked.how == "twice":
        for name in asked.names:
            mp.spawn(train, nprocs=SIZE, args=(asked.port, [name]))
    elif asked.how == "fails":
        try:
            mp.spawn(fail, nprocs=SIZE, args=given)
        except mp.ProcessRaisedException as error:
            print(error)
            sys.exit(7)
    elif asked.how == "fails_by_process":
        print(start("spawn", *given, target=fail))
    elif asked.how == "interrupted":
        mp.spawn(interrupt, nprocs=SIZE, args=given)
    elif asked.how == "alone":
        mp.spawn(alone, nprocs=SIZE, args=given)
    elif asked.how == "and_itself":
        mp.spawn(train, nprocs=SIZE, args=given)
        alone(0, *given)
    elif asked.how == "beside":  # of a process that does something else
        mp.get_context("spawn").Process(target=print, args=("something else",), daemon=True).start()
        alone(0, *given)


if __name__ == "__main__":
    main()
