"""Runs the scenarios of a client that is not Java: starts the server, makes the topics, judges each scenario.

A client's folder holds `run`, which names its scenarios and how one of them is started. Each scenario is a process of
its own, which gets the addresses and its topics and ends with one line: `PASS name`, `FAIL name: reason` or
`N/A name: reason`. One that dies or hangs has failed; the others go on.
"""

import argparse
import concurrent.futures
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from recorder import Recorder
from servers import Apache, CometMQ, HERE, ServerError, ask, with_users

APACHE_VERSION = "5.5.0"
UPDATE_AND_CREATE_TOPIC = 17
CREATE_USER = 3001
CREATE_ACL = 3006
GET_ROUTEINFO_BY_TOPIC = 105


class SmallApache(Apache):
    """The broker with half the heap: these scenarios are small."""

    def java(self, heap, part, main, conf):
        return super().java("512m" if part == "broker" else heap, part, main, conf)


def create_topic(server, topic, queues):
    code, remark, _ = ask(server.broker_port, UPDATE_AND_CREATE_TOPIC, {
        "topic": topic, "defaultTopic": "TBW102", "readQueueNums": str(queues), "writeQueueNums": str(queues),
        "perm": "6", "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0", "order": "false",
    }, sign=server.signs_as)
    if code != 0:
        raise ServerError(f"createTopic {topic} answered {code}: {remark}")


def wait_for_route(server, topic):
    server.wait_until(
        lambda: ask(server.namesrv_port, GET_ROUTEINFO_BY_TOPIC, {"topic": topic}, sign=server.signs_as)[0] == 0,
        f"the name server knows topic {topic}",
    )


def make_user(server, name, secret, topics):
    """A user who may send to these topics, and consume them."""
    rules = [{"resource": f"Topic:{topic}", "actions": ["Pub", "Sub"], "decision": "Allow"} for topic in topics]
    rules += [{"resource": "Group:*", "actions": ["Sub"], "decision": "Allow"}]
    # `cometmq dev` shares the broker's users with its name server; Apache's name servers have none.
    for code, fields, body in (
        (CREATE_USER, {"username": name}, {"password": secret, "userType": "Normal"}),
        (CREATE_ACL, {"subject": f"User:{name}"}, {"policies": [{"entries": rules}]}),
    ):
        answer, remark, _ = ask(server.broker_port, code, fields, json.dumps(body).encode(), sign=server.signs_as)
        if answer != 0:
            raise ServerError(f"request {code} was answered {answer}: {remark}")


def judge(client, name, command, seconds, directory, environment):
    """Runs one scenario; returns its verdict, a line."""
    log = directory / f"{name}.log"
    with open(log, "wb") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, stdin=subprocess.DEVNULL, cwd=directory,
            env={**os.environ, **environment}, start_new_session=True, text=True,
        )
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return f"FAIL {name}: no verdict within {seconds} s, see {log}"
    for line in reversed(output.splitlines()):
        if line.split(" ")[0] in ("PASS", "FAIL", "N/A"):
            return line
    return f"FAIL {name}: the process ended with {process.returncode} and no verdict, see {log}"


def main(client, scenarios, prepare, guarded=None):
    """`scenarios`: name → queues of its topic (`interop-CLIENT-NAME`). `guarded`: the same, on a server with access control, where
    user `alice` with `secretOfAlice` may use these topics.
    `prepare()` installs the client and returns the command that a scenario's arguments are appended to,
    or a text: why this machine cannot run it."""
    parser = argparse.ArgumentParser(description=f"The {client} client against Apache's broker or CometMQ.")
    parser.add_argument("--against", choices=("apache", "cometmq"), default="cometmq")
    parser.add_argument("--binary", default=HERE.parent / "target" / "release" / "cometmq", help="the cometmq to start")
    parser.add_argument("--jobs", type=int, default=4, help="scenarios at a time")
    parser.add_argument("--keep", action="store_true", help="keep stores and logs also when all pass")
    parser.add_argument("--record", metavar="FILE", help="keep one frame of each shape that the client writes")
    parser.add_argument("scenario", nargs="*", help="only these")
    options = parser.parse_args()
    all_scenarios = {**scenarios, **(guarded or {})}
    unknown = set(options.scenario) - set(all_scenarios)
    if unknown:
        parser.error(f"no scenario {', '.join(sorted(unknown))}; there are: {', '.join(all_scenarios)}")
    names = options.scenario or list(all_scenarios)

    command = prepare()
    if isinstance(command, str):
        for name in names:
            print(f"N/A {name}: {command}")
        print(f"0 passed, 0 failed, {len(names)} skipped")
        return 0

    directory = Path(tempfile.mkdtemp(prefix=f"interop-{client}-"))
    begun = time.monotonic()
    verdicts = []
    try:
        for kind in (scenarios, guarded or {}):
            chosen = [name for name in names if name in kind]
            if chosen:
                verdicts += run(client, kind, chosen, command, options, directory, with_users("root", "secretOfRoot") if kind is guarded else None)
    except ServerError as error:
        print(f"FAIL server: {error}")
        verdicts.append("FAIL server")
    counts = [sum(verdict.startswith(kind) for verdict in verdicts) for kind in ("PASS", "FAIL", "N/A")]
    if counts[1] == 0 and not options.keep:
        shutil.rmtree(directory)
    else:
        print(f"stores and logs: {directory}")
    print(f"{client} against {options.against}, {time.monotonic() - begun:.0f} s")
    print("{} passed, {} failed, {} skipped".format(*counts))
    return 1 if counts[1] else 0


def run(client, scenarios, names, command, options, directory, guard):
    """Runs these scenarios on a server of their own. Answers with the verdicts."""
    settings = {"mappedFileSizeCommitLog": str(64 << 20), "diskMaxUsedSpaceRatio": "97"}
    home = directory / ("guarded-server" if guard else "server")
    if options.against == "apache":
        # A request that waited 200 ms is refused, a oneway then is lost: a JVM that just started is that slow.
        settings["waitTimeMillsInSendQueue"] = "5000"
        server = SmallApache(APACHE_VERSION, home, settings)
    else:
        server = CometMQ(options.binary, home, settings)
    server.start(guard)
    try:
        topic_of = lambda name: f"interop-{client}-{name}"
        for name in names:
            create_topic(server, topic_of(name), scenarios[name])
        for name in names:
            wait_for_route(server, topic_of(name))
        if guard:
            make_user(server, "alice", "secretOfAlice", [topic_of(name) for name in names])

        recorder = Recorder(server) if options.record and not guard else None

        def one(name):
            home = directory / name
            home.mkdir()
            verdict = judge(client, name, [
                *command, "--against", options.against, "--broker", server.broker,
                "--namesrv", recorder.namesrv if recorder else server.namesrv,
                "--topic", topic_of(name), name,
            ], 120, home, {"HOME": str(home)})
            print(verdict, flush=True)
            return verdict

        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            verdicts = list(pool.map(one, names))
        if recorder:
            print(f"{recorder.write(options.record)} frames: {options.record}")
        return verdicts
    finally:
        server.close()
