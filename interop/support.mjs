// What every case needs: the served system's address, pages as people have them, and waits that end.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { describe, test } from "node:test";
import { auth, configure, runs, sessions } from "@trigger.dev/sdk";
import { chat as chatAgent } from "@trigger.dev/sdk/ai";
import { AgentChat, TriggerChatTransport } from "@trigger.dev/sdk/chat";
import { AbstractChat } from "ai";

export const url = wanted("TURNKEEP_URL");
export const secretKey = wanted("TURNKEEP_SECRET_KEY");
configure({ baseURL: url, accessToken: secretKey });

/** The longest that any case may take; each wait inside it is shorter and has a name. */
const CASE_MS = 30_000;
const WAIT_MS = 15_000;

export function wanted(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: run the suite with \`cargo xtask interop\``);
  return value;
}

/** How many cases of a file run at a time; most of them only wait. A file may say otherwise before it ends. */
export const settings = { atATime: 4 };

const cases = [];

/** One case, with a chat id of its own. */
export function about(name, body, limitMs = CASE_MS) {
  if (cases.length === 0) queueMicrotask(register);
  cases.push({ name, body, limitMs });
}

/** Runs once the file has named all its cases. */
function register() {
  describe("interop", { concurrency: settings.atATime }, () => {
    for (const { name, body, limitMs } of cases) {
      const slug = name.toLowerCase().replace(/[^a-z0-9]+/g, "-").slice(0, 40);
      test(name, { timeout: limitMs }, (t) => body({ t, chatId: `${slug}-${randomBytes(4).toString("hex")}` }));
    }
  });
}

/** Waits for `what`, at most so long; the failure says what it waited for. */
export async function within(what, promise, ms = WAIT_MS) {
  const late = new AbortController();
  try {
    return await Promise.race([
      promise,
      pause(ms, undefined, { signal: late.signal }).then(() => assert.fail(`${what}: not within ${ms} ms`)),
    ]);
  } finally {
    late.abort();
  }
}

/** Waits until `look` gives something. */
export async function until(what, look, ms = WAIT_MS) {
  const end = Date.now() + ms;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) assert.fail(`${what}: not within ${ms} ms`);
    await pause(10);
  }
}

/** The AI SDK's chat without a framework around it. */
class Chat extends AbstractChat {
  constructor({ messages = [], ...init }) {
    super({ ...init, state: new State(messages) });
  }
}

class State {
  status = "ready";
  error = undefined;
  constructor(messages) {
    this.messages = messages;
  }
  pushMessage = (message) => (this.messages = [...this.messages, message]);
  popMessage = () => (this.messages = this.messages.slice(0, -1));
  replaceMessage = (at, message) => (this.messages = this.messages.with(at, message));
  snapshot = (value) => structuredClone(value);
}

/** What a customer's `accessToken` callback does. */
export const tokenFor = (chatId, expirationTime = "1h") =>
  auth.createPublicToken({ scopes: { read: { sessions: chatId }, write: { sessions: chatId } }, expirationTime });

/** A browser page: a transport, a chat over it, and what was seen of both. */
export function page({ t, chatId }, agent, { messages, chat: chatOptions, saved, ...options } = {}) {
  const seen = { requests: [], responses: [], events: [], saved, errors: [], ended: [] };
  const transport = new TriggerChatTransport({
    task: agent,
    baseURL: url,
    accessToken: ({ chatId }) => tokenFor(chatId),
    startSession: ({ chatId, clientData }) => chatAgent.createStartSessionAction(agent)({ chatId, clientData }),
    onSessionChange: (_, session) => (seen.saved = session && structuredClone(session)),
    onEvent: (event) => seen.events.push(event),
    fetch: async (input, init) => {
      seen.requests.push({ url: String(input), headers: new Headers(init.headers), method: init.method ?? "GET", body: init.body });
      const response = await fetch(input, init);
      seen.responses.push({ url: String(input), status: response.status, headers: response.headers });
      return response;
    },
    ...(saved ? { sessions: { [chatId]: saved } } : {}),
    ...options,
  });
  const chat = new Chat({
    id: chatId,
    transport,
    messages,
    onError: (error) => seen.errors.push(error),
    onFinish: (end) => seen.ended.push(end),
    ...chatOptions,
  });
  t.after(() => transport.dispose());
  return {
    chat,
    transport,
    seen,
    /** Says something and waits for the answer's end. */
    async say(text, options) {
      await within(`the answer to ${text}`, chat.sendMessage({ text }, options));
      assert.deepEqual(seen.errors.map(String), []);
      return textOf(chat.lastMessage);
    },
    texts: () => chat.messages.map(textOf),
  };
}

export const textOf = (message) =>
  message.parts.filter((part) => part.type === "text").map((part) => part.text).join("");

/** The tool part of the newest message. */
export const toolOf = (message) => message.parts.find((part) => part.type.startsWith("tool-"));

export const agentChat = ({ chatId }, agent, options) => new AgentChat({ agent, id: chatId, ...options });

/** A request of no client's: what the routes themselves say. */
export const call = (path, { headers, ...init } = {}) =>
  fetch(`${url}${path}`, { ...init, headers: { authorization: `Bearer ${secretKey}`, ...headers } });

export const channel = (chatId, io) => `/realtime/v1/sessions/${encodeURIComponent(chatId)}/${io}`;

/** Every record of a channel that can be read: `{data, id, seqNum, headers}`. */
export async function records(chatId, io) {
  const response = await call(`${channel(chatId, io)}/records`);
  assert.equal(response.status, 200);
  return (await response.json()).records;
}

/** What is on `out`, in short: chunks by type, controls in capitals. */
export async function out(chatId) {
  return (await records(chatId, "out")).map((record) => {
    const control = headerOf(record, "trigger-control");
    return control ? control.toUpperCase() : chunkOf(record).type;
  });
}

export const headerOf = (record, name) => (record.headers ?? []).find(([key]) => key === name)?.[1];

/** The chunk of a data record; nothing of a control record. */
export const chunkOf = (record) => (typeof record.data === "string" && record.data ? JSON.parse(record.data) : record.data);

/** Starts a session as a server does. */
export const start = (chatId, agent, more = {}) =>
  sessions.start({
    type: "chat.agent",
    externalId: chatId,
    taskIdentifier: agent,
    triggerConfig: { basePayload: { chatId, trigger: "preload" } },
    ...more,
  });

export const message = (text, id = randomBytes(6).toString("hex")) => ({ id, role: "user", parts: [{ type: "text", text }] });

/** Appends a message to `in` without a client. */
export const append = (chatId, text, headers = {}) =>
  call(`${channel(chatId, "in")}/append`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({ kind: "message", payload: { chatId, trigger: "submit-message", message: message(text) } }),
  });

/** Reads a stream of chunks to its end. */
export async function all(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

export const said = (chunks) => chunks.filter((chunk) => chunk.type === "text-delta").map((chunk) => chunk.delta).join("");

export { assert, auth, pause, runs, sessions };
