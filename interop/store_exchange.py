"""A store changes hands: one server writes and ends, cleanly or by kill -9, the other goes on with it, and hands it back.

Writers are Apache's brokers 4.4.0, 4.9.7 and 5.5.0 and CometMQ; both ways of ending; four rounds each:

    writer → the other → writer → the other        the other of Apache's is CometMQ, and of CometMQ Apache's 5.5.0

In every round (Moving.java): all that the server before held and acknowledged is there, down to its bytes, by queue and
offset, by id, by key and by time; groups go on exactly where they were, delayed messages and retries come once, what a
server adds to the tables is kept by the other, fields too that it does not know. Then more is written, and the round's
last words are acknowledged just before the end.
"""

import json
import re
import shutil
import time

import servers

CLIENT_FOR = {"4.4.0": "4.4.0", "4.9.7": "4.9.8", "5.5.0": "5.5.0", "cometmq": "5.5.0"}
WRITERS = ["cometmq", "4.4.0", "4.9.7", "5.5.0"]
STOPS = ["clean", "kill"]
JUDGE = "5.5.0"  # of what CometMQ wrote first
ROUNDS = 4

# Small files, so that a few hundred messages cross from one to the next in every kind. What waits when a round ends
# has level 4. Tables are saved soon: what is not yet in them when a broker is killed, it does again, as Apache's do.
SETTINGS = {
    "mappedFileSizeCommitLog": "65536",
    "mappedFileSizeConsumeQueue": "2000",
    "maxHashSlotNum": "100",
    "maxIndexNum": "400",
    "messageDelayLevel": "1s 2s 3s 20s 5s 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h",
    "flushConsumerOffsetInterval": "1000",
    "diskMaxUsedSpaceRatio": "97",
    "transactionCheckInterval": "2000",
    "transactionTimeOut": "1000",
    "transactionCheckMax": "1000",
}
APACHE = {
    **SETTINGS,
    "timerWheelEnable": "false",
    "flushDelayOffsetInterval": "500",
}
# How 4.4.0 spells them; CometMQ reads its broker.conf as it is.
SPELT_BEFORE = {"mappedFileSizeCommitLog": "mapedFileSizeCommitLog", "mappedFileSizeConsumeQueue": "mapedFileSizeConsumeQueue"}
HEAP = "512m"

# They grow by themselves while messages wait in SCHEDULE_TOPIC_XXXX.
GROWING = ["Delayed", "%RETRY%Failing"]

UPDATE_AND_CREATE_TOPIC = 17
UPDATE_AND_CREATE_SUBSCRIPTIONGROUP = 200
TABLES = ["topics.json", "subscriptionGroup.json", "consumerOffset.json", "delayOffset.json"]
NEW_IN_5 = {
    "attributes", "groupRetryPolicy", "groupSysFlag", "consumeMessageOrderly", "consumeTimeoutMinute", "forbiddenTable",
    "pullOffsetTable", "subscriptionDataSet",
}
STRANGE = {"ofAVersionToCome": {"is": ["kept", 1]}}


class Difference(Exception):
    pass


def run(options, directory):
    """Returns how many exchanges passed and failed."""
    passed = failed = 0
    for writer in options.writer:
        for stop in options.stop:
            begun = time.monotonic()
            home = directory / f"{writer}-{stop}"
            try:
                messages = exchange(options, home, writer, stop)
            except (Difference, servers.ServerError) as failure:
                print(f"FAIL a store of {writer}, {stop}: {failure}", flush=True)
                failed += 1
                continue
            print(f"PASS a store of {writer}, {stop}: {messages} messages, {time.monotonic() - begun:.0f} s\n", flush=True)
            passed += 1
            if not options.keep:
                shutil.rmtree(home)
    return passed, failed


def exchange(options, home, writer, stop):
    home.mkdir(parents=True)
    spelt = lambda settings: {SPELT_BEFORE.get(key, key) if writer == "4.4.0" else key: value for key, value in settings.items()}
    comet = servers.CometMQ(options.binary, home / "server", spelt(SETTINGS))
    apache = servers.Apache(JUDGE if writer == "cometmq" else writer, home / "server", spelt(APACHE), heap=HEAP)
    apache.namesrv_port, apache.broker_port = comet.namesrv_port, comet.broker_port
    order = [comet, apache] if writer == "cometmq" else [apache, comet]
    client = CLIENT_FOR[writer]
    held, left = {}, []
    try:
        for round in range(ROUNDS):
            server, last = order[round % 2], round == ROUNDS - 1
            begun = time.monotonic()
            server.start()
            print(f"{label(server)}, {'the last round' if last else f'ends by {stop}'}", flush=True)
            if round == 0:
                act(client, server, home, "begin", round)
                if server.version == "4.4.0":
                    readable(server)
                if server is apache:
                    act(client, server, home, "prepare", round)
                    typed_topic_and_group(server)
            else:
                act(client, server, home, "found", round)
                found = read(home / f"{round}-found.jsonl")
                contains(found, held, f"{label(server)} serves what was there before")
                acknowledged(found, left)
                if not last:
                    act(client, server, home, "goOn", round)
                if server is apache and round == 2:
                    act(client, server, home, "commit", round)
            if not last:
                act(client, server, home, "held", round)
                before, held = held, read(home / f"{round}-held.jsonl")
                contains(held, {name: entry for name, entry in before.items() if name[0] == "message"}, "nothing changes by going on")
                delayed_once(held, round)
                await_delay_offsets(server, held)
                act(client, server, home, "leave", round)
                left = [json.loads(line) for line in (home / f"{round}-left.jsonl").read_text().splitlines()]
                for entry in left:
                    if entry["kind"] == "offset":
                        held[key_of(entry)] = entry
                await_offsets(server, left)
            end(server, "clean" if last else stop)
            if round > 0:
                kept(server, tables)
            tables = strange(server)
            print(f"  {time.monotonic() - begun:.0f} s", flush=True)
    finally:
        comet.close()
        apache.close()
    return sum(1 for name in found if name[0] == "message")


def label(server):
    return f"{server.name} {server.version}"


def end(server, stop):
    """Apache's name server ends with it: the other server has one of its own at that port."""
    if stop == "kill":
        server.kill()
    server.close()
    abort = (server.store / "abort").exists()
    if abort != (stop == "kill"):
        raise Difference(f"{label(server)} {'leaves `abort` behind after a clean stop' if abort else 'was killed, but there is no `abort`'}")


def act(client, server, home, verb, round):
    servers.execute(servers.program(client, "interop.Moving", verb, server.namesrv, str(home), str(round), ways(server, home), home=home))


def ways(server, home):
    """In which ways a message can be asked for.

    4.x begins a search by time in the file whose time of change fits, which with small files misses. After a kill
    Apache's brokers drop the index file that was not full and write it again from where they recover on, so what is
    older has no keys any more.
    """
    if server.name == "cometmq":
        return "id,keys,time"
    keys = ["keys"] if home.name.endswith("clean") else []
    return ",".join(["id", *keys, *([] if server.version.startswith("4") else ["time"])])


# ---------------------------------------------------------------- messages


def key_of(entry):
    return tuple(entry.get(field) for field in ("kind", "topic", "queueId", "queueOffset", "group", "key"))


def read(path):
    entries = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if key_of(entry) in entries:
            raise Difference(f"{path.name}: twice {key_of(entry)}")
        entries[key_of(entry)] = entry
    return entries


def contains(after, before, what):
    """Every entry of before is in after, the same in every field; only queues may have grown."""
    differing = []
    for name, entry in before.items():
        now = after.get(name)
        if entry["kind"] == "queue" and now and now["minOffset"] == entry["minOffset"] and now["maxOffset"] >= entry["maxOffset"]:
            continue
        if now != entry:
            differing.append(f"{name}: {entry} became {now}")
    if differing:
        raise Difference(f"not so: {what}. {len(differing)} of {len(before)} differ, the first: {differing[0]}")
    print(f"  {len(before)} entries: {what}", flush=True)


def acknowledged(found, left):
    """What was sent just before the end is there, and its queue ends with it."""
    ends = {}
    for entry in left:
        if entry["kind"] != "left":
            continue
        got = found.get(("message", entry["topic"], entry["queueId"], entry["queueOffset"], None, None))
        if got is None or any(got[field] != entry[field] for field in ("offsetMsgId", "keys", "bodySha256")):
            raise Difference(f"acknowledged {entry}, but there is {got}")
        ends[entry["topic"], entry["queueId"]] = entry["queueOffset"] + 1
    for (topic, queue_id), last in ends.items():
        queue = found["queue", topic, queue_id, None, None, None]
        if queue["maxOffset"] != last:
            raise Difference(f"{topic} queue {queue_id} has messages nobody sent: it should end at {last}: {queue}")


def delayed_once(held, round):
    keys = sorted(entry["keys"] for name, entry in held.items() if name[:2] == ("message", "Delayed"))
    wanted = sorted([f"delayed-{n}" for n in range(5)] + [f"left-{earlier}-{n}" for earlier in range(round) for n in range(2)])
    if keys != wanted:
        raise Difference(f"delayed messages come once each: {wanted}, but came {keys}")


# ---------------------------------------------------------------- tables


def table(server, name):
    """A table of Apache's dialect: numbers as keys may stand without quotes."""
    text = (server.store / "config" / name).read_text(encoding="utf-8")
    return json.loads(re.sub(r"([{,]\s*)(\d+):", r'\1"\2":', text))


def await_table(server, name, holds, what):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if holds(table(server, name)):
                return
        except (OSError, ValueError):
            pass
        time.sleep(0.05)
    raise Difference(f"{label(server)}: after 30 s {name} still does not hold {what}: {table(server, name)}")


def await_delay_offsets(server, held):
    """All that was due was delivered, and the table on disk says so."""
    due = {str(level): held["queue", "SCHEDULE_TOPIC_XXXX", level - 1, None, None, None]["maxOffset"] for level in (1, 4, 5)}
    due = {level: end for level, end in due.items() if end}
    await_table(server, "delayOffset.json", lambda now: all(now["offsetTable"].get(level, 0) >= end for level, end in due.items()), due)


def await_offsets(server, left):
    wanted = [(f"{entry['topic']}@{entry['group']}", str(entry["queueId"]), entry["offset"]) for entry in left if entry["kind"] == "offset"]
    await_table(
        server, "consumerOffset.json",
        lambda now: all(offset < 0 or now["offsetTable"].get(key, {}).get(queue) == offset for key, queue, offset in wanted),
        wanted,
    )


def readable(server):
    """4.4.0 lets nobody read dead letters and what waits; operators raise the permission."""
    for topic, queues in (("%DLQ%Failing", 1), ("SCHEDULE_TOPIC_XXXX", 18)):
        change(server, UPDATE_AND_CREATE_TOPIC, {
            "topic": topic, "defaultTopic": "TBW102", "readQueueNums": str(queues), "writeQueueNums": str(queues), "perm": "6",
            "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0", "order": "false",
        })


def change(server, code, fields, body=b""):
    answer, remark, _ = servers.ask(server.broker_port, code, fields, body)
    if answer != 0:
        raise Difference(f"{label(server)} answers {answer} to request {code}: {remark}")


def typed_topic_and_group(server):
    """A topic with an attribute and a group with settings of its own, as an operator makes them."""
    topic = {
        "topic": "Typed", "defaultTopic": "TBW102", "readQueueNums": "3", "writeQueueNums": "2", "perm": "4",
        "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0", "order": "true",
    }
    if server.version.startswith("5"):
        topic["attributes"] = "+message.type=FIFO"
    group = {
        "groupName": "Tuned", "consumeEnable": True, "consumeFromMinEnable": False, "consumeBroadcastEnable": False,
        "retryQueueNums": 3, "retryMaxTimes": 5, "brokerId": 0, "whichBrokerWhenConsumeSlowly": 1,
        "notifyConsumerIdsChangedEnable": False,
        "groupRetryPolicy": {"type": "EXPONENTIAL", "exponentialRetryPolicy": {"initial": 1000, "max": 9000, "multiplier": 3}},
    }
    change(server, UPDATE_AND_CREATE_TOPIC, topic)
    change(server, UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, {}, json.dumps(group).encode())


def strange(server):
    """Puts fields into the tables that no version knows, beside those of the next one. Returns the tables."""
    tables = {}
    for name in TABLES:
        tables[name] = table(server, name)
        if server.name == "apache":
            tables[name].update(STRANGE)
            for part, entry in (("topicConfigTable", "Typed"), ("subscriptionGroupTable", "Tuned")):
                if entry in tables[name].get(part, {}):
                    tables[name][part][entry].update(STRANGE)
            (server.store / "config" / name).write_text(json.dumps(tables[name], ensure_ascii=False), encoding="utf-8")
    return tables


def kept(server, before):
    """All that the tables said before, they say still; but Apache's brokers drop what they do not know."""
    for name in TABLES:
        now = table(server, name)
        lost = [
            ".".join(path) for path, value in leaves(before[name])
            if path[0] not in ("dataVersion", "offsetTable", "groupTopicMap") and leaf(now, path) != value
            and not (server.name == "apache" and any(part in unknown_to(server) for part in path))
        ]
        offsets = before[name].get("offsetTable", {}).items()
        lost += [key for key, offset in offsets if offset != 0 and key not in now["offsetTable"]]
        if lost:
            raise Difference(f"{label(server)} does not keep in {name}: {lost}")


def unknown_to(apache):
    """And what moves by itself: how far pulls are."""
    return STRANGE.keys() | ({"pullOffsetTable"} if apache.version.startswith("5") else NEW_IN_5)


def leaves(value, path=()):
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    else:
        yield path, value


def leaf(value, path):
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[key]
    return value
