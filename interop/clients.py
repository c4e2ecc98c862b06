"""Runs the scenarios of a client that is not Java: starts the server, makes the topics, judges each scenario.

A client's folder holds `run`, which names its scenarios and how one of them is started. Each scenario is a process of
its own, which gets the addresses and its topics and ends with one line: `PASS name`, `FAIL name: reason` or
`N/A name: reason`. One that dies or hangs has failed; the others go on.
"""

import argparse
import concurrent.futures
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from recorder import Recorder
from servers import Apache, CometMQ, HERE, ServerError, ask

APACHE_VERSION = "5.5.0"
UPDATE_AND_CREATE_TOPIC = 17
GET_ROUTEINFO_BY_TOPIC = 105


class SmallApache(Apache):
    """The broker with half the heap: these scenarios are small."""

    def java(self, heap, part, main, conf):
        return super().java("512m" if part == "broker" else heap, part, main, conf)


def create_topic(server, topic, queues):
    code, remark, _ = ask(server.broker_port, UPDATE_AND_CREATE_TOPIC, {
        "topic": topic, "defaultTopic": "TBW102", "readQueueNums": str(queues), "writeQueueNums": str(queues),
        "perm": "6", "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0", "order": "false",
    })
    if code != 0:
        raise ServerError(f"createTopic {topic} answered {code}: {remark}")


def wait_for_route(server, topic):
    server.wait_until(
        lambda: ask(server.namesrv_port, GET_ROUTEINFO_BY_TOPIC, {"topic": topic})[0] == 0,
        f"the name server knows topic {topic}",
    )


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


def main(client, scenarios, prepare):
    """`scenarios`: name → queues of its topic (`interop-CLIENT-NAME`).
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
    unknown = set(options.scenario) - set(scenarios)
    if unknown:
        parser.error(f"no scenario {', '.join(sorted(unknown))}; there are: {', '.join(scenarios)}")
    names = options.scenario or list(scenarios)

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
        settings = {"mappedFileSizeCommitLog": str(64 << 20), "diskMaxUsedSpaceRatio": "97"}
        if options.against == "apache":
            # A request that waited 200 ms is refused, a oneway then is lost: a JVM that just started is that slow.
            settings["waitTimeMillsInSendQueue"] = "5000"
            server = SmallApache(APACHE_VERSION, directory / "server", settings)
        else:
            server = CometMQ(options.binary, directory / "server", settings)
        server.start()
        try:
            for name in names:
                create_topic(server, f"interop-{client}-{name}", scenarios[name])
            for name in names:
                wait_for_route(server, f"interop-{client}-{name}")

            recorder = Recorder(server) if options.record else None

            def one(name):
                home = directory / name
                home.mkdir()
                verdict = judge(client, name, [
                    *command, "--against", options.against, "--broker", server.broker,
                    "--namesrv", recorder.namesrv if recorder else server.namesrv,
                    "--topic", f"interop-{client}-{name}", name,
                ], 120, home, {"HOME": str(home)})
                print(verdict, flush=True)
                return verdict

            with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
                verdicts = list(pool.map(one, names))
            if recorder:
                print(f"{recorder.write(options.record)} frames: {options.record}")
        finally:
            server.close()
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
