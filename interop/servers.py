"""The servers that scenarios run against: Apache's name server and broker, or CometMQ.

Both kinds are driven alike:

    server = Apache("5.5.0", directory)          # or CometMQ(binary, directory)
    server.start({"autoCreateTopicEnable": "false"})
    server.stop()        # SIGTERM, waits for the end
    server.kill()        # kill -9

The store lies in `directory/store` and is kept from one start to the next, so are the ports; a start with
settings of its own has a store of its own.
"Started" is a fact read from outside: the ports accept and the name server lists the broker.
"""

import base64
import hmac
import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
import zlib
from pathlib import Path

HERE = Path(__file__).resolve().parent
JAVA = HERE / "java"
TARGET = JAVA / "target"

ADD_OPENS = [
    f"--add-opens=java.base/{package}=ALL-UNNAMED"
    for package in ("java.nio", "sun.nio.ch", "java.lang", "java.util")
] + [
    # 4.9.7 unmaps its files with it; without it a stop breaks off and leaves `abort` behind
    "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED"
]

GET_BROKER_CLUSTER_INFO = 106


# How `ask` encrypts in a run with --tls; None: not at all.
tls_context = None


class ServerError(Exception):
    pass


AUTH = "org.apache.rocketmq.auth."


def user(name, secret, names=("accessKey", "secretKey")):
    """A user as settings have one."""
    return json.dumps(dict(zip(names, (name, secret))), separators=(",", ":"))


def with_users(name, secret):
    """Settings of a server with access control, where this user may do everything."""
    return {
        "authenticationEnabled": "true",
        "authenticationProvider": AUTH + "authentication.provider.DefaultAuthenticationProvider",
        "authenticationMetadataProvider": AUTH + "authentication.provider.LocalAuthenticationMetadataProvider",
        "authorizationEnabled": "true",
        "authorizationProvider": AUTH + "authorization.provider.DefaultAuthorizationProvider",
        "authorizationMetadataProvider": AUTH + "authorization.provider.LocalAuthorizationMetadataProvider",
        "initAuthenticationUser": user(name, secret, ("username", "password")),
        "innerClientAuthenticationCredentials": user("inner", "secretOfInner"),
    }


class Tls:
    """A run with --tls: servers take TLS only. `test`: they show what they make up, clients take anyone, as both do when nobody
    tells them anything else. `mutual`: both show certificates of one CA, and check them."""

    def __init__(self, kind, directory, binary):
        global tls_context
        self.kind = kind
        self.file = Path(directory) / "tls" / "tls.properties"
        done = subprocess.run(
            [binary, "tls", "init", self.file.parent, "--host", "127.0.0.1", "--host", "localhost"], capture_output=True, text=True,
        )
        if done.returncode != 0:
            raise ServerError(f"tls init: {done.stderr}")
        tls_context = ssl.create_default_context()
        tls_context.check_hostname = False
        tls_context.verify_mode = ssl.CERT_NONE
        if kind == "test":
            # Apache's brokers take any name server unless told to check it; ours want to be told that they need not.
            self.file.write_text("tls.client.authServer=false\n")
        if kind == "mutual":
            text = self.file.read_text().replace("need.client.auth=none", "need.client.auth=require")
            self.file.write_text(text)
            tls_context.load_cert_chain(self.file.parent / "client.pem", self.file.parent / "client-key.pem")

    def settings(self):
        """What stands in a broker.conf of CometMQ's."""
        return {"tls.server.mode": "enforcing", "tls.config.file": str(self.file), "tls.enable": "true"}

    def client(self):
        """Flags of a JVM with a client in it."""
        return ["-Dtls.enable=true", *([f"-Dtls.config.file={self.file}"] if self.kind == "mutual" else [])]

    def server(self):
        """Flags of a JVM with one of Apache's servers in it; a broker is a client of its name server."""
        return [*self.client(), "-Dtls.server.mode=enforcing"]


# ---------------------------------------------------------------- jars and ports


def maven(pom, *goals):
    command = ["mvn", "-q", "-B", "-f", str(pom), *goals]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise ServerError(f"{' '.join(command)} failed:\n{done.stdout}")


def copy_jars(pom, version_property, version, into):
    """The runtime classpath of one version, copied once."""
    if (into / ".complete").exists():
        return into
    maven(
        pom,
        "dependency:copy-dependencies",
        f"-D{version_property}={version}",
        "-DincludeScope=runtime",
        f"-DoutputDirectory={into}",
    )
    (into / ".complete").touch()
    return into


def apache_jars(version):
    return copy_jars(JAVA / "apache" / "pom.xml", "rocketmq.server", version, TARGET / f"apache-{version}")


def client_jars(version):
    if version.startswith("admin-"):
        return copy_jars(JAVA / "admin" / "pom.xml", "rocketmq.tools", version.removeprefix("admin-"), TARGET / version)
    return copy_jars(JAVA / "pom.xml", "rocketmq.client", version, TARGET / f"lib-{version}")


def compile_programs():
    sources = max(path.stat().st_mtime for path in JAVA.glob("src/**/*.java"))
    stamp = TARGET / ".compiled"
    if not stamp.exists() or stamp.stat().st_mtime < sources:
        maven(JAVA / "pom.xml", "compile")
        stamp.touch()
    return TARGET / "classes"


def program(client_version, main, *args, heap="256m", home=None, flags=()):
    """The command line of one interop program with the classpath of one client version."""
    return [
        "java",
        f"-Xmx{heap}",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Dfile.encoding=UTF-8",
        *ADD_OPENS,  # the Netty of client 4.4.0 does not start on JDK 17 without
        # ids of messages and offset files of broadcasting consumers stay on this machine and in this run
        *([f"-Duser.home={home}", f"-Drocketmq.client.localOffsetStoreDir={home}/offsets"] if home else []),
        "-Drocketmq.client.logLevel=WARN",
        *flags,
        "-cp",
        f"{compile_programs()}:{client_jars(client_version)}/*",
        main,
        *args,
    ]


def execute(command):
    """Runs an interop program to its end."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise ServerError(f"{' '.join(command[-5:])} ended with {done.returncode}:\n{done.stdout[-3000:]}")


def accepts(port):
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
            return True
        except OSError:
            return False


# Ports of a server that is down for a moment are its own still: none is chosen twice.
bases = iter(range(20000 + os.getpid() % 500 * 20, 50000, 20))
choosing = threading.Lock()


def choose_ports():
    """A name server port, and a broker port whose neighbours −2 (VIP channel) and +1 (replication) are free too."""
    with choosing:
        for base in bases:
            if all(free(base + step) for step in (0, 8, 10, 11)):
                return base, base + 10
    raise ServerError("no free ports between 20000 and 50000")


def ask(port, code, fields=None, body=b"", timeout=3.0, sign=None):
    """One remoting request, JSON header, signed as (name, secret) if given. Returns (code, remark, body)."""
    if sign:
        fields = {**(fields or {}), "AccessKey": sign[0]}
        content = "".join(fields[key] for key in sorted(fields)).encode() + body
        fields["Signature"] = base64.b64encode(hmac.new(sign[1].encode(), content, "sha1").digest()).decode()
    header = {
        "code": code, "flag": 0, "language": "JAVA", "opaque": 1, "version": 401,
        "serializeTypeCurrentRPC": "JSON", "extFields": fields or {},
    }
    head = json.dumps(header).encode()
    with connect(port, timeout) as connection:
        connection.sendall(struct.pack(">II", 4 + len(head) + len(body), len(head)) + head + body)
        total, head_length = struct.unpack(">II", read_exactly(connection, 8))
        rest = read_exactly(connection, total - 4)
    answer = json.loads(rest[: head_length & 0xFFFFFF])
    return answer["code"], answer.get("remark"), rest[head_length & 0xFFFFFF:]


def connect(port, timeout):
    connection = socket.create_connection(("127.0.0.1", port), timeout=timeout)
    return tls_context.wrap_socket(connection) if tls_context else connection


def read_exactly(connection, size):
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise OSError("connection closed")
        data += more
    return data


# ---------------------------------------------------------------- servers


class Server:
    """What Apache and CometMQ have in common: ports, a directory, a broker.conf and processes."""

    cluster = "DefaultCluster"
    broker_name = "broker-a"
    start_seconds = 60

    def __init__(self, directory, settings=None, tls=None):
        self.tls = tls
        self.directory = Path(directory).resolve()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.store = self.directory / "store"
        self.namesrv_port, self.broker_port = choose_ports()
        self.settings = dict(settings or {})
        self.processes = {}
        self.starts = 0
        self.signs_as = None

    @property
    def namesrv(self):
        return f"127.0.0.1:{self.namesrv_port}"

    @property
    def broker(self):
        return f"127.0.0.1:{self.broker_port}"

    def store_of(self, extra):
        """Other settings get another store: what one setting has made, like the topic TBW102, stays in it."""
        return self.directory / f"store-{zlib.crc32(repr(sorted(extra.items())).encode()):08x}" if extra else self.store

    def write_conf(self, extra, **identity):
        if not identity:
            self.extra = extra
            self.signs_as = self.guard(extra or {})
        conf = {
            "brokerClusterName": self.cluster,
            "brokerName": self.broker_name,
            "brokerId": "0",
            "brokerIP1": "127.0.0.1",
            "listenPort": str(self.broker_port),
            "namesrvAddr": self.namesrv,
            "storePathRootDir": str(self.store_of(extra)),
            "storePathCommitLog": str(self.store_of(extra) / "commitlog"),
            **self.settings,
            **(extra or {}),
            **identity,
        }
        path = self.directory / f"{conf['brokerName']}.conf"
        path.write_text("".join(f"{key}={value}\n" for key, value in conf.items()))
        return path

    def guard(self, extra):
        """As whom to ask; the accounts of plain_acl.yml stand where Apache looks for them, and where CometMQ does."""
        if "initAuthenticationUser" in extra:
            user = json.loads(extra["initAuthenticationUser"])
            return user["username"], user["password"]
        if extra.get("aclEnable") == "true":
            (self.directory / "conf").mkdir(exist_ok=True)
            for place in (self.directory, self.directory / "conf"):
                (place / "plain_acl.yml").write_text((JAVA / "plain_acl.yml").read_text())
            return "adminAAA", "secretOfAdmin"
        return None

    def spawn(self, name, command, **env):
        self.starts += 1
        log = open(self.directory / f"{name}-{self.starts}.log", "wb")
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            cwd=self.directory, env={**os.environ, **env}, start_new_session=True,
        )
        process.log = log.name
        self.processes[name] = process

    def wait_until(self, fact, what):
        deadline = time.monotonic() + self.start_seconds
        while time.monotonic() < deadline:
            for name, process in self.processes.items():
                if process.poll() is not None:
                    tail = Path(process.log).read_text(errors="replace")[-2000:]
                    raise ServerError(f"{name} ended with {process.returncode} before {what}; its output:\n{tail}")
            try:
                if fact():
                    return
            except (OSError, ValueError):
                pass
            time.sleep(0.05)
        raise ServerError(f"after {self.start_seconds} s still not true: {what}")

    def broker_is_listed(self, port=None):
        port = port or self.broker_port
        if not (accepts(port) and accepts(port - 2)):
            return False
        code, _, body = ask(self.namesrv_port, GET_BROKER_CLUSTER_INFO, sign=self.signs_as)
        return code == 0 and f"127.0.0.1:{port}".encode() in body

    def start_other(self):
        """A second broker, with a new store and the same name server."""
        _, port = choose_ports()
        store = self.directory / f"store-other-{self.starts}"
        conf = self.write_conf(
            None, brokerName="broker-b", listenPort=str(port), storePathRootDir=str(store), storePathCommitLog=str(store / "commitlog"),
        )
        self.spawn_broker("other", conf)
        self.wait_until(lambda: self.broker_is_listed(port), "the name server lists the second broker")

    def end(self, name, how):
        process = self.processes.pop(name, None)
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise ServerError(f"{name} did not end within 60 s of {how.name}")

    def resident_mib(self):
        pages = 0
        for process in self.processes.values():
            pages += int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") >> 20


class Apache(Server):
    """Apache's name server and broker out of Maven's jars, each in a JVM of its own."""

    name = "apache"

    def __init__(self, version, directory, settings=None, heap="1g", tls=None):
        self.heap = heap
        # on a busy machine Apache refuses sends that waited 200 ms; that is not what is looked at here.
        # SQL92 filters are on with CometMQ unless its operator says otherwise.
        settings = {"waitTimeMillsInSendQueue": "10000", "enablePropertyFilter": "true", **(settings or {})}
        super().__init__(directory, settings, tls)
        self.version = version
        self.lib = apache_jars(version)
        self.conf = self.directory / "conf"
        self.conf.mkdir(exist_ok=True)
        # 4.x reads its logging from ROCKETMQ_HOME/conf, 5.x has it in the jars; both log below user.home.
        for part in ("broker", "namesrv"):
            (self.conf / f"logback_{part}.xml").write_text(
                "<configuration><appender name='F' class='ch.qos.logback.core.FileAppender'>"
                f"<file>{self.directory}/logs/{part}.log</file>"
                "<encoder><pattern>%d %p %t - %m%n</pattern></encoder></appender>"
                "<root level='INFO'><appender-ref ref='F'/></root></configuration>"
            )

    def java(self, heap, part, main, conf):
        return [
            "java", "-server", f"-Xms{heap}", f"-Xmx{heap}", "-XX:+UseG1GC", "-XX:MaxDirectMemorySize=1g",
            *ADD_OPENS,
            f"-Duser.home={self.directory}",
            f"-Drocketmq.home.dir={self.directory}",
            f"-Drmq.logback.configurationFile=rmq.{part}.logback.xml",
            *(self.tls.server() if self.tls else []),
            "-cp", f"{self.conf}:{self.lib}/*", main, "-c", str(conf),
        ]

    def start(self, extra=None):
        home = {"ROCKETMQ_HOME": str(self.directory)}
        if "namesrv" not in self.processes:
            conf = self.directory / "namesrv.conf"
            conf.write_text(f"listenPort={self.namesrv_port}\n")
            self.spawn("namesrv", self.java("256m", "namesrv", "org.apache.rocketmq.namesrv.NamesrvStartup", conf), **home)
            self.wait_until(lambda: accepts(self.namesrv_port), "the name server accepts")
        self.spawn_broker("broker", self.write_conf(extra))
        self.wait_until(self.broker_is_listed, "the name server lists the broker")

    def spawn_broker(self, name, conf):
        heap = self.heap if name == "broker" else "512m"
        self.spawn(name, self.java(heap, "broker", "org.apache.rocketmq.broker.BrokerStartup", conf), ROCKETMQ_HOME=str(self.directory))

    def stop(self):
        self.end("broker", signal.SIGTERM)

    def kill(self):
        self.end("broker", signal.SIGKILL)

    def close(self):
        self.end("other", signal.SIGTERM)
        self.end("broker", signal.SIGTERM)
        self.end("namesrv", signal.SIGTERM)


class CometMQ(Server):
    """`cometmq dev`: name server and broker in one process."""

    name = "cometmq"
    start_seconds = 20

    def __init__(self, binary, directory, settings=None, tls=None):
        super().__init__(directory, {**(settings or {}), **(tls.settings() if tls else {})}, tls)
        self.binary = Path(binary).resolve()
        if not self.binary.exists():
            raise ServerError(f"no binary at {self.binary}: build it with `cargo build --release`, or give --binary")
        self.version = subprocess.run([self.binary, "--version"], capture_output=True, text=True).stdout.strip().split(" ")[-1]

    def start(self, extra=None):
        conf = self.write_conf(extra)
        self.spawn("cometmq", [
            str(self.binary), "dev", "--data", str(self.store_of(extra)),
            "--namesrv-port", str(self.namesrv_port), "--broker-port", str(self.broker_port), "-c", str(conf),
        ])
        self.wait_until(self.broker_is_listed, "the name server lists the broker")

    def spawn_broker(self, name, conf):
        self.spawn(name, [str(self.binary), "broker", "-c", str(conf), "-n", self.namesrv])

    def stop(self):
        self.end("cometmq", signal.SIGTERM)

    def kill(self):
        self.end("cometmq", signal.SIGKILL)

    def close(self):
        self.end("other", signal.SIGTERM)
        self.stop()
