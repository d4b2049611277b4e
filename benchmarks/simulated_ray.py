"""Ray on machines that fail, simulated as discrete events with a clock of their own; `scale_simulation.py` uses it."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from kinema.labelling.inputs import Entry
from kinema.labelling.rows import Row

CARD_HASH = "card"


@dataclass(frozen=True)
class Setting:
    """A cluster and its work; times in seconds, sizes in bytes."""

    inputs: int = 200_000
    machines: int = 4
    cores: int = 16
    networks: int = -1  # processes with a network; -1 is what `kinema label` chooses
    batch: int = 8
    read: float = 0.016  # one core decodes one clip
    spread: float = 0.5  # standard deviation of the logarithm of `read` from clip to clip
    network: float = 0.032  # one core, or one GPU, computes one clip of a full batch
    head: float = 0.0016  # the head deals out one group and takes its rows
    size: float = 1e6  # of a file
    bandwidth: float = 1e9  # of the network disk
    start: float = 20.0  # until a process of the cluster answers
    failures: float = 0.0  # per machine and hour
    repair: float = 300.0
    detect: float = 10.0
    slow: int = 0  # machines that run at half speed
    poison: int = 0
    seed: int = 0


class Lost(Exception):
    """What Ray raises for a process or a machine that is gone."""


class TaskError(Exception):
    """What Ray raises for an error within a task; the simulated processes make none."""


@dataclass(eq=False)
class Ref:
    """A result to come: of which call, which machine holds it, and whether it is lost."""

    call: str
    group: Sequence[Entry] = ()
    needs: Ref | None = None
    held_by: Machine | None = None
    lost: bool = False


@dataclass(eq=False)
class Actor:
    """A process of the cluster, with the calls that it has not finished."""

    kind: str
    world: SimulatedRay
    machine: Machine | None = None
    ready: bool = False
    dead: bool = False
    calls: deque[Ref] = field(default_factory=deque)
    current: Ref | None = None

    def __getattr__(self, name: str) -> Any:
        if name not in ("read", "rows", "answer"):
            raise AttributeError(name)
        remote = lambda *given: self.world.call(self, name, given)  # noqa: E731
        both = SimpleNamespace(remote=lambda *given: [remote(*given)] * 2)  # facts and views, which come together
        return SimpleNamespace(remote=remote, options=lambda **_: both)


@dataclass(eq=False)
class Machine:
    """A machine: how many cores are free, and what it holds."""

    free: int
    speed: float
    up: bool = True
    actors: dict[Actor, None] = field(default_factory=dict)  # in the order in which they came
    held: set[Ref] = field(default_factory=set)  # groups that were read here and that no network has taken yet


class SimulatedRay:
    """What the scheduler asks of Ray, on machines that are events of a clock."""

    exceptions = SimpleNamespace(RayError=Lost, RayTaskError=TaskError)

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.clock = 0.0
        self.read_clips = self.died = 0
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._count = itertools.count()
        self._finished: deque[Ref] = deque()
        self._waiting: deque[Actor] = deque()
        self._disk_free = 0.0
        dice = np.random.default_rng(setting.seed)
        spread = setting.spread
        self._durations = (setting.read * dice.lognormal(-spread * spread / 2, spread, setting.inputs)).tolist()
        self.poison = {str(i) for i in dice.choice(setting.inputs, setting.poison, replace=False)}
        self._fate = random.Random(setting.seed)
        self.machines = [
            Machine(setting.cores, 0.5 if i < setting.slow else 1.0) for i in range(setting.machines)
        ]  # fmt: skip
        if setting.failures:
            for machine in self.machines:
                self._doom(machine, 0.0)

    def put(self, value: Any) -> Any:
        return value

    def remote(self, **_: Any) -> Callable[[type], Any]:
        def factory(kind: type) -> Any:
            return SimpleNamespace(remote=lambda *_: self._new(kind.__name__))

        return factory

    def call(self, actor: Actor, name: str, given: tuple[Any, ...]) -> Ref:
        ref = Ref(name, given[0] if given else (), given[1] if name == "rows" else None)
        if actor.dead:
            self._lose(ref, self.clock)
        else:
            actor.calls.append(ref)
            self._go_on(actor, self.clock)
        return ref

    def wait(self, refs: list[Ref], *, num_returns: int, timeout: float) -> tuple[list[Ref], list[Ref]]:
        """Lets time pass until something that the scheduler waits for is there; `refs` are all of these."""
        until = self.clock + timeout
        while not self._finished:
            if not self._events or self._events[0][0] > until:
                self._pass_to(until)
                return [], refs
            self._pass_to(max(self.clock, self._events[0][0]))
        return [self._finished.popleft() for _ in range(min(num_returns, len(self._finished)))], []

    def get(self, ref: Ref) -> list[Row]:
        if ref.call == "rows":
            self._pass_to(self.clock + self.setting.head)
        if ref.lost:
            raise Lost
        return [Row(*entry.key, "content", CARD_HASH, label="label") for entry in ref.group]

    def _pass_to(self, time: float) -> None:
        while self._events and self._events[0][0] <= time:
            at, _, happen = heapq.heappop(self._events)
            happen(at)
        self.clock = time

    def _at(self, time: float, happen: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (time, next(self._count), happen))

    def _new(self, kind: str) -> Actor:
        actor = Actor(kind, self)
        self._waiting.append(actor)
        self._place(self.clock)
        return actor

    def _place(self, now: float) -> None:
        """Starts processes on the machines with the most free cores."""
        while self._waiting:
            machine = max((m for m in self.machines if m.up), key=lambda m: m.free, default=None)
            if machine is None or machine.free == 0:
                return
            actor = self._waiting.popleft()
            actor.machine = machine
            machine.free -= 1
            machine.actors[actor] = None
            self._at(now + self.setting.start, lambda at, actor=actor: self._started(actor, at))  # type: ignore[misc]

    def _started(self, actor: Actor, now: float) -> None:
        actor.ready = True
        self._go_on(actor, now)

    def _go_on(self, actor: Actor, now: float) -> None:
        """Begins the next call of a process, if it can."""
        if actor.dead or not actor.ready or actor.current is not None or not actor.calls:
            return
        ref = actor.calls.popleft()
        if ref.needs is not None and ref.needs.lost:
            self._lose(ref, now, known_after=0.0)
            self._go_on(actor, now)
            return
        actor.current = ref
        assert actor.machine is not None
        end, deadly = self._end_of(ref, actor.machine.speed, now)
        if ref.needs is not None and ref.needs.held_by is not None:
            ref.needs.held_by.held.discard(ref.needs)
        if deadly:
            self._at(end, lambda at: self._kill(actor, at))
        else:
            self._at(end, lambda at: self._finish(actor, ref, at))

    def _end_of(self, ref: Ref, speed: float, now: float) -> tuple[float, bool]:
        """When a call ends, and whether it takes its process along."""
        setting = self.setting
        if ref.call == "answer":
            return now, False
        if ref.call == "rows":
            passes = -(-len(ref.group) // setting.batch)  # a pass that lacks views is filled up
            return now + passes * setting.batch * setting.network / speed, False
        self._disk_free = now = max(self._disk_free, now) + len(ref.group) * setting.size / setting.bandwidth
        for entry in ref.group:
            now += self._durations[int(entry.place)] / speed
            self.read_clips += 1
            if entry.place in self.poison:
                return now, True
        return now, False

    def _finish(self, actor: Actor, ref: Ref, now: float) -> None:
        if actor.dead:
            return
        actor.current = None
        if ref.call == "read":
            assert actor.machine is not None
            actor.machine.held.add(ref)
            ref.held_by = actor.machine
        self._finished.append(ref)
        self._go_on(actor, now)

    def _lose(self, ref: Ref, now: float, known_after: float | None = None) -> None:
        def known(at: float) -> None:
            ref.lost = True
            self._finished.append(ref)

        self._at(now + (self.setting.detect if known_after is None else known_after), known)

    def _kill(self, actor: Actor, now: float, *, replace_room: bool = True) -> None:
        if actor.dead:
            return
        actor.dead = True
        self.died += 1
        for ref in [*([actor.current] if actor.current else []), *actor.calls]:
            self._lose(ref, now)
        actor.calls.clear()
        assert actor.machine is not None
        del actor.machine.actors[actor]
        if replace_room:
            actor.machine.free += 1
            self._place(now)

    def _doom(self, machine: Machine, now: float) -> None:
        self._at(now + self._fate.expovariate(self.setting.failures / 3600), lambda at: self._fail(machine, at))

    def _fail(self, machine: Machine, now: float) -> None:
        machine.up, machine.free = False, 0
        for actor in list(machine.actors):
            self._kill(actor, now, replace_room=False)
        for ref in machine.held:
            ref.lost = True
        machine.held.clear()
        self._at(now + self.setting.repair, lambda at: self._return(machine, at))

    def _return(self, machine: Machine, now: float) -> None:
        machine.up, machine.free = True, self.setting.cores
        self._place(now)
        self._doom(machine, now)
