"""Stands between clients and a server and keeps one frame of each shape that the clients write.

The name server's answers name the broker; here they name the recorder instead, by a port of as many digits, so that
every frame keeps its length.
"""

import base64
import json
import socket
import struct
import threading

from servers import ServerError, free, read_exactly


class Recorder:
    def __init__(self, server):
        self.frames = {}
        self.lock = threading.Lock()
        ports = (port for port in range(server.broker_port + 100, server.broker_port + 2000) if free(port))
        self.namesrv_port, self.broker_port = next(ports), next(ports)
        self.renamed = (server.broker.encode(), f"127.0.0.1:{self.broker_port}".encode())
        if len(self.renamed[0]) != len(self.renamed[1]):
            raise ServerError("no free port with as many digits as the broker's")
        self.listen(self.namesrv_port, server.namesrv_port)
        self.listen(self.broker_port, server.broker_port)

    @property
    def namesrv(self):
        return f"127.0.0.1:{self.namesrv_port}"

    def listen(self, port, onward):
        listener = socket.create_server(("127.0.0.1", port))

        def accept():
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", onward))
                for come, go, keep in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self.pass_on, args=(come, go, keep), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()

    def pass_on(self, come, go, keep):
        try:
            while True:
                start = read_exactly(come, 8)
                total, word = struct.unpack(">II", start)
                rest = read_exactly(come, total - 4)
                if keep:
                    self.keep(word, rest)
                go.sendall(start + (rest if keep else rest.replace(*self.renamed)))
        except OSError:
            pass
        finally:
            for end in (come, go):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def keep(self, word, rest):
        header, body = rest[: word & 0xFFFFFF], rest[word & 0xFFFFFF:]
        text = header.decode()
        fields = json.loads(text)
        # Of one shape: same code, same fields with values of the same types, same length class of the body.
        ext = fields.get("extFields")
        shape = (
            fields["code"], fields.get("flag"), tuple(fields),
            tuple((key, type(value).__name__, value is None or value == "") for key, value in (ext or {}).items()),
            (ext or {}).get("batch"), bool(body),
        )
        if len(body) > 4096:
            return
        with self.lock:
            self.frames.setdefault(shape, {
                "code": fields["code"], "encoding": word >> 24, "header": text, "body": base64.b64encode(body).decode(),
            })

    def write(self, path):
        with self.lock:
            frames = sorted(self.frames.values(), key=lambda frame: (frame["code"], frame["header"]))
        with open(path, "w") as file:
            for frame in frames:
                file.write(json.dumps(frame, ensure_ascii=False) + "\n")
        return len(frames)
