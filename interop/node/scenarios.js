'use strict';

// What a program that uses Node `ali-ons` 3.12.0 relies on. One scenario a process; see `run`.

const assert = require('assert');
const crypto = require('crypto');
const { parseArgs } = require('util');
const { Consumer, Message, Producer } = require('ali-ons');

const { values: args, positionals: [ name ] } = parseArgs({
  allowPositionals: true,
  options: Object.fromEntries([ 'against', 'namesrv', 'broker', 'topic' ].map(option => [ option, { type: 'string' }])),
});
const topic = args.topic;
const group = `${topic}-group`;

// ---------------------------------------------------------------- the client, in the words of the scenarios


let instances = 0;

function options(more) {
  return {
    nameSrv: args.namesrv,
    httpclient: {}, // demanded, but only asked for a name server's address when nameSrv is absent
    clientIP: '127.0.0.1',
    instanceName: `${process.pid}-${++instances}`,
    // The client does not listen to what the broker tells it about its group; it asks every 10 and 30 s.
    rebalanceInterval: 500,
    pollNameServerInteval: 500,
    persistConsumerOffsetInterval: 500,
    ...more,
  };
}

async function startProducer(more) {
  const producer = new Producer(options({ producerGroup: `${topic}-producer`, ...more }));
  producer.on('error', error => console.error('producer:', error));
  await producer.ready();
  return producer;
}

// A push consumer that keeps what it got. `answer(received)` says what the handler returns.
class Listener {
  constructor({ from = topic, tags = '*', answer = () => undefined, ...more } = {}) {
    this.got = [];
    this.client = new Consumer(options({ consumerGroup: group, ...more }));
    this.errors = [];
    this.client.on('error', error => {
      console.error('consumer:', error);
      this.errors.push(error);
    });
    this.client.subscribe(from, tags, async message => {
      const received = { ...message, body: message.body, properties: { ...message.properties }, at: Date.now() };
      this.got.push(received);
      return answer(received);
    });
  }

  async wait(fact, what, seconds = 40) {
    await until(() => fact(this.got), seconds, () => {
      throw new assert.AssertionError({
        message: `within ${seconds} s not true: ${what}; got ${JSON.stringify(this.got.map(text).map(shorten))}`,
      });
    });
    return this.got.slice();
  }

  waitForBodies(bodies, seconds) {
    return this.wait(got => {
      const there = new Set(got.map(text));
      return bodies.every(body => there.has(body));
    }, `${bodies.length} messages are consumed`, seconds);
  }

  close() {
    return this.client.close();
  }
}

async function until(fact, seconds, otherwise) {
  const deadline = Date.now() + seconds * 1000;
  while (!await fact()) {
    if (Date.now() > deadline) return otherwise();
    await new Promise(resolve => setTimeout(resolve, 20));
  }
}

// On servers with access control.
const KEYS = {
  'access-right-key': { accessKey: 'alice', secretKey: 'secretOfAlice' },
  'access-wrong-key': { accessKey: 'alice', secretKey: 'another secret' },
  'access-unknown-key': { accessKey: 'eve', secretKey: 'secretOfAlice' },
};

async function nothingIsSent() {
  const producer = await startProducer(KEYS[name]);
  const error = await refused(send(producer, { body: 'not signed as it should be' }), 20);
  console.error('refused:', error.message);
}

const text = received => received.body.toString();
const shorten = body => body.slice(0, 40);
const onceEach = (got, bodies) => assert.deepStrictEqual(got.map(text).sort(), bodies.slice().sort(), 'each body once');

function message({ to = topic, tags = 'T', keys, body, ...more }) {
  const made = new Message(to, tags, body);
  if (keys) made.keys = keys;
  return Object.assign(made, more);
}

async function send(producer, what) {
  const result = await producer.send(message(what));
  assert.strictEqual(result.sendStatus, 'SEND_OK');
  return result;
}

async function createTopic(producer, topicName, queues) {
  await producer._mqClient.createTopic(args.broker, 'TBW102', {
    topicName, readQueueNums: queues, writeQueueNums: queues, perm: 6, topicFilterType: 'SINGLE_TAG', topicSysFlag: 0, order: false,
  }, 3000);
  await until(
    () => producer._mqClient.getTopicRouteInfoFromNameServer(topicName, 3000).catch(() => false),
    20, () => assert.fail(`the name server does not know ${topicName}`)
  );
}

async function refused(sending, seconds) {
  const begun = Date.now();
  let result;
  try {
    result = await sending;
  } catch (error) {
    assert(Date.now() - begun < seconds * 1000, `refused only after ${Date.now() - begun} ms: ${error.message}`);
    return error;
  }
  throw new assert.AssertionError({ message: `accepted: ${JSON.stringify(result)}` });
}

// A send that does not ask the name server first.
function sendTo(producer, to) {
  return producer.sendKernelImpl(message({ to, body: 'no' }), { topic: to, brokerName: 'broker-a', queueId: 0 });
}

// ---------------------------------------------------------------- scenarios

const scenarios = {
  // Body, tag, keys, properties and ids arrive as they were sent, also to a group that is younger than the messages.
  async 'send-and-consume'() {
    const producer = await startProducer();
    const bodies = [ 'plain', '消息队列：订单已支付', 'emoji 🚀👩‍🚀🇨🇳', crypto.randomBytes(3000), Buffer.from([ 0, 255, 1, 2, 10 ]) ];
    const sent = new Map();
    for (const [ number, body ] of bodies.entries()) {
      const one = message({ body, tags: `tag-${number}`, keys: [ `订单-${number}`, `key-${number}` ] });
      one.properties['用户'] = '张三🙂';
      const result = await producer.send(one);
      assert.strictEqual(result.sendStatus, 'SEND_OK');
      sent.set(Buffer.from(body).toString('hex'), { number, result });
    }
    const consumer = new Listener();
    const got = await consumer.wait(all => all.length >= bodies.length, 'all are consumed');
    assert.strictEqual(got.length, bodies.length);
    for (const received of got) {
      const { number, result } = sent.get(received.body.toString('hex'));
      sent.delete(received.body.toString('hex'));
      assert.strictEqual(received.topic, topic);
      assert.strictEqual(received.properties.TAGS, `tag-${number}`);
      assert.strictEqual(received.properties.KEYS, `订单-${number} key-${number}`);
      assert.strictEqual(received.properties['用户'], '张三🙂');
      assert.strictEqual(received.msgId, result.msgId, 'id');
      assert.strictEqual(received.queueOffset, result.queueOffset, 'queue offset');
      assert.strictEqual(received.queueId, Number(result.messageQueue.queueId), 'queue');
      assert.strictEqual(received.storeHost, args.broker, 'store host');
      assert.strictEqual(received.reconsumeTimes, 0);
    }
    assert.strictEqual(sent.size, 0);
    await consumer.close();
  },

  // This client makes no topics by sending: the name server's answer ends the send. It can ask for one.
  async 'unknown-topic'() {
    const to = `${topic}-new`;
    const producer = await startProducer();
    const { code, message: words } = await refused(send(producer, { to, body: 'no' }), 5);
    assert.strictEqual(code, 17, words);
    assert(words.includes(to), words);
    await createTopic(producer, to, 2);
    const bodies = Array.from({ length: 8 }, (_, n) => `${n}`);
    for (const body of bodies) await send(producer, { to, body });
    const consumer = new Listener({ from: to });
    const got = await consumer.waitForBodies(bodies);
    onceEach(got, bodies);
    assert.deepStrictEqual(new Set(got.map(received => received.queueId)), new Set([ 0, 1 ]), 'queues');
    await consumer.close();
  },

  async 'many-sends-at-once'() {
    const producer = await startProducer();
    const bodies = Array.from({ length: 200 }, (_, n) => `at once ${n}`);
    const results = await Promise.all(bodies.map(body => send(producer, { body })));
    assert.strictEqual(new Set(results.map(result => result.msgId)).size, bodies.length, 'different ids');
    const consumer = new Listener();
    const got = await consumer.waitForBodies(bodies);
    onceEach(got, bodies);
    assert.deepStrictEqual(got.map(one => one.msgId).sort(), results.map(one => one.msgId).sort());
    await consumer.close();
  },

  // Level 2 is 5 s: not before, and soon after.
  async 'delayed-message'() {
    const producer = await startProducer();
    await send(producer, { body: 'first' });
    const consumer = new Listener();
    await consumer.waitForBodies([ 'first' ]);
    const before = Date.now();
    await send(producer, { body: 'later', delayTimeLevel: 2 });
    await send(producer, { body: 'now' });
    const got = await consumer.waitForBodies([ 'now', 'later' ]);
    assert.deepStrictEqual(got.map(text), [ 'first', 'now', 'later' ]);
    const late = got[2].at - before;
    assert(late >= 5000 && late < 9000, `level 2 came after ${late} ms`);
    assert.strictEqual(got[2].topic, topic);
    await consumer.close();
  },

  // Messages of one key lie in one queue and are consumed in the order of sending.
  async 'order-by-sharding-key'() {
    const producer = await startProducer();
    // The client takes queue 0 for "no queue", so it spreads the keys that belong there: not these.
    const keys = Array.from({ length: 20 }, (_, n) => `用户-${n}`)
      .filter(key => crypto.createHash('md5').update(key).digest().readUInt32BE() % 4 !== 0).slice(0, 6);
    const sent = Object.fromEntries(keys.map(key => [ key, []]));
    for (let step = 0; step < 10; step++) {
      for (const key of keys) {
        await send(producer, { body: `${key}:${step}`, shardingKey: key });
        sent[key].push(`${key}:${step}`);
      }
    }
    const bodies = Object.values(sent).flat();
    const consumer = new Listener();
    const got = await consumer.waitForBodies(bodies);
    onceEach(got, bodies);
    for (const key of keys) {
      const mine = got.filter(received => received.properties.__SHARDING_KEY === key);
      assert.deepStrictEqual(mine.map(text), sent[key]);
      assert.strictEqual(new Set(mine.map(received => received.queueId)).size, 1, `queues of ${key}`);
    }
    await consumer.close();
  },

  async 'filter-by-tag'() {
    const producer = await startProducer();
    const wanted = [];
    for (let n = 0; n < 30; n++) {
      const tags = 'ABC'[n % 3];
      await send(producer, { body: `${tags}${n}`, tags });
      if (tags !== 'C') wanted.push(`${tags}${n}`);
    }
    await send(producer, { body: 'last', tags: 'B' });
    wanted.push('last');
    const consumer = new Listener({ tags: 'A || B' });
    onceEach(await consumer.waitForBodies(wanted), wanted);
    await consumer.close();
  },

  async 'filter-by-sql'() {
    const producer = await startProducer();
    const wanted = [];
    for (let n = 0; n < 20; n++) {
      const one = message({ body: `${n}` });
      one.properties.amount = `${n}`;
      one.properties.city = n % 2 ? '杭州' : '北京';
      await producer.send(one);
      if (n > 10 && n % 2) wanted.push(`${n}`);
    }
    const last = message({ body: 'last' });
    Object.assign(last.properties, { amount: '99', city: '杭州' });
    await producer.send(last);
    wanted.push('last');
    const consumer = new Listener({ tags: { expressionType: 'SQL92', subString: "amount > 10 AND city = '杭州'" } });
    onceEach(await consumer.waitForBodies(wanted), wanted);
    await consumer.close();
  },

  // Bodies from 4 KiB on go out compressed with sysFlag 1.
  async 'compressed-body'() {
    const producer = await startProducer();
    const body = '压缩 compressed 🗜 '.repeat(5000);
    await send(producer, { body });
    const consumer = new Listener();
    const [ received ] = await consumer.wait(got => got.length === 1, 'the message is consumed');
    assert(text(received) === body, `body of ${received.body.length} bytes`);
    assert.strictEqual(received.sysFlag & 1, 1, 'sysFlag');
    assert(received.storeSize < 2000, `stored compressed: ${received.storeSize} bytes`);
    await consumer.close();
  },

  // Each of two members gets everything.
  async 'broadcast'() {
    const producer = await startProducer();
    const members = [ new Listener({ isBroadcast: true }), new Listener({ isBroadcast: true }) ];
    // Such a member begins at the end, once it knows its queues: rounds until both have heard one whole.
    const deadline = Date.now() + 60000;
    for (let number = 0; ; number++) {
      const bodies = [ 0, 1, 2, 3 ].map(n => `${number}-${n}`);
      for (const body of bodies) await send(producer, { body });
      const heard = await Promise.allSettled(members.map(member => member.waitForBodies(bodies, 3)));
      if (heard.every(({ status }) => status === 'fulfilled')) break;
      assert(Date.now() < deadline, 'no round reached both members');
    }
    for (const member of members) {
      assert.strictEqual(new Set(member.got.map(text)).size, member.got.length, 'each once');
      await member.close();
    }
  },

  // Two members get two queues of four each; when one leaves, the other gets all; nothing is lost.
  async 'two-members-share-a-group'() {
    const producer = await startProducer();
    const everything = new Set();
    let number = 0;
    // Sends one message to each queue (the client takes them in turn) until the members get `shares` of a round.
    async function rounds(members, shares) {
      const deadline = Date.now() + 60000;
      for (;;) {
        const bodies = [ 0, 1, 2, 3 ].map(n => `${++number}-${n}`);
        for (const body of bodies) {
          await send(producer, { body });
          everything.add(body);
        }
        const arrived = () => members.map(member => member.got.map(text).filter(body => bodies.includes(body)).length).sort();
        const sum = () => arrived().reduce((a, b) => a + b);
        await until(() => sum() >= 4, 40, () => assert.fail(`of four messages came ${arrived()}`));
        if (JSON.stringify(arrived()) === JSON.stringify(shares)) return;
        assert(Date.now() < deadline, `shares are ${arrived()}, expected ${shares}`);
      }
    }
    // A group that finds a queue empty begins at its end as it is a moment later: so there is something in each.
    for (const body of [ 'a', 'b', 'c', 'd' ]) {
      await send(producer, { body });
      everything.add(body);
    }
    const first = new Listener();
    await first.waitForBodies([ ...everything ]);
    await rounds([ first ], [ 4 ]);
    const second = new Listener();
    await rounds([ first, second ], [ 2, 2 ]);
    await second.close();
    await rounds([ first ], [ 4 ]);
    assert.deepStrictEqual(new Set([ ...first.got, ...second.got ].map(text)), everything);
    await first.close();
  },

  // The offset is kept in the broker: who comes next gets only what is new.
  async 'consumer-restarts'() {
    const producer = await startProducer();
    for (const age of [ 'old', 'new' ]) {
      const bodies = Array.from({ length: 12 }, (_, n) => `${age} ${n}`);
      for (const body of bodies) await send(producer, { body });
      const consumer = new Listener();
      onceEach(await consumer.waitForBodies(bodies), bodies);
      // A message counts as consumed a moment after its handler answered.
      const queues = () => [ ...consumer.client.processQueueTable.values() ];
      await consumer.wait(() => queues().every(({ processQueue }) => processQueue.msgCount === 0), 'all are counted');
      await consumer.close();
    }
  },

  // For a queue that it got nothing from, this client commits −1. Messages that come while it is away are not lost.
  async 'restart-after-idle-queues'() {
    const producer = await startProducer();
    await send(producer, { body: 'only' });
    const idle = new Listener();
    await idle.waitForBodies([ 'only' ]);
    await idle.close();
    const bodies = Array.from({ length: 8 }, (_, n) => `away ${n}`);
    for (const body of bodies) await send(producer, { body });
    const consumer = new Listener();
    const got = await consumer.waitForBodies(bodies);
    onceEach(got.filter(one => text(one) !== 'only'), bodies);
    await consumer.close();
  },

  // ACTION_RETRY: the message comes again after 10 s, with its count, and with the topic it had.
  async 'consume-again-after-failure'() {
    const producer = await startProducer();
    const one = message({ body: 'try', keys: [ 'K' ] });
    one.properties.colour = '红';
    const { msgId } = await producer.send(one);
    const consumer = new Listener({ answer: received => (received.reconsumeTimes === 0 ? Consumer.ACTION_RETRY : undefined) });
    const [ first, second ] = await consumer.wait(got => got.length === 2, 'the message came twice', 60);
    assert.deepStrictEqual([ first.reconsumeTimes, second.reconsumeTimes ], [ 0, 1 ]);
    assert.strictEqual(first.msgId, msgId);
    assert.strictEqual(second.topic, topic);
    assert.strictEqual(text(second), 'try');
    const { TAGS, KEYS, colour, RETRY_TOPIC, ORIGIN_MESSAGE_ID } = second.properties;
    assert.deepStrictEqual({ TAGS, KEYS, colour, RETRY_TOPIC, ORIGIN_MESSAGE_ID },
      { TAGS: 'T', KEYS: 'K', colour: '红', RETRY_TOPIC: topic, ORIGIN_MESSAGE_ID: msgId });
    const late = second.at - first.at;
    assert(late > 9000 && late < 20000, `again after ${late} ms`);
    await consumer.close();
  },

  // With a key pair, each request carries AccessKey, Signature and OnsChannel. A broker without authentication serves it.
  async 'signed-requests'() {
    const keys = { accessKey: 'someone', secretKey: 'secret' };
    const producer = await startProducer(keys);
    await send(producer, { body: 'signed' });
    const consumer = new Listener(keys);
    onceEach(await consumer.waitForBodies([ 'signed' ]), [ 'signed' ]);
    await consumer.close();
  },

  // On a server with access control: who signs with a key that may, sends and consumes.
  async 'access-right-key'() {
    const producer = await startProducer(KEYS['access-right-key']);
    const consumer = new Listener(KEYS['access-right-key']);
    await send(producer, { body: 'signed' });
    onceEach(await consumer.waitForBodies([ 'signed' ]), [ 'signed' ]);
    await consumer.close();
  },

  // Who signs with another secret sends nothing,
  'access-wrong-key': nothingIsSent,
  // nor who signs with a name that nobody has,
  'access-unknown-key': nothingIsSent,
  // nor who does not sign.
  'access-no-key': nothingIsSent,

  // The client's namespace is a prefix of topics and groups, with a per cent sign.
  async 'namespace'() {
    const namespace = 'MQ_INST_1';
    const producer = await startProducer({ namespace });
    await createTopic(producer, `${namespace}%${topic}`, 1);
    await send(producer, { body: 'inside' });
    const consumer = new Listener({ namespace });
    const [ received ] = await consumer.waitForBodies([ 'inside' ]);
    assert.strictEqual(received.topic, `${namespace}%${topic}`);
    await consumer.close();
  },

  // Topics that nobody may send to, or of a name too long or illegal: an answer, not silence; the connection goes on.
  async 'refused-topic'() {
    const producer = await startProducer();
    // The client tries again on code 16 and then gives up in words of its own.
    const forbidden = await refused(send(producer, { to: 'SCHEDULE_TOPIC_XXXX', body: 'no' }), 2);
    assert.match(forbidden.message, /Send \[4\] times/);
    for (const to of [ 't'.repeat(128), 'no spaces', '非法' ]) {
      const made = await refused(createTopic(producer, to, 1), 2);
      assert.strictEqual(made.code, 29, made.message);
      const sent = await refused(sendTo(producer, to), 2);
      assert.strictEqual(sent.code, 29, sent.message);
      assert.match(sent.message, /topic/, sent.message);
    }
    await send(producer, { body: 'yes' });
  },

  // A message over the broker's 4 MiB.
  async 'refused-size'() {
    const producer = await startProducer();
    const { code, message: words } = await refused(send(producer, { body: crypto.randomBytes(5 << 20) }), 5);
    assert.strictEqual(code, 13, words);
    assert.match(words, /4194304/);
    await send(producer, { body: 'yes' });
  },
};

// ---------------------------------------------------------------- one scenario, one verdict

async function main() {
  // The client keeps one producer for everybody; it takes the options of whoever comes first, also the connection.
  await Producer.getDefaultProducer(options({ producerGroup: `${topic}-default`, ...KEYS[name] }));
  await scenarios[name]();
}

main().then(() => `PASS ${name}`, error => {
  console.error(error);
  return `FAIL ${name}: ${error.message.replace(/\s+/g, ' ')}`;
}).then(verdict => process.stdout.write(`${verdict}\n`, () => process.exit(0)));
