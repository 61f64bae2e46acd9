// The server's side of messages: the POSTs that arrived, and their answers, which the test chooses.

import type { Listed } from '../../src/transport/api';

interface Post {
  path: string;
  body: Record<string, unknown>;
  key: string | null;
  answer: (status: number, reply: object) => void;
  /** The request fails without an answer, processed or not. */
  lose: () => void;
}

export class Posts {
  readonly all: Post[] = [];
  /** Whether a requested session does not exist any more. */
  isGone = false;
  listed: readonly Listed[] = [];
  /** The names of the models, the default first; null for a server whose list cannot be loaded. */
  models: readonly string[] | null = null;
  readonly #waiting: Post[] = [];

  readonly fetch = async (path: string, { method, body, headers }: RequestInit): Promise<Response> => {
    if (method !== 'POST' && path === '/sessions') return Response.json({ sessions: this.listed });
    if (path === '/models' && this.models !== null) {
      return Response.json({ models: this.models.map((name, at) => ({ name, default: at === 0 })) });
    }
    if (method !== 'POST') return new Response('{}', { status: this.isGone ? 404 : 200 });
    return new Promise((resolve, reject) => {
      const post: Post = {
        path,
        body: JSON.parse(body as string) as Record<string, unknown>,
        key: new Headers(headers).get('idempotency-key'),
        answer: (status, reply) => resolve(new Response(JSON.stringify(reply), { status })),
        lose: () => reject(new TypeError('Failed to fetch')),
      };
      this.all.push(post);
      this.#waiting.push(post);
    });
  };

  /** How many requests are open. */
  get waiting(): number {
    return this.#waiting.length;
  }

  get last(): Post {
    return this.all.at(-1)!;
  }

  get texts(): unknown[] {
    return this.all.map(({ body }) => body['text']);
  }

  accept(turn: number, session = 's'): Promise<void> {
    return this.#answerOldest((post) =>
      post.answer(202, { session_id: session, turn, events_url: `/sessions/${session}/events` }),
    );
  }

  refuse(status: number, code: string): Promise<void> {
    return this.#answerOldest((post) => post.answer(status, { error: { code, message: `It said ${code}.` } }));
  }

  lose(): Promise<void> {
    return this.#answerOldest((post) => post.lose());
  }

  /** Answers the oldest open request, and waits until the page has processed that. */
  async #answerOldest(answer: (post: Post) => void): Promise<void> {
    const post = this.#waiting.shift();
    if (post === undefined) throw new Error('Nothing is on its way.');
    answer(post);
    await taken();
  }
}

/** Resolves when the page has processed everything that has arrived. */
export async function taken(): Promise<void> {
  // A response is read through several promises, with more than microtasks between them.
  const { port1, port2 } = new MessageChannel();
  for (let round = 0; round < 5; round += 1) {
    await new Promise((resolve) => {
      port2.onmessage = resolve;
      port1.postMessage(null);
    });
  }
  port1.close();
}
