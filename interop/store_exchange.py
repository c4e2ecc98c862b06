"""A store changes hands: what one server wrote and closed, Apache's 5.5.0 opens and serves, and hands it back.

1. the first server fills a store (StoreMaker), what it holds is read through a client, it stops cleanly
2. Apache 5.5.0 starts on the directory: every message, queue, committed offset and key query is the same;
   delayed messages that were waiting come when they are due, once
3. it takes a few more messages and commits, and stops
4. the first server starts again and serves all of it
"""

import json
import time

import servers

CLIENT = "5.5.0"

# Small files, so that a few hundred messages cross from one to the next in every kind. Level 5 is due within the run.
SETTINGS = {
    "mappedFileSizeCommitLog": "65536",
    "mappedFileSizeConsumeQueue": "2000",
    "maxHashSlotNum": "100",
    "maxIndexNum": "400",
    "timerWheelEnable": "false",
    "messageDelayLevel": "1s 5s 10s 30s 20s 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h",
}
WAITING = 3  # messages of level 5
GROWING = "Delayed"  # the topic that they are for


class Difference(Exception):
    pass


def run(options, directory, make_server):
    first = make_server(options, directory / "exchange", SETTINGS)
    second = servers.Apache("5.5.0", directory / "exchange", SETTINGS)
    second.namesrv_port, second.broker_port = first.namesrv_port, first.broker_port
    print(f"{label(first)} → {label(second)} → {label(first)}")
    try:
        with running(first):
            client(first, "write", directory)
            before = dump(first, directory / "1-written.jsonl", directory)
        with running(second):
            served = dump(second, directory / "2-served.jsonl", directory)
            contains(served, before, f"{label(second)} serves what {label(first)} wrote")
            await_waiting(second, directory)
            client(second, "more", directory)
            more = dump(second, directory / "3-more.jsonl", directory)
            contains(more, {key: line for key, line in before.items() if key[0] == "message"}, "nothing changes by going on")
        with running(first):
            back = dump(first, directory / "4-back.jsonl", directory)
            contains(back, more, f"{label(first)} serves what {label(second)} went on with")
            contains(more, back, f"{label(first)} serves no more than that")
    except (Difference, servers.ServerError) as failure:
        print(f"FAIL store exchange: {failure}\n0 passed, 1 failed, 0 skipped")
        return 1
    messages = sum(1 for kind, *_ in back if kind == "message")
    print(f"PASS store exchange: {messages} messages, {len(back) - messages} queues, offsets and key queries\n1 passed, 0 failed, 0 skipped")
    return 0


def label(server):
    return f"{server.name} {server.version}"


class running:
    """A server from its start to its clean stop."""

    def __init__(self, server):
        self.server = server

    def __enter__(self):
        self.server.start()

    def __exit__(self, *failure):
        self.server.close()
        if (self.server.store / "abort").exists() and failure[0] is None:
            raise Difference(f"{label(self.server)} leaves `abort` behind after a clean stop")


def client(server, verb, directory, *arguments):
    servers.execute(servers.program(CLIENT, "interop.StoreMaker", verb, server.namesrv, *arguments, home=directory))


def dump(server, path, directory):
    client(server, "dump", directory, str(path))
    entries = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        name = tuple(entry.get(field) for field in ("kind", "topic", "queueId", "queueOffset", "group", "key"))
        if name in entries:
            raise Difference(f"{path.name}: twice {name}")
        entries[name] = entry
    return entries


def contains(after, before, what):
    """Every entry of before is in after, the same in every field; only the topic of waiting messages may have grown."""
    differing = []
    for name, entry in before.items():
        now = after.get(name)
        if entry["kind"] == "queue" and entry["topic"] == GROWING and now and now["maxOffset"] >= entry["maxOffset"]:
            continue
        if now != entry:
            differing.append(f"{name}: {entry} became {now}")
    if differing:
        raise Difference(f"not so: {what}. {len(differing)} of {len(before)} differ, the first: {differing[0]}")
    print(f"{len(before)} entries: {what}", flush=True)


def await_waiting(server, directory):
    deadline = time.monotonic() + 60
    while True:
        entries = dump(server, directory / "waiting.jsonl", directory)
        bodies = [entry["keys"] for entry in entries.values() if entry["kind"] == "message" and entry["topic"] == GROWING]
        if len(bodies) >= 2 + WAITING:
            break
        if time.monotonic() > deadline:
            raise Difference(f"waiting messages do not come: {bodies}")
        time.sleep(1)
    if sorted(bodies) != [f"delayed-{n}" for n in range(2 + WAITING)]:
        raise Difference(f"waiting messages come once each, but: {bodies}")
    print(f"{WAITING} waiting messages came when they were due", flush=True)
