"""Timed messages change hands: one server takes them and ends, cleanly or by kill -9, the other goes on, and hands them back.

Four rounds, in turn Apache's 5.5.0 and CometMQ. In each, messages are sent that are due in this round, in a later one, and
while nobody runs; some are recalled, in the round in which they were sent or in the next, by the other server. Their way is
longer than the roll window, and the timer log's files are small, so that all of that crosses from one server to the other.

In the end all have come but those that were recalled, none early, and none later than a tick and what the start of a server
takes. After clean stops each comes once. After a kill Apache's broker delivers again what it, or the server before it, delivered
in the last moments; CometMQ looks for those first, and adds no second copy of its own.
"""

import base64
import shutil
import struct
import time

import servers
from foreign import topic
from store_exchange import Difference, HEAP, STOPS

WRITERS = ["cometmq", "5.5.0"]
ROUNDS = 4
TOPIC = "Timed"
TICK = 1000
SETTINGS = {
    "mappedFileSizeCommitLog": "65536",
    "mappedFileSizeConsumeQueue": "2000",
    "maxHashSlotNum": "100",
    "maxIndexNum": "400",
    "mappedFileSizeTimerLog": "4096",
    "timerRollWindowSlot": "20",
    "recallMessageEnable": "true",
    "diskMaxUsedSpaceRatio": "97",
}
SEND_MESSAGE, PULL_MESSAGE, RECALL_MESSAGE = 10, 11, 370


def run(options, directory):
    """Returns how many exchanges passed and failed."""
    passed = failed = 0
    for writer in [writer for writer in options.writer if writer in WRITERS]:
        for stop in options.stop:
            begun = time.monotonic()
            home = directory / f"timers-{writer}-{stop}"
            try:
                print(f"timers of {writer}, {stop}", flush=True)
                count = Exchange(options, home, writer, stop).run()
                print(f"PASS timers of {writer}, {stop}: {count} messages, {time.monotonic() - begun:.0f} s\n", flush=True)
                passed += 1
                if not options.keep:
                    shutil.rmtree(home)
            except (Difference, servers.ServerError) as failure:
                print(f"FAIL timers of {writer}, {stop}: {failure}", flush=True)
                failed += 1
    return passed, failed


class Exchange:
    def __init__(self, options, home, writer, stop):
        home.mkdir(parents=True)
        comet = servers.CometMQ(options.binary, home / "server", SETTINGS)
        apache = servers.Apache("5.5.0", home / "server", SETTINGS, heap=HEAP)
        apache.namesrv_port, apache.broker_port = comet.namesrv_port, comet.broker_port
        self.order = [comet, apache] if writer == "cometmq" else [apache, comet]
        self.stop = stop
        self.due, self.recalled, self.up = {}, set(), []

    def run(self):
        try:
            for number in range(ROUNDS):
                server, last = self.order[number % 2], number == ROUNDS - 1
                server.start()
                self.up.append([now(), None, None])
                if number == 0:
                    topic(server, TOPIC)
                self.recall_of_before(server, number)
                self.send(server, number)
                time.sleep(4)
                if last:
                    self.await_all(server)
                print(f"  {server.name}: {len(self.messages(server))} of {len(self.due)} have come", flush=True)
                if last:
                    found = self.messages(server)
                self.up[-1][1] = now()
                if self.stop == "kill" and not last:
                    server.kill()
                server.close()
                self.up[-1][2] = now()
                time.sleep(2)
            return self.judge(found)
        finally:
            for server in self.order:
                server.close()

    def send(self, server, number):
        begun = now()
        for n in range(40):
            key, at = f"{number}-{n}", begun + 700 + n * 617
            self.due[key] = at
            text = f"UNIQ_KEY\x01{key}\x02TIMER_DELIVER_MS\x01{at}\x02"
            ask(server, SEND_MESSAGE, {
                "producerGroup": "P", "topic": TOPIC, "defaultTopic": "TBW102", "defaultTopicQueueNums": "1", "queueId": "0",
                "sysFlag": "0", "bornTimestamp": str(begun), "flag": "0", "properties": text,
                "reconsumeTimes": "0", "unitMode": "false", "batch": "false",
            }, key.encode())
        for n in (6, 15):
            self.recall(server, f"{number}-{n}")

    def recall_of_before(self, server, number):
        # Not those that roll: what Apache's broker rolls too late it delivers before it has seen what recalls it.
        for n in (28, 31):
            if number > 0:
                self.recall(server, f"{number - 1}-{n}")

    def recall(self, server, key):
        out = (self.due[key] - 1) // TICK * TICK
        if out < now() + 500:
            return
        handle = base64.urlsafe_b64encode(f"v1 {TOPIC} {server.broker_name} {out + 1} {key}".encode()).decode()
        ask(server, RECALL_MESSAGE, {"producerGroup": "P", "topic": TOPIC, "recallHandle": handle})
        self.recalled.add(key)

    def await_all(self, server):
        wanted = self.due.keys() - self.recalled
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            missing = wanted - {key for key, _ in self.messages(server)}
            if not missing:
                time.sleep(2)  # nothing more comes
                return
            time.sleep(0.2)
        raise Difference(f"{server.name}: these do not come: {sorted(missing)}")

    def messages(self, server):
        """Key and store time of all that have come, by offset."""
        found, offset = [], 0
        while True:
            body = ask(server, PULL_MESSAGE, {
                "consumerGroup": "Reading", "topic": TOPIC, "queueId": "0", "queueOffset": str(offset), "maxMsgNums": "32",
                "sysFlag": "4", "commitOffset": "0", "suspendTimeoutMillis": "0", "subscription": "*", "subVersion": "0",
            }, allowed=(0, 19, 21))
            if not body:
                return found
            for key, stored in records(body):
                found.append((key, stored))
                offset += 1

    def judge(self, found):
        keys = [key for key, _ in found]
        came = set(keys)
        if came & self.recalled:
            raise Difference(f"recalled, and came: {sorted(came & self.recalled)}")
        if came != self.due.keys() - self.recalled:
            raise Difference(f"missing: {sorted(self.due.keys() - self.recalled - came)}")
        first = {}
        for key, stored in found:
            first.setdefault(key, stored)
        for key, stored in found:
            if stored < self.due[key]:
                raise Difference(f"{key} came {self.due[key] - stored} ms early")
        late = {key: stored - self.could_come(self.due[key]) for key, stored in first.items()}
        worst = max(late, key=late.get)
        # Apache looks every 100 ms, and what it rolled is behind by as much again.
        if late[worst] > TICK + 1500:
            raise Difference(f"{worst} came {late[worst]} ms late")
        again = [key for key in came if keys.count(key) > 1]
        if self.stop == "clean" and again:
            raise Difference(f"came more than once after clean stops: {sorted(again)}")
        # What came again came when a server had just started: what the one before had delivered in its last two seconds.
        for key in again:
            times = [stored for other, stored in found if other == key]
            for earlier, later in zip(times, times[1:]):
                if not any(end is not None and end - 2500 <= earlier <= end and later > end for _, _, end in self.up):
                    raise Difference(f"{key} came more than once: {times}, servers ran {self.up}")
        print(f"  at most {late[worst]} ms late, {len(again)} came again", flush=True)
        return len(self.due)

    def could_come(self, due):
        """The first moment not before it was due at which a server was up."""
        for up, end, _ in self.up:
            # Its tick must be over, and a moment more.
            if (due // TICK + 1) * TICK + 1000 <= end:
                return max(due, up)
        return due


def now():
    return int(time.time() * 1000)


def ask(server, code, fields, body=b"", allowed=(0,)):
    answer, remark, body = servers.ask(server.broker_port, code, fields, body)
    if answer not in allowed:
        raise Difference(f"{server.name} answers {answer} to request {code}: {remark}")
    return body


def records(body):
    """Body and store time of the records of a pull."""
    at = 0
    while at < len(body):
        size, = struct.unpack_from(">i", body, at)
        stored, = struct.unpack_from(">q", body, at + 56)
        length, = struct.unpack_from(">i", body, at + 84)
        yield body[at + 88:at + 88 + length].decode(), stored
        at += size
