"""What Apache's tools print on CometMQ is what they print on Apache: a walk through all that a tool does, in one JVM.

A walk lies in a directory: `commands.txt` is what is run, `expected/VERSION.txt` what the tool of that version prints on Apache,
`differences.txt` where CometMQ differs, line by line, each with its reason. mqadmin/run and dashboard/run are walks.
"""

import argparse
import difflib
import json
import os
import queue
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import servers

INTEROP = Path(__file__).resolve().parent
REPOSITORY = INTEROP.parent
SECONDS = 25
NO_REASON = "?"

SETTINGS = {
    "messageDelayLevel": "1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s 1s",
    "mappedFileSizeCommitLog": str(64 << 20),
    "diskMaxUsedSpaceRatio": "97",
    "traceTopicEnable": "true",
    "brokerIP1": "127.0.0.1",
}

FILES = {
    "topics.json": '[{"topicName":"FromList1","readQueueNums":2,"writeQueueNums":2,"perm":6},'
                   '{"topicName":"FromList2","readQueueNums":3,"writeQueueNums":3,"perm":4}]',
    "topics-bad.json": '[{"topicName":"FromList3","readQueueNums":2,"writeQueueNums":2,"perm":6},{"topicName":"bad/name"}]',
    "groups.json": '[{"groupName":"G_list1","retryMaxTimes":3},{"groupName":"G_list2","consumeEnable":false}]',
    "groups-bad.json": '[{"groupName":"G_list3"},{"groupName":"bad/name"}]',
}


class Walk:
    """A tool, and where it is said what it does. `versions`: of rocketmq-tools, each with the version of Apache's servers that it is
    compared on. `sources`: of the program in the JVM of one version, whose main class is `program`. `extra`: settings of the servers,
    `arguments`: of the program, beside those that all walks have."""

    guards_namesrv = False

    def __init__(self, tool, here, versions, program, sources, extra=None, arguments=()):
        self.tool, self.here, self.servers = tool, here, versions
        self.versions = list(versions)
        self.program, self.sources = program, sources
        self.extra, self.arguments = extra, arguments
        self.differences = here / "differences.txt"

    def settings(self, version, against):
        """Settings of the servers beside those that all walks have."""
        return self.extra

    def begins(self, version, server):
        """The server runs; nothing was asked of it."""

    def about_to_run(self, version, home, command):
        """The tool, whose home this is, is about to run a command."""

    def expected(self, version):
        return self.here / "expected" / f"{version}.txt"

    def commands(self, version):
        lines = (self.here / "commands.txt").read_text().splitlines()
        found = [Command(line, self.versions) for line in lines if line.strip() and not line.startswith("#")]
        return [command for command in found if version in command.versions]

    def classes(self, version, jars):
        classes = servers.TARGET / f"{self.program.lower()}-{version}"
        compiled = classes / f"{self.program}.class"
        sources = self.sources(version)
        if not compiled.exists() or compiled.stat().st_mtime < max(source.stat().st_mtime for source in sources):
            subprocess.run(["javac", "-nowarn", "-cp", f"{jars}/*", "-d", classes, *sources], check=True, stderr=subprocess.DEVNULL)
        return classes


def run(walks, description):
    """Walks as the command line says; the exit code."""
    options = parse(walks, description)
    os.environ.pop("NAMESRV_ADDR", None)
    passed = failed = 0
    started = time.monotonic()
    # Most of the time they wait, for each other's processes least of all.
    with ThreadPoolExecutor() as threads:
        runs = [
            (walk, version, threads.submit(run_version, walk, version, options))
            for walk in walks for version in walk.versions if version in options.tools and walk.tool in options.walk
        ]
    for walk in (walk for walk in walks if walk.tool in options.walk):
        differences = read_differences(walk)
        for version, outputs in [(version, run.result()) for of, version, run in runs if of is walk]:
            if options.capture:
                write_blocks(walk.expected(version), outputs)
                print(f"{walk.expected(version)}: {len(outputs)} commands")
                continue
            good, bad = compare(walk, version, outputs, differences, options)
            passed, failed = passed + good, failed + bad
        if options.accept:
            write_differences(walk, differences)
    print(f"{time.monotonic() - started:.0f} s")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


def parse(walks, description):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", choices=["cometmq", "apache"], default="cometmq")
    parser.add_argument("--tools", type=lambda text: text.split(","), default=[version for walk in walks for version in walk.versions],
                        help="versions of rocketmq-tools")
    names = [walk.tool for walk in walks]
    parser.add_argument("--walk", nargs="+", choices=names, default=names)
    parser.add_argument("--binary", default=REPOSITORY / "target" / "release" / "cometmq", type=Path)
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD")
    parser.add_argument("--capture", action="store_true")
    parser.add_argument("--accept", action="store_true")
    parser.add_argument("--keep", type=Path, help="leaves stores, logs and raw outputs in this directory")
    options = parser.parse_args()
    if options.capture and options.against != "apache":
        parser.error("--capture is for --against apache: what Apache prints is what is expected")
    return options


# ---------------------------------------------------------------- the commands, run


class Command:
    """A line of commands.txt."""

    def __init__(self, line, versions):
        version, _, rest = line.partition(": ")
        self.versions = [version] if version in versions else versions
        text = rest if version in versions else line
        self.text, _, how = (part.strip() for part in text.partition(" | "))
        self.how = dict((word.partition("=")[::2]) for word in how.split())


# Ports are free until somebody listens; two walks may run the same program.
STARTING, BUILDING = threading.Lock(), threading.Lock()


def run_version(walk, version, options):
    """What each command prints, normalised: [(title, text)]."""
    directory = Path(options.keep or tempfile.mkdtemp(prefix=f"{walk.tool}-")) / f"{walk.tool}-{options.against}-{version}"
    directory.mkdir(parents=True)
    for name, text in FILES.items():
        (directory / name).write_text(text)
    with STARTING:
        if options.against == "apache":
            server = servers.Apache(walk.servers[version], directory / "server", SETTINGS)
        else:
            server = Pair(options.binary, directory / "server", SETTINGS)
            server.guards_namesrv = walk.guards_namesrv
        try:
            server.start(walk.settings(version, options.against))
            walk.begins(version, server)
        except BaseException:
            server.close()
            raise
    try:
        with Tools(walk, version, server, directory) as tools:
            return tools.all()
    finally:
        server.close()


class Pair(servers.CometMQ):
    """A name server and a broker, as in production: each with a file in which it keeps its settings."""

    # Does the name server ask who comes, if the broker does? Apache's do not.
    guards_namesrv = False

    def start(self, extra=None):
        conf = self.directory / "namesrv.conf"
        text = f"# what this name server is told\nlistenPort={self.namesrv_port}\nkvConfigPath={self.directory}/kvConfig.json\n"
        # Who may do what stands beside both.
        guard = {key: value for key, value in (extra or {}).items() if self.guards_namesrv and re.match("aclEnable|auth.*Enabled|init.*User|inner.*Credentials", key)}
        conf.write_text(text + "".join(f"{key}={value}\n" for key, value in guard.items()))
        broker_conf = self.write_conf(extra)
        self.spawn("namesrv", [str(self.binary), "namesrv", "-c", str(conf)])
        self.wait_until(lambda: servers.accepts(self.namesrv_port), "the name server accepts")
        self.spawn("broker", [str(self.binary), "broker", "-c", str(broker_conf), "-n", self.namesrv])
        self.wait_until(self.broker_is_listed, "the name server lists the broker")

    def close(self):
        self.end("broker", signal.SIGTERM)
        self.end("namesrv", signal.SIGTERM)


class Tools:
    """A JVM in which the tool runs."""

    def __init__(self, walk, version, server, directory):
        self.walk, self.version, self.server, self.directory = walk, version, server, directory
        with BUILDING:
            jars = servers.copy_jars(INTEROP / "mqadmin" / "pom.xml", "rocketmq.tools", version, servers.TARGET / f"tools-{version}")
            classes = walk.classes(version, jars)
        self.home = home = directory / "home"
        (home / "conf").mkdir(parents=True)
        (home / "conf" / "logback_tools.xml").write_text("<configuration/>")
        command = [
            "java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.security.manager=allow", "-Dfile.encoding=UTF-8",
            "-Duser.timezone=UTC", "-Duser.language=en", f"-Duser.home={home}", f"-Drocketmq.home.dir={home}",
            "-Drocketmq.client.logLevel=ERROR", *servers.ADD_OPENS, "-cp", f"{classes}:{jars}/*", walk.program, server.namesrv, server.broker, *walk.arguments,
        ]
        self.errors = open(directory / "tools.log", "wb")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
                                        cwd=directory, env={**os.environ, "ROCKETMQ_HOME": str(home)})
        self.lines = queue.Queue()
        threading.Thread(target=self.pump, daemon=True).start()
        spare = next(port for port in range(server.broker_port + 2, server.broker_port + 10) if servers.free(port))
        self.names = {
            "broker": server.broker, "namesrv": server.namesrv, "dir": str(directory), "broker2": f"127.0.0.1:{spare}",
            **{f"clientid.{group}": f"10.1.2.3@{group}" for group in ("G_done", "G_retry", "G_dead")},
        }

    def pump(self):
        for line in self.process.stdout:
            self.lines.put(line.decode("utf-8", "replace"))
        self.lines.put(None)

    def line(self, seconds):
        try:
            line = self.lines.get(timeout=seconds)
        except queue.Empty:
            line = None
        if line is None:
            self.process.kill()
            self.errors.flush()
            raise servers.ServerError(f"{self.walk.tool} {self.version} says nothing more:\n{(self.directory / 'tools.log').read_text()[-3000:]}")
        return line

    def __enter__(self):
        while (line := self.line(120)) != "@@ READY\n":
            if line.startswith("@@ SET "):
                _, _, name, value = line.split()
                self.names[name] = value
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def all(self):
        outputs, titles = [], {}
        raw = open(self.directory / "raw.txt", "w")
        for command in self.walk.commands(self.version):
            name = command.text + (f" [as {command.how['as']}]" if "as" in command.how else "")
            titles[name] = titles.get(name, 0) + 1
            title = name if titles[name] == 1 else f"{name} ({titles[name]})"
            self.walk.about_to_run(self.version, self.home, command)
            began = time.monotonic()
            printed, outcome = self.run(command)
            text = self.normalise(command, printed, outcome)
            raw.write(f"$ {title}\n[{time.monotonic() - began:.2f} s]\n{printed}\n")
            outputs.append((title, text))
        raw.close()
        return outputs

    def run(self, command):
        words = [self.fill(word) for word in shlex.split(command.text)]
        seconds = int(command.how.get("seconds", SECONDS))
        self.process.stdin.write(("\t".join([str(seconds), *words]) + "\n").encode())
        self.process.stdin.flush()
        while self.line(seconds + 30) != "@@ BEGIN\n":
            pass
        printed = []
        while not (line := self.line(seconds + 30)).startswith("@@ END "):
            printed.append(line)
        text = "".join(printed)
        if "show" in command.how:
            path = Path(self.fill(command.how["show"]))
            # Maps have no order that means something.
            text += json.dumps(json.loads(path.read_text()), indent=1, sort_keys=True) if path.exists() else f"{path} is not there\n"
        return text, line.split(" ", 2)[2].strip()

    def fill(self, word):
        word = re.sub(r"\{([\w.]+)\}", lambda match: self.names[match[1]], word)
        return word.replace("{{", "{").replace("}}", "}")

    # ------------------------------------------------------------ what may differ from run to run

    def normalise(self, command, text, outcome):
        names = self.names
        for name, value in sorted(names.items(), key=lambda item: -len(item[1])):
            if not name.startswith("clientid."):
                text = text.replace(value, f"<{name}>")
        text = re.sub(r"127\.0\.0\.1:\d+", "<address>", text)
        text = re.sub(r"\b10\.1\.2\.3:\d+|\b(?:\d{1,3}\.){3}\d{1,3}:\d{4,5}\b", "<address>", text)
        text = text.replace(f":{self.server.broker_port}", ":<port>")
        text = re.sub(r"\b(?:[0-9A-F]{56}|[0-9A-F]{32})\b", "<id>", text)
        text = re.sub(r"\b\d{4}-\d\d-\d\d[ #]\d\d:\d\d:\d\d(?:[:,.]\d{3})?\b", "<time>", text)
        text = re.sub(r"(?<![\d.])1[6-9]\d{11}\b", "<ms>", text)
        text = re.sub(r"\b20[2-9]\d{14}\b|\b20[2-9]\d{11}\b", "<time>", text)
        text = re.sub(r"(?<![\d.])(?!10\.0\.0\.|10\.1\.2\.|0\.0\.0\.0)(?:\d{1,3}\.){3}\d{1,3}(?![\d.])", "<ip>", text)
        for port, name in [(self.server.broker_port, "<port>"), (self.server.broker_port + 1, "<port+1>"), (self.server.namesrv_port, "<port>")]:
            text = re.sub(rf"(?<!\d){port}(?!\d)", name, text)
        text = re.sub(r'("counter": ?|\bcounter = )\d+', r"\1<n>", text)
        text = re.sub(r"\b\d+-\d+\(", "<n>-<n>(", text)
        # Traces are written between the messages, now sooner, now later.
        text = re.sub(r"(commitLogOffset=|CommitLog Offset: +|physicOffset=|prepared at (?=[1-9])|<key\.\w+>@)\d+", r"\1<n>", text)
        text = re.sub(r"\b\d+ms\b", "<n>ms", text)
        text = re.sub(r"(spentTimeMills ?= ?|MasterCommitLogMaxOffset *\t? *)\d+", r"\1<n>", text)
        text = re.sub(r"\bcost \[\d+\]ms", "cost [<n>]ms", text)
        text = re.sub(r"\bV[45]_\d+_\d+\b", "<version>", text)
        # the address of a thread or an object, and the like
        text = re.sub(r"\$\$Lambda\S*", "<lambda>", text)
        text = re.sub(r"@[0-9a-f]{6,8}\b", "@<hash>", text)
        if "numbers" in command.how:
            text = re.sub(r"(?<![\w.])-?\d+\.\d+(?:E-?\d+)?(?!\w|\.\d)", "<n>", text)
            text = re.sub(r"<n>(?: <n>)+", "<n>", text)
            text = re.sub(r"(?m)^((?:<broker> +)?\w*(?:MaxOffset|Total|TimesTotal|TimeMax|runtime) *: ).*", r"\1<n>", text)
            text = re.sub(r"((?:CLUSTERING|BROADCASTING|OFFLINE)[ \t]+)\d+", r"\1<n>", text)
            text = re.sub(r"(?m)( true +)\d+ *$", r"\1<n>", text)
            text = re.sub(r"(delayTime = )[1-9]\d*", r"\1<n>", text)
        if "counts" in command.how:
            text = re.sub(r"(?m)(?<=[ \t])\d+(?=[ \t]*$|[ \t]+(?:\d+|NO_CONSUMER)[ \t]*$|,$)", "<c>", text)
        if "anyqueue" in command.how:
            text = re.sub(r"(queueId=|queueOffset=|broker-a +|\bqueue |\boffset )\d+", r"\1<n>", text)
        lines = [re.sub(r"[ \t]+", " ", line.rstrip()) for line in text.splitlines()]
        lines = [line for line in map(readable, lines) if line is not None]
        if "sort" in command.how:
            lines.sort()
        if outcome == "interrupted":
            lines = [line for line in lines if "Exception" not in line]
        if "seconds" in command.how:
            lines = [line for at, line in enumerate(lines) if at == 0 or line != lines[at - 1]]
        while lines and not lines[-1]:
            lines.pop()
        if outcome != "done":
            lines.append(f"[{outcome}]")
        return "\n".join(lines)


def readable(line):
    """Of an exception: what it is, and the code; the sentence behind is each server's own, and where it was thrown nobody's concern."""
    if "rocketmq.apache.org/docs/" in line or re.match(r"\s*(at |\.\.\. \d+ (more|common))", line):
        return None
    line = re.sub(r"(exceptionDesc ?= ?CODE:\d+ DESC:).*?(?=\](?:MessageTrack|$)|$)", r"\1…", line)
    return re.sub(r"(CODE: \d+ +DESC: ).*", r"\1…", line)


# ---------------------------------------------------------------- what was expected


def read_blocks(path):
    """[(title, text)] of a file of blocks: `$ title`, and indented lines."""
    blocks = []
    for line in path.read_text().splitlines() if path.exists() else []:
        if line.startswith("$ "):
            blocks.append((line[2:], []))
        elif line.startswith("  ") or not line:
            if blocks:
                blocks[-1][1].append(line[2:])
    for _, lines in blocks:
        while lines and not lines[-1]:
            lines.pop()
    return [(title, "\n".join(lines)) for title, lines in blocks]


def write_blocks(path, blocks):
    path.parent.mkdir(exist_ok=True)
    text = ""
    for title, output in blocks:
        text += f"$ {title}\n" + "".join(f"  {line}".rstrip() + "\n" for line in output.splitlines()) + "\n"
    path.write_text(text)


def read_differences(walk):
    """{(version, title): (reason, [lines])}"""
    found, key = {}, None
    for line in walk.differences.read_text().splitlines() if walk.differences.exists() else []:
        match = re.match(r"\$ (\d[\d.]+) (.*)", line)
        if match:
            key = (match[1], match[2])
            found[key] = ["", []]
        elif key and line.startswith("why: "):
            found[key][0] = line[5:]
        elif key and line[:1] in "+-" and line:
            found[key][1].append(line)
    return found


def write_differences(walk, found):
    text = (
        f"Where {walk.tool} prints on CometMQ what it does not print on Apache, and why that is meant.\n"
        "`run --accept` writes the lines; people write the reasons. A difference without a reason is a failure.\n"
    )
    for (version, title), (why, lines) in sorted(found.items(), key=lambda item: walk.versions.index(item[0][0])):
        text += f"\n$ {version} {title}\nwhy: {why}\n" + "".join(line + "\n" for line in lines)
    walk.differences.write_text(text)


def difference(expected, actual):
    lines = difflib.unified_diff(expected.splitlines(), actual.splitlines(), lineterm="", n=0)
    return [line.rstrip() for line in lines if not line.startswith(("---", "+++", "@@"))]


def in_both(one, other):
    """Of two lists of settings, what is set in both: each server has settings of its own."""
    keys = [{line.partition(" = ")[0] for line in text.splitlines()} for text in (one, other)]
    return ["\n".join(line for line in text.splitlines() if line.partition(" = ")[0] in keys[0] & keys[1]) for text in (one, other)]


def compare(walk, version, outputs, differences, options):
    expected = dict(read_blocks(walk.expected(version)))
    passed = failed = 0
    seen = set()
    settings = {command.text for command in walk.commands(version) if "settings" in command.how}
    for title, actual in outputs:
        wanted = expected.get(title, "(not captured)")
        if title in settings:
            wanted, actual = in_both(wanted, actual)
        lines = difference(wanted, actual)
        why, meant = differences.get((version, title), ("", [])) if options.against == "cometmq" else ("", [])
        if lines:
            seen.add((version, title))
        if options.accept:
            if lines:
                differences[(version, title)] = [why or NO_REASON, lines]
            continue
        good = lines == meant and why != NO_REASON
        passed, failed = passed + good, failed + (not good)
        shown = any(title.startswith(word) for word in options.only)
        if shown or not good and not options.only:
            print(f"{'same' if not lines else 'differs, as is meant' if good else 'FAIL'} {walk.tool} {version}: {title}")
            if lines != meant:
                print("".join(f"    {line}\n" for line in lines), end="")
                if meant:
                    print("  which was, as is meant:\n" + "".join(f"    {line}\n" for line in meant), end="")
            elif not good:
                print("  and differences.txt does not say why")
            sys.stdout.flush()
    if options.accept:
        for key in [key for key in differences if key[0] == version and key not in seen]:
            del differences[key]
    return passed, failed

