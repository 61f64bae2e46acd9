// A whole chat in one process, as in the AI SDK's guide to resumable streams: `node chat.mjs PORT REDIS_URL PROVIDER_URL`.
//
// The response to POST /chat is the answer's stream. A copy of it goes to resumable-stream, from which GET /chat/ID/stream
// takes it again, from its beginning.
import { createServer } from "node:http";
import { json } from "node:stream/consumers";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { UI_MESSAGE_STREAM_HEADERS, streamText } from "ai";
import { createClient } from "redis";
import { createResumableStreamContext } from "resumable-stream";

const [port, url, baseURL] = process.argv.slice(2);
const [publisher, subscriber] = [createClient({ url }), createClient({ url })];
for (const client of [publisher, subscriber]) {
  client.on("error", (error) => console.error(String(error)));
  await client.connect();
}
const context = createResumableStreamContext({ waitUntil: null, publisher, subscriber });
const provider = createOpenAICompatible({ name: "scripted", apiKey: "none", baseURL });

async function ask(request, response) {
  const { id, text } = await json(request);
  const result = streamText({
    model: provider("gpt-5-mini"),
    messages: [{ role: "user", content: text }],
    onError: ({ error }) => console.error(String(error)),
  });
  result.pipeUIMessageStreamToResponse(response, {
    consumeSseStream: async ({ stream }) => {
      await context.createNewResumableStream(id, () => stream);
    },
  });
}

async function resume(id, response) {
  response.writeHead(200, UI_MESSAGE_STREAM_HEADERS);
  response.flushHeaders();
  const stream = await context.resumeExistingStream(id);
  if (!stream) {
    response.end();
    return;
  }
  await pipeline(Readable.fromWeb(stream), response);
}

async function respond(request, response) {
  const id = /^\/chat\/([\w-]+)\/stream$/.exec(request.url)?.[1];
  if (request.method === "POST" && request.url === "/chat") await ask(request, response);
  else if (request.method === "GET" && id !== undefined) await resume(id, response);
  else response.writeHead(404).end();
}

const server = createServer((request, response) => {
  // A reader that leaves ends its pipeline with an error, which is expected. Any other error is logged.
  respond(request, response).catch((error) => {
    if (error.code !== "ERR_STREAM_PREMATURE_CLOSE") console.error(String(error));
    response.destroy();
  });
});
// A stream may wait as long as a measurement needs.
server.requestTimeout = 0;
server.keepAliveTimeout = 0;
server.listen({ port: Number(port), host: "127.0.0.1", backlog: 4096 });
