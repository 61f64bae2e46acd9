// The process that owns the streams: `node producer.mjs --sessions N --rate R --seconds S --url REDIS_URL [--end]`.
//
// Prints {"ready", "sessions"} once every stream exists, waits for `go` on stdin, sends R tokens a second in each session with
// the sessions' phases spread evenly, prints {"sent", "cpu_ns"}, and closes the streams when stdin closes, or with --end after
// their last tokens.
import { randomUUID } from "node:crypto";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import { createClient } from "redis";
import { createResumableStreamContext } from "resumable-stream";

const text = { type: "string" };
const options = { sessions: text, rate: text, seconds: text, url: text, end: { type: "boolean" } };
const { values } = parseArgs({ options });
const [sessions, rate, seconds] = [values.sessions, values.rate, values.seconds].map(Number);
if (!(sessions > 0 && rate > 0 && seconds > 0) || !values.url) {
  console.error("usage: producer.mjs --sessions N --rate R --seconds S --url REDIS_URL [--end]");
  process.exit(2);
}

const print = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const cpu = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1000;
};

const [publisher, subscriber] = [createClient({ url: values.url }), createClient({ url: values.url })];
for (const client of [publisher, subscriber]) {
  client.on("error", (error) => console.error(String(error)));
  await client.connect();
}
// The library passes its work after a stream's end (mark it done, notify the listeners) to waitUntil.
const endings = [];
const context = createResumableStreamContext({ waitUntil: (ending) => endings.push(ending), publisher, subscriber });

// The library reads its source even without a reader of its own stream, but chunks that are not read stay in memory.
async function drain(stream) {
  for await (const _ of stream);
}

async function open(name) {
  let controller;
  const source = new ReadableStream({ start: (given) => { controller = given; } });
  const drained = drain(await context.createNewResumableStream(name, () => source));
  return { controller, drained, sent: 0 };
}

// The clock is CLOCK_MONOTONIC, as in the readers' time.monotonic_ns(). Beyond 2^53 ns (104 days of uptime) a Number rounds by
// some nanoseconds, which is far below any latency here.
const WIDTH = 28;
function frame(seq) {
  return `data: ${`~${seq}.${Number(process.hrtime.bigint())};`.padEnd(WIDTH, "x")}\n\n`;
}

const names = Array.from({ length: sessions }, () => randomUUID().replaceAll("-", ""));
const streams = await Promise.all(names.map(open));
print({ ready: true, sessions: names });

async function close() {
  for (const stream of streams) stream.controller.close();
  await Promise.all(streams.map((stream) => stream.drained));
  await Promise.all(endings);
}

const lines = createInterface({ input: process.stdin });
const closed = new Promise((resolve) => lines.once("close", resolve));
const started = await Promise.race([closed.then(() => false), new Promise((resolve) => lines.once("line", () => resolve(true)))]);

if (started) {
  // One schedule over all streams: the k-th token of the run belongs to stream k mod N and is due at k / (N·R) seconds. A
  // producer that is late sends all tokens that are due at once, so the rate holds; a token is stamped when it is sent.
  const before = cpu();
  const total = Math.round(sessions * rate * seconds);
  const begun = performance.now();
  for (let sent = 0; sent < total;) {
    const due = Math.min(total, Math.floor(((performance.now() - begun) / 1000) * sessions * rate) + 1);
    for (; sent < due; sent += 1) {
      const stream = streams[sent % sessions];
      stream.controller.enqueue(frame(stream.sent));
      stream.sent += 1;
    }
    await pause(1);
  }
  // Commands that Redis has not acknowledged yet are part of the cost: a last round trip waits for them.
  if (values.end) await close();
  else await publisher.ping();
  print({ sent: total, cpu_ns: cpu() - before });
}

await closed;
if (!(started && values.end)) await close();
await Promise.all([publisher.close(), subscriber.close()]);
