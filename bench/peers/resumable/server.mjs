// The reading half of resumable-stream's README on node:http: `node server.mjs PORT REDIS_URL`.
//
// Each reader gets a channel of its own: the producer is asked for the stream, publishes all of it so far to that channel, and
// then every chunk once for each listener. The work of Redis and of the producer therefore grows with the readers.
import { createServer } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createClient } from "redis";
import { createResumableStreamContext } from "resumable-stream";

const [port, url] = process.argv.slice(2);
const [publisher, subscriber] = [createClient({ url }), createClient({ url })];
for (const client of [publisher, subscriber]) {
  client.on("error", (error) => console.error(String(error)));
  await client.connect();
}
const context = createResumableStreamContext({ waitUntil: null, publisher, subscriber });

async function relay(id, response) {
  // Sent before the stream is looked up, as with every contender here: a reader gets its response at once.
  response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
  response.flushHeaders();
  const stream = await context.resumeExistingStream(id);
  if (!stream) {
    response.end(": no such stream, or done\n\n");
    return;
  }
  await pipeline(Readable.fromWeb(stream), response);
}

const server = createServer((request, response) => {
  const id = /^\/stream\/([\w-]+)$/.exec(request.url)?.[1];
  if (request.method !== "GET" || id === undefined) {
    response.writeHead(404).end();
    return;
  }
  // A reader that leaves ends its pipeline with an error, which is expected. Any other error is logged.
  relay(id, response).catch((error) => {
    if (error.code !== "ERR_STREAM_PREMATURE_CLOSE") console.error(String(error));
    response.destroy();
  });
});
// Idle streams are measured too, so nothing may time out.
server.requestTimeout = 0;
server.keepAliveTimeout = 0;
server.listen({ port: Number(port), host: "127.0.0.1", backlog: 4096 });
