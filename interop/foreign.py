"""What Apache's 5.5.0 keeps beside messages: made by its broker, and `cometmq store adopt` must know each of it by name."""

import json
import subprocess
import time
from pathlib import Path

import servers
from store_exchange import Difference, HEAP, UPDATE_AND_CREATE_TOPIC, change

SEND_MESSAGE = 10
POP_MESSAGE = 200050
EXPORT_ROCKSDB_CONFIG_TO_JSON = 355

SMALL = {"mappedFileSizeCommitLog": str(1 << 20), "mappedFileSizeConsumeQueue": "20000", "maxHashSlotNum": "100", "maxIndexNum": "400"}

CASES = {
    "timed and popped messages, light queues, other kinds of topics": (
        {"enableLmq": "true", "enableConsumeQueueExt": "true", "enableCompaction": "true"},
        {"timers", "lmqOffsets", "extendedQueues", "batchTopics", "compactionTopics"},
    ),
    "all that can be in RocksDB": (
        {
            "storeType": "defaultRocksDB", "indexRocksDBEnable": "true", "timerRocksDBEnable": "true",
            "popConsumerKVServiceEnable": "true", "popConsumerKVServiceInit": "true",
        },
        {"rocksDbQueues", "rocksDbTables", "rocksDbState"},
    ),
}


def run(options, directory):
    """Returns how many cases passed and failed."""
    outcomes = []
    for name, (settings, expected) in CASES.items():
        try:
            case(options, directory / f"foreign-{len(outcomes)}", settings, expected)
            print(f"PASS {name}: each is refused by name\n", flush=True)
            outcomes.append(True)
        except (Difference, servers.ServerError) as failure:
            print(f"FAIL {name}: {failure}", flush=True)
            outcomes.append(False)
    return outcomes.count(True), outcomes.count(False)


def case(options, home, settings, expected):
    apache = servers.Apache("5.5.0", home, {**SMALL, **settings}, heap=HEAP)
    try:
        apache.start()
        print(f"{apache.name} {apache.version} with {settings}", flush=True)
        fill(apache, [] if "storeType" in settings else ["+cleanup.policy=COMPACTION", "+queue.type=BatchCQ"])
        if "storeType" in settings:
            change(apache, EXPORT_ROCKSDB_CONFIG_TO_JSON, {"configType": "topics;subscriptionGroups;consumerOffsets;"})
        apache.stop()
    finally:
        apache.close()
    code, report = adopt(options, apache, "--dry-run")
    refused = {found["name"] for found in report["findings"] if found["fate"] == "refused"}
    strange = [found["path"] for found in report["findings"] if found["name"] == "unknown"]
    if code != 1 or refused != expected or strange:
        raise Difference(f"exit code {code}, refused {sorted(refused)}, expected {sorted(expected)}, unknown {strange}")
    for found in report["findings"]:
        if found["fate"] == "refused":
            print(f"  {found['sentence'].replace(str(apache.store) + '/', '')}", flush=True)
    if "rocksDbQueues" in expected:
        as_it_says(options, apache, report)


def as_it_says(options, apache, report):
    """Tables were exported, RocksDB's directories are moved away: CometMQ builds the queues again and serves all of it."""
    for found in report["findings"]:
        if found["fate"] == "refused":
            path = Path(found["path"])
            path.rename(apache.directory / f"away-{path.name}")
    code, report = adopt(options, apache)
    plain = sorted(path.name for path in (apache.store / "consumequeue").iterdir())
    topics = json.loads((apache.store / "config" / "topics.json").read_text())["topicConfigTable"]
    if code != 0 or "Plain" not in plain or "Plain" not in topics:
        raise Difference(f"after doing as it says: exit code {code}, queues of {plain}, {report}")
    print("  done as it says: CometMQ starts on it", flush=True)


def adopt(options, server, *arguments):
    """The exit code and the report of `cometmq store adopt` on its directory."""
    command = [str(options.binary), "store", "adopt", str(server.store), "-o", "json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode > 1:
        raise Difference(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
    return done.returncode, json.loads(done.stdout)


def fill(apache, kinds):
    topic(apache, "Plain")
    for n in range(3):
        send(apache, "Plain", {"KEYS": f"plain-{n}", "TAGS": "t"})
    for kind in kinds:
        name = f"Topic-{kind.rpartition('=')[2]}"
        topic(apache, name, kind)
        send(apache, name, {"KEYS": "key"})
    for n in range(2):
        send(apache, "Plain", {"TIMER_DELAY_SEC": "3600", "UNIQ_KEY": f"timed-{n}"})
    pop(apache)


def topic(server, name, attributes=""):
    change(server, UPDATE_AND_CREATE_TOPIC, {
        "topic": name, "defaultTopic": "TBW102", "readQueueNums": "1", "writeQueueNums": "1", "perm": "6",
        "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0", "order": "false", "attributes": attributes,
    })


def send(server, topic, properties):
    text = "".join(f"{name}\x01{value}\x02" for name, value in properties.items())
    change(server, SEND_MESSAGE, {
        "producerGroup": "P", "topic": topic, "defaultTopic": "TBW102", "defaultTopicQueueNums": "1", "queueId": "0",
        "sysFlag": "0", "bornTimestamp": str(int(time.time() * 1000)), "flag": "0", "properties": text,
        "reconsumeTimes": "0", "unitMode": "false", "batch": "false",
    }, b"a message")


def pop(server):
    """A group takes a message and does not say that it is done with it."""
    deadline = time.monotonic() + 30
    while True:
        code, remark, _ = servers.ask(server.broker_port, POP_MESSAGE, {
            "consumerGroup": "Popping", "topic": "Plain", "queueId": "-1", "maxMsgNums": "1", "invisibleTime": "600000",
            "pollTime": "0", "bornTime": str(int(time.time() * 1000)), "initMode": "0", "expType": "TAG", "exp": "*", "order": "false",
        })
        if code == 0:
            return
        if time.monotonic() > deadline:
            raise Difference(f"pop answers {code}: {remark}")
        time.sleep(0.2)
