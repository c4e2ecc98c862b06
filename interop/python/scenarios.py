"""What a program that uses Python `rocketmq` 0.4.4 relies on. One scenario a process; see `run`."""

import argparse
import collections
import ctypes
import glob
import os
import sys
import threading
import time
import traceback

from rocketmq.client import Message, Producer, PullConsumer, PushConsumer, RecvMessage, SendStatus, dll, ffi_check
from rocketmq.exceptions import RocketMQException
from rocketmq.ffi import MessageModel

CONSUME_SUCCESS, RECONSUME_LATER = 0, 1
SCENARIOS = {}


def scenario(function):
    SCENARIOS[function.__name__.replace("_", "-")] = function
    return function


def check(true, what):
    if not true:
        raise AssertionError(what)


def equal(got, expected, what):
    check(got == expected, f"{what}: got {got!r}, expected {expected!r}")


# ---------------------------------------------------------------- the client, in the words of the scenarios

Received = collections.namedtuple(
    "Received", "topic id body tags keys queue offset reconsume_times delay_level properties born stored at")


def read(message, properties):
    return Received(
        message.topic, message.id, message.body, message.tags, message.keys, message.queue_id, message.queue_offset,
        message.reconsume_times, message.delay_time_level,
        {name: message.get_property(name) for name in properties},
        message.born_timestamp, message.store_timestamp, time.time(),
    )


class Consumer:
    """A push consumer that keeps what it got. `answer(received)` says what the callback returns."""

    instances = 0

    def __init__(self, group, topic=None, tags="*", orderly=False, model=MessageModel.CLUSTERING, answer=None, properties=(), key=None):
        self.got = []
        self.change = threading.Condition()
        self.client = PushConsumer(group, orderly=orderly, message_model=model)
        self.client.set_namesrv_addr(args.namesrv)
        Consumer.instances += 1
        self.client.set_instance_name(f"{os.getpid()}-{Consumer.instances}")
        self.client.set_thread_count(4)
        if key:
            self.client.set_session_credentials(*key, "ALIYUN")

        # `subscribe` of the wrapper turns an exception into whatever ctypes leaves in the answer, so the callback
        # is registered below it: its answer is the one that the C++ core sees.
        def on_message(_, handle):
            received = read(RecvMessage(handle), properties)
            verdict = answer(received) if answer else CONSUME_SUCCESS
            with self.change:
                self.got.append(received)
                self.change.notify_all()
            return verdict

        ffi_check(dll.Subscribe(self.client._handle, (topic or args.topic).encode(), tags.encode()))
        self.client._register_callback(on_message)
        self.client.start()

    def wait(self, fact, what, seconds=40):
        with self.change:
            if not self.change.wait_for(lambda: fact(self.got), seconds):
                raise AssertionError(f"within {seconds} s not true: {what}; got {[r.body for r in self.got]}")
            return list(self.got)

    def wait_for_bodies(self, bodies, seconds=40):
        wanted = set(bodies)
        return self.wait(lambda got: wanted <= {r.body for r in got}, f"{len(wanted)} messages are consumed", seconds)

    def close(self):
        self.client.shutdown()


def start_producer(group=None, key=None, **options):
    producer = Producer(group or f"{args.topic}-producer", **options)
    producer.set_namesrv_addr(args.namesrv)
    if key:
        producer.set_session_credentials(*key, "ALIYUN")
    producer.start()
    return producer


def message(body, topic=None, tags=None, keys=None, delay_level=None, **properties):
    made = Message(topic or args.topic)
    made.set_body(body)
    if tags is not None:
        made.set_tags(tags)
    if keys is not None:
        made.set_keys(keys)
    if delay_level is not None:
        made.set_delay_time_level(delay_level)
    for name, value in properties.items():
        made.set_property(name, value)
    return made


def group(suffix="group"):
    return f"{args.topic}-{suffix}"


def wait_until_stored(count):
    """A group that finds a queue empty begins at its end as it is a moment later. So who wants to consume what was
    sent without an answer waits until it is stored: until another group could pull it."""
    consumer = PullConsumer(group("probe"))
    consumer.set_namesrv_addr(args.namesrv)
    consumer.start()
    deadline, stored = time.monotonic() + 30, 0
    while stored < count:
        check(time.monotonic() < deadline, f"{stored} of {count} messages are stored")
        stored += len(list(consumer.pull(args.topic)))
    consumer.shutdown()


def once_each(got, bodies):
    """Every body exactly once."""
    equal(sorted(r.body for r in got), sorted(bodies), "bodies")


# ---------------------------------------------------------------- scenarios


@scenario
def send_and_consume():
    """Body, tag, keys, properties and ids arrive as they were sent, also to a group that is younger than the messages."""
    producer = start_producer()
    bodies = ["plain", "消息队列：订单已支付", "emoji 🚀👩‍🚀🇨🇳", "x" * 1000, "tab\tand\nline"]
    sent = {}
    for number, body in enumerate(bodies):
        result = producer.send_sync(message(body, tags=f"tag-{number}", keys=f"订单-{number} key-{number}", 用户="张三🙂", empty=""))
        equal(result.status, SendStatus.OK, "status")
        sent[body.encode()] = (number, result)
    equal(len({result.msg_id for _, result in sent.values()}), len(bodies), "different ids")
    consumer = Consumer(group(), properties=("用户", "empty", "UNIQ_KEY"))
    got = consumer.wait_for_bodies(sent)
    once_each(got, list(sent))
    for received in got:
        number, result = sent[received.body]
        equal(received.topic, args.topic, "topic")
        equal(received.tags, f"tag-{number}".encode(), "tag")
        equal(received.keys, f"订单-{number} key-{number}".encode(), "keys")
        equal(received.properties["用户"], "张三🙂".encode(), "property")
        equal(received.id, result.msg_id, "id")
        equal(received.offset, result.offset, "queue offset")
        check(0 <= received.queue < 4, f"queue {received.queue}")
        equal(received.reconsume_times, 0, "reconsume times")
        check(abs(received.stored - received.born) < 10_000, f"born {received.born}, stored {received.stored}")
    consumer.close()
    producer.shutdown()


@scenario
def topic_made_by_first_send():
    topic = f"{args.topic}-new"
    producer = start_producer()
    bodies = [f"{n}".encode() for n in range(8)]
    for body in bodies:
        equal(producer.send_sync(message(body, topic=topic)).status, SendStatus.OK, "status")
    consumer = Consumer(group(), topic=topic)
    once_each(consumer.wait_for_bodies(bodies), bodies)
    consumer.close()
    producer.shutdown()


@scenario
def send_oneway():
    producer = start_producer()
    bodies = [f"oneway {n}".encode() for n in range(20)]
    for body in bodies:
        producer.send_oneway(message(body))
    wait_until_stored(len(bodies))
    consumer = Consumer(group())
    once_each(consumer.wait_for_bodies(bodies), bodies)
    consumer.close()
    producer.shutdown()


@scenario
def send_async():
    producer = start_producer()
    bodies = [f"async {n}".encode() for n in range(20)]
    results, failures, change = [], [], threading.Condition()

    def keep(into):
        def callback(value):
            with change:
                into.append(value)
                change.notify_all()
        return callback

    messages = [message(body) for body in bodies]  # the core keeps a pointer: they live until the answer
    for each in messages:
        producer.send_async(each, keep(results), keep(failures))
    with change:
        check(change.wait_for(lambda: len(results) + len(failures) == len(bodies), 20),
              f"{len(results)} answers and {len(failures)} failures for {len(bodies)} messages")
    equal(failures, [], "failures")
    equal({result.status for result in results}, {SendStatus.OK}, "statuses")
    consumer = Consumer(group())
    got = consumer.wait_for_bodies(bodies)
    once_each(got, bodies)
    equal({r.id for r in got}, {result.msg_id for result in results}, "ids")
    consumer.close()
    producer.shutdown()


@scenario
def delayed_message():
    """Level 2 is 5 s: not before, and soon after."""
    producer = start_producer()
    producer.send_sync(message("first"))
    consumer = Consumer(group())
    consumer.wait_for_bodies([b"first"])
    before = time.time()
    producer.send_sync(message("later", delay_level=2))
    producer.send_sync(message("now"))
    got = consumer.wait_for_bodies([b"later", b"now"])
    equal([r.body for r in got], [b"first", b"now", b"later"], "order")
    late = got[2].at - before
    check(5.0 <= late < 9.0, f"level 2 came after {late:.2f} s")
    equal(got[2].topic, args.topic, "topic")
    consumer.close()
    producer.shutdown()


def by_key(mq_size, _, argument):
    return ctypes.cast(argument, ctypes.POINTER(ctypes.c_int))[0] % mq_size


@scenario
def order_by_sharding_key():
    """Messages of one key lie in one queue and are consumed in the order of sending, one at a time."""
    producer = start_producer()
    sent = collections.defaultdict(list)
    for step in range(10):
        for key in range(4):
            body = f"{key}:{step}".encode()
            result = producer.send_orderly(message(body), key)
            equal(result.status, SendStatus.OK, "status")
            sent[key].append(body)
    order_is_kept(sent)
    producer.shutdown()


@scenario
def oneway_order_by_sharding_key():
    producer = start_producer()
    sent = collections.defaultdict(list)
    for step in range(10):
        for key in range(4):
            body = f"{key}:{step}".encode()
            producer.send_oneway_orderly(message(body), key)
            sent[key].append(body)
    wait_until_stored(40)
    # A broker may store requests without an answer in another order than they came: what it stored is the order.
    order_is_kept(sent, of_sending=False)
    producer.shutdown()


def order_is_kept(sent, of_sending=True):
    """An orderly consumer locks its queues at the broker before it consumes them."""
    bodies = [body for of_key in sent.values() for body in of_key]
    consumer = Consumer(group(), orderly=True)
    got = consumer.wait_for_bodies(bodies)
    once_each(got, bodies)
    for key, of_key in sent.items():
        mine = [r for r in got if r.body.startswith(f"{key}:".encode())]
        if of_sending:
            equal([r.body for r in mine], of_key, f"order of key {key}")
        equal([r.offset for r in mine], list(range(len(of_key))), f"queue offsets of key {key}")
        equal({r.queue for r in mine}, {key}, f"queue of key {key}")
    consumer.close()


@scenario
def batch():
    """The core sends a batch as code 10 with `batch` "1". Apache takes only "true" for a batch: it stores one message,
    whose body is the whole batch, and answers OK; who consumes it gets one message for three. CometMQ splits it."""
    producer = start_producer()
    bodies = [b"first", "第二".encode(), b"third"]
    result = producer.send_batch([message(body, tags=f"tag-{n}", keys=f"key-{n}") for n, body in enumerate(bodies)])
    equal(result.status, SendStatus.OK, "status")
    end = producer.send_sync(message("end"))
    consumer = Consumer(group())
    got = consumer.wait_for_bodies([b"end"])
    if args.against == "apache":
        equal(end.offset, 1, "queue offset of what was sent next")
        equal(len(got), 2, "messages")
    else:
        equal(end.offset, 3, "queue offset of what was sent next")
        once_each(got, [*bodies, b"end"])
        for n, body in enumerate(bodies):
            received = next(r for r in got if r.body == body)
            equal((received.tags, received.keys, received.offset), (f"tag-{n}".encode(), f"key-{n}".encode(), n), f"message {n}")
    consumer.close()
    producer.shutdown()


@scenario
def filter_by_tag():
    producer = start_producer()
    for n in range(30):
        producer.send_sync(message(f"{'ABC'[n % 3]}{n}", tags="ABC"[n % 3]))
    producer.send_sync(message("no tag"))
    producer.send_sync(message("last", tags="B"))
    wanted = [f"{'ABC'[n % 3]}{n}".encode() for n in range(30) if n % 3 != 2] + [b"last"]
    consumer = Consumer(group(), tags="A || B")
    once_each(consumer.wait_for_bodies(wanted), wanted)
    consumer.close()
    producer.shutdown()


@scenario
def compressed_body():
    """Bodies over 4 KiB go out compressed with sysFlag 1; the client's own limit is 128 KiB before that."""
    producer = start_producer(compress_level=5)
    body = ("压缩 compressed 🗜 " * 5_000).encode()
    equal(producer.send_sync(message(body)).status, SendStatus.OK, "status")
    consumer = Consumer(group())
    got = consumer.wait(lambda got: len(got) == 1, "the message is consumed")
    check(got[0].body == body, f"body of {len(got[0].body)} bytes, expected {len(body)}")
    consumer.close()
    producer.shutdown()


@scenario
def broadcast():
    """Each of two members gets everything."""
    producer = start_producer()
    members = [Consumer(group(), model=MessageModel.BROADCASTING) for _ in range(2)]
    # Such a member begins at the end, once it knows its queues: rounds until both have heard one whole.
    deadline, number = time.monotonic() + 60, 0
    while True:
        check(time.monotonic() < deadline, "no round reached both members")
        bodies = {f"{number}-{queue}".encode() for queue in range(4)}
        for queue, body in enumerate(sorted(bodies)):
            producer.send_orderly(message(body), queue)
        number += 1
        try:
            for member in members:
                member.wait_for_bodies(bodies, 3)
            break
        except AssertionError:
            pass
    for member in members:
        equal(len({r.offset * 4 + r.queue for r in member.got}), len(member.got), "each once")
        member.close()
    producer.shutdown()


@scenario
def two_members_share_a_group():
    """Two members get two queues of four each; when one leaves, the other gets all; nothing is lost."""
    producer = start_producer()
    everything = set()
    number = 0

    def round_of(members, shares):
        """Sends one message to each queue until the members get `shares` of a round."""
        nonlocal number
        deadline = time.monotonic() + 60
        while True:
            bodies = [f"{number}-{queue}".encode() for queue in range(4)]
            number += 1
            for queue, body in enumerate(bodies):
                producer.send_orderly(message(body), queue)
            everything.update(bodies)
            arrived = lambda: sorted(sum(r.body in bodies for r in member.got) for member in members)
            while sum(arrived()) < 4 and time.monotonic() < deadline:
                members[0].change.acquire()
                members[0].change.wait(0.05)
                members[0].change.release()
            if arrived() == shares:
                return
            check(time.monotonic() < deadline, f"shares are {arrived()}, expected {shares}")

    for queue in range(4):
        producer.send_orderly(message(f"before-{queue}"), queue)
        everything.add(f"before-{queue}".encode())
    first = Consumer(group())
    first.wait_for_bodies(everything)
    round_of([first], [4])
    second = Consumer(group())
    round_of([first, second], [2, 2])
    second.close()
    round_of([first], [4])
    equal({r.body for r in first.got} | {r.body for r in second.got}, everything, "everything")
    first.close()
    producer.shutdown()


@scenario
def consumer_restarts():
    """The offset is kept in the broker: who comes next gets only what is new."""
    producer = start_producer()
    old = [f"old {n}".encode() for n in range(12)]
    for body in old:
        producer.send_sync(message(body))
    consumer = Consumer(group())
    once_each(consumer.wait_for_bodies(old), old)
    consumer.close()
    new = [f"new {n}".encode() for n in range(12)]
    for body in new:
        producer.send_sync(message(body))
    consumer = Consumer(group())
    once_each(consumer.wait_for_bodies(new), new)
    consumer.close()
    producer.shutdown()


@scenario
def consume_again_after_failure():
    """RECONSUME_LATER: the message comes again after 10 s, with its count and with the topic and id it had."""
    producer = start_producer()
    result = producer.send_sync(message("try", tags="T", keys="K", colour="红"))
    consumer = Consumer(
        group(), properties=("colour", "RETRY_TOPIC", "ORIGIN_MESSAGE_ID"),
        answer=lambda received: RECONSUME_LATER if received.reconsume_times == 0 else CONSUME_SUCCESS,
    )
    first, second = consumer.wait(lambda got: len(got) == 2, "the message came twice", 60)
    equal((first.reconsume_times, second.reconsume_times), (0, 1), "reconsume times")
    equal(first.id, result.msg_id, "id of the first delivery")
    equal(second.topic, args.topic, "topic of the second delivery")
    equal((second.body, second.tags, second.keys), (b"try", b"T", b"K"), "second delivery")
    equal(second.properties["colour"], "红".encode(), "property of the second delivery")
    equal(second.properties["RETRY_TOPIC"], args.topic.encode(), "RETRY_TOPIC")
    check(second.properties["ORIGIN_MESSAGE_ID"], "ORIGIN_MESSAGE_ID is there")
    check(9.0 < second.at - first.at < 20, f"again after {second.at - first.at:.1f} s")
    consumer.close()
    producer.shutdown()


@scenario
def pull():
    producer = start_producer()
    bodies = [f"拉取 {n}".encode() for n in range(40)]
    ids = {body: producer.send_sync(message(body, tags="AB"[n % 2])).msg_id for n, body in enumerate(bodies)}
    consumer = PullConsumer(group())
    consumer.set_namesrv_addr(args.namesrv)
    consumer.start()

    def pulled(count):
        """A pull right after the send may be too early for it: Apache fills its queues a moment later."""
        got, deadline = [], time.monotonic() + 20
        while len(got) < count:
            check(time.monotonic() < deadline, f"pulled only {got}")
            got += [(m.body, m.tags, m.id) for m in consumer.pull(args.topic)]
        return got

    got = pulled(len(bodies))
    equal(sorted(got), sorted((body, b"AB"[n % 2:][:1], ids[body]) for n, body in enumerate(bodies)), "pulled")
    equal([m.body for m in consumer.pull(args.topic)], [], "pulled again")
    producer.send_sync(message("more"))
    equal([body for body, _, _ in pulled(1)], [b"more"], "pulled what is new")
    consumer.shutdown()
    producer.shutdown()


def refused(producer, message, code, words, seconds):
    """The send ends in an exception in time. The core tries three times and then says "No route info" whatever the
    broker said; the broker's code and sentence stand in the core's log."""
    begun = time.monotonic()
    try:
        result = producer.send_sync(message)
    except RocketMQException as error:
        took = time.monotonic() - begun
        check(took < seconds, f"refused only after {took:.1f} s: {error}")
    else:
        raise AssertionError(f"accepted: {result}")
    deadline, answers = time.monotonic() + 10, []
    while not any(words in line and line.rstrip().split("error code:")[-1].startswith(f"{code}[") for line in answers):
        check(time.monotonic() < deadline, f"no answer with code {code} and {words!r} in {answers}")
        answers = [
            line for log in glob.glob(os.path.expanduser("~/logs/rocketmq-cpp/*.log*"))
            for line in open(log, errors="replace") if "processSendResponse error" in line
        ]
        time.sleep(0.02)


@scenario
def refused_topic():
    """Topics that nobody may send to, or of a name too long: an answer, not silence; the connection goes on."""
    producer = start_producer(timeout=3000)
    refused(producer, message("no", topic="SCHEDULE_TOPIC_XXXX"), 16, "SCHEDULE_TOPIC_XXXX", 2)
    refused(producer, message("no", topic="t" * 128), 29, "127", 2)
    equal(producer.send_sync(message("yes")).status, SendStatus.OK, "the next one")
    producer.shutdown()


@scenario
def refused_size():
    """A message over the broker's 4 MiB, from a client that allows itself more."""
    producer = start_producer(timeout=3000, max_message_size=16 << 20, compress_level=0)
    noise = os.urandom(3 << 20).hex().encode()
    refused(producer, message(noise), 13, "4194304", 5)
    equal(producer.send_sync(message("yes")).status, SendStatus.OK, "the next one")
    producer.shutdown()


# ---------------------------------------------------------------- on a server with access control


@scenario
def access_right_key():
    """Who signs with a key that may, sends and consumes."""
    key = ("alice", "secretOfAlice")
    producer = start_producer(key=key)
    consumer = Consumer(f"{args.topic}-group", key=key)
    equal(producer.send_sync(message("signed")).status, SendStatus.OK, "a signed message")
    consumer.wait_for_bodies([b"signed"])
    consumer.close()
    producer.shutdown()


def nothing_is_sent(key):
    producer = start_producer(key=key, timeout=3000)
    try:
        sent = producer.send_sync(message("not signed as it should be"))
        raise AssertionError(f"it was sent: {sent.status}")
    except RocketMQException as refused:
        print(f"refused: {refused}", file=sys.stderr)


@scenario
def access_wrong_key():
    """Who signs with another secret, or as nobody whom the server knows, sends nothing."""
    nothing_is_sent(("alice", "another secret"))


@scenario
def access_unknown_key():
    """The same, with a name that nobody has."""
    nothing_is_sent(("eve", "secretOfAlice"))


@scenario
def access_no_key():
    """Without a key this client sends an empty name along: that is nobody."""
    nothing_is_sent(None)


# ---------------------------------------------------------------- one scenario, one verdict

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--against", required=True)
    parser.add_argument("--namesrv", required=True)
    parser.add_argument("--broker", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("scenario", choices=SCENARIOS)
    args = parser.parse_args()
    try:
        SCENARIOS[args.scenario]()
        print(f"PASS {args.scenario}")
    except AssertionError as reason:
        print(f"FAIL {args.scenario}: {reason}")
    except Exception as error:
        traceback.print_exc()
        print(f"FAIL {args.scenario}: {type(error).__name__}: {error}")
    # The core's threads are still there; its destructors are not what is judged.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
