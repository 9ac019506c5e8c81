// What the routes themselves promise, through the SDK where it has a word for it.
import { randomUUID } from "node:crypto";
import { sessions } from "@trigger.dev/sdk";
import { about, agentChat, append, assert, auth, call, channel, headerOf, out, page, records, start, tokenFor, until, url, within } from "../support.mjs";

const bearer = (token) => ({ authorization: `Bearer ${token}` });

// What is trimmed stays readable for half a minute (S-89).
const TRIM_MS = 45_000;

// The longest case begins first.
about("an early cursor is served from the first record there is, and says so", async (it) => {
  const alice = page(it, "history");
  for (const text of ["one", "two", "three"]) await alice.say(text);
  const peek = { accept: "text/event-stream", "x-peek-settled": "1" };

  const early = await until("the trim", async () => {
    const read = await call(channel(it.chatId, "out"), { headers: { ...peek, "last-event-id": "1" } });
    const body = await read.text();
    return read.headers.get("x-first-available-seq") && { first: Number(read.headers.get("x-first-available-seq")), body };
  }, TRIM_MS);
  const late = await call(channel(it.chatId, "out"), { headers: { ...peek, "last-event-id": "9999" } });
  await late.text();

  assert.ok(early.first > 2 && early.body.includes(`"seq_num":${early.first}`));
  assert.ok(Number(late.headers.get("x-clamped-cursor")) < 9999);
}, 2 * TRIM_MS);

about("a created session has every field, null ones too, and create again finds it (RC-8)", async (it) => {
  const body = JSON.stringify({
    type: "chat.agent",
    externalId: it.chatId,
    taskIdentifier: "echo",
    triggerConfig: { basePayload: { chatId: it.chatId, trigger: "preload", messages: [] }, tags: [`chat:${it.chatId}`] },
  });
  const post = () => call("/api/v1/sessions", { method: "POST", headers: { "content-type": "application/json" }, body });

  const first = await post();
  const created = await first.json();
  const second = await post();
  const found = await second.json();

  assert.deepEqual([first.status, second.status], [201, 200]);
  assert.deepEqual([created.isCached, found.isCached, found.id, found.runId], [false, true, created.id, created.runId]);
  for (const field of ["metadata", "closedAt", "closedReason", "expiresAt"]) assert.equal(created[field], null, field);
  assert.ok(created.publicAccessToken && created.createdAt && created.updatedAt && created.runId.startsWith("run_"));
});

about("the SDK starts, retrieves, updates, lists and closes (RC-8, RC-19)", async (it) => {
  const tags = [`${it.chatId}-a`, `${it.chatId}-b`];
  const other = `${it.chatId}-2`;
  await start(it.chatId, "echo", { tags: [tags[0]], metadata: { plan: "free" } });
  await start(other, "echo", { tags: [tags[1]] });

  const row = await sessions.retrieve(it.chatId);
  assert.deepEqual([row.externalId, row.taskIdentifier, row.tags, row.metadata], [it.chatId, "echo", [tags[0]], { plan: "free" }]);
  const updated = await sessions.update(it.chatId, { metadata: { plan: "paid" } });
  assert.deepEqual(updated.metadata, { plan: "paid" });
  assert.equal((await sessions.close(other, { reason: "done" })).closedReason, "done");

  const listed = async (filter) => {
    const found = [];
    for await (const session of sessions.list(filter)) found.push(session.externalId);
    return found;
  };
  assert.deepEqual(await listed({ tag: tags, limit: 1 }), [other, it.chatId], "newest first, over the pages");
  assert.deepEqual(await listed({ tag: tags, status: ["ACTIVE"] }), [it.chatId]);
  assert.deepEqual(await listed({ tag: tags, status: ["CLOSED", "EXPIRED"] }), [other]);
  assert.deepEqual(await listed({ tag: tags[0], type: "chat.agent" }), [it.chatId]);
});

about("racing creates make one session and one run", async (it) => {
  const created = await within("all", Promise.all(Array.from({ length: 8 }, () => start(it.chatId, "echo"))));

  assert.equal(new Set(created.map((session) => session.id)).size, 1);
  assert.equal(new Set(created.map((session) => session.runId)).size, 1);
  assert.equal(created.filter((session) => !session.isCached).length, 1);
});

about("a message beyond 1 MiB is refused for good, and the chat goes on", async (it) => {
  const alice = page(it, "history");
  await alice.say("one");

  await within("the refusal", alice.chat.sendMessage({ text: "x".repeat(1_100_000) }));
  assert.equal(alice.seen.errors[0].status, 413);
  const answer = alice.seen.responses.at(-1);
  assert.equal(answer.headers.get("x-should-retry"), "false");

  alice.seen.errors.length = 0;
  assert.equal(await alice.say("two"), "seen u:one,two assistants:1");
});

about("the answer 413 can be read by a page of another site (RC-19)", async (it) => {
  await start(it.chatId, "echo");
  const response = await append(it.chatId, "x".repeat(1_100_000), { origin: "https://chat.example.com" });

  assert.equal(response.status, 413);
  assert.equal(response.headers.get("access-control-allow-origin"), "https://chat.example.com");
});

about("a part id that comes again is one record with one seq", async (it) => {
  await start(it.chatId, "history");
  const part = { "x-part-id": randomUUID() };
  const seq = async (response) => (await response.json()).seq;

  const racing = await Promise.all([append(it.chatId, "one", part), append(it.chatId, "one", part)]);
  const seqs = [...(await Promise.all(racing.map(seq))), await seq(await append(it.chatId, "one", part))];

  assert.deepEqual(seqs, [0, 0, 0]);
  await until("the answer", async () => (await out(it.chatId)).includes("TURN-COMPLETE"));
  assert.equal((await records(it.chatId, "in")).length, 1);
});

about("a lost answer to an append does no harm: the same part is sent again", async (it) => {
  let lost = 0;
  const losing = async (input, init) => {
    const response = await fetch(input, init);
    if (!String(input).endsWith("/append") || lost++ > 0) return response;
    return fetch(input, init);
  };
  const alice = page(it, "history", { fetch: losing });

  assert.equal(await alice.say("one"), "seen u:one assistants:0");
  assert.equal((await records(it.chatId, "in")).length, 1);
});

about("a token that a customer signs opens its session in both forms of its id (RC-21)", async (it) => {
  const created = await start(it.chatId, "echo");
  for (const token of [await tokenFor(it.chatId), await tokenFor(created.id), created.publicAccessToken]) {
    for (const id of [it.chatId, created.id]) {
      const read = await call(`${channel(id, "out")}/records`, { headers: bearer(token) });
      assert.equal(read.status, 200, id);
      assert.equal((await call(`/api/v1/sessions/${id}`, { headers: bearer(token) })).status, 200);
    }
  }
});

about("a wrong, forged, expired or foreign token opens nothing (RC-21)", async (it) => {
  await start(it.chatId, "echo");
  const good = await tokenFor(it.chatId);
  const [head, body, signature] = good.split(".");
  const none = [Buffer.from('{"alg":"none"}').toString("base64url"), body, ""].join(".");
  const forged = [head, Buffer.from(Buffer.from(body, "base64url").toString().replace(it.chatId, "other")).toString("base64url"), signature].join(".");
  const status = async (token) => (await call(`${channel(it.chatId, "out")}/records`, { headers: bearer(token) })).status;

  assert.equal(await status(good), 200);
  for (const token of ["", "nonsense", none, forged, await tokenFor(it.chatId, new Date(Date.now() - 1000))]) {
    assert.equal(await status(token), 401, token);
  }
  assert.equal(await status(await tokenFor(`${it.chatId}-other`)), 403);
  const readOnly = await auth.createPublicToken({ scopes: { read: { sessions: it.chatId } } });
  assert.equal(await status(readOnly), 200);
  assert.equal((await append(it.chatId, "hello", bearer(readOnly))).status, 403);
});

about("an id with odd characters names a chat like any other", async (it) => {
  for (const odd of [`${it.chatId}:with:colons`, `${it.chatId}/with/slashes`, `${it.chatId} ü ?&#%41`]) {
    const alice = page({ t: it.t, chatId: odd }, "echo");
    assert.equal(await alice.say("hello"), "echo: hello");
  }
});

about("a page of another site may send and read what clients send and read (RC-19)", async (it) => {
  const origin = "https://chat.example.com";
  const wanted = ["authorization", "content-type", "x-trigger-source", "x-part-id", "last-event-id", "timeout-seconds", "x-peek-settled"];
  const preflight = await fetch(`${url}${channel(it.chatId, "in")}/append`, {
    method: "OPTIONS",
    headers: { origin, "access-control-request-method": "POST", "access-control-request-headers": wanted.join(", ") },
  });
  await preflight.body?.cancel();
  assert.ok(preflight.ok);
  assert.equal(preflight.headers.get("access-control-allow-origin"), origin);
  const allowed = preflight.headers.get("access-control-allow-headers").toLowerCase();
  for (const name of wanted) assert.ok(allowed.includes(name), name);

  await start(it.chatId, "echo");
  await append(it.chatId, "hello");
  await until("the answer", async () => (await out(it.chatId)).includes("TURN-COMPLETE"));
  const read = await call(channel(it.chatId, "out"), { headers: { origin, accept: "text/event-stream", "x-peek-settled": "1" } });
  await read.text();
  const exposed = read.headers.get("access-control-expose-headers").toLowerCase();
  for (const name of ["x-session-settled", "x-stream-version"]) assert.ok(exposed.includes(name) && read.headers.get(name), name);
});

about("the SDK reads `out` and sends on `in` by itself (RC-1)", async (it) => {
  await start(it.chatId, "echo");
  const handle = sessions.open(it.chatId);
  await handle.in.send({ kind: "message", payload: { chatId: it.chatId, trigger: "submit-message", message: { id: "m1", role: "user", parts: [{ type: "text", text: "hi" }] } } });

  const stop = new AbortController();
  const controls = [];
  const stream = await handle.out.read({ signal: stop.signal, timeoutInSeconds: 10, onControl: (control) => controls.push(control) });
  let text = "";
  for await (const chunk of stream) {
    if (chunk?.type === "text-delta") text += chunk.delta;
    if (chunk?.type === "finish") break;
  }
  stop.abort();

  assert.equal(text, "echo: hi");
});

about("a restored server-side chat creates again and loses nothing of the row (RC-13)", async (it) => {
  await start(it.chatId, "meta", { metadata: { plan: "free" }, tags: ["kept"] });
  const restored = agentChat(it, "meta", { session: {}, clientData: { user: "u1" }, triggerConfig: { tags: ["new"] } });

  const text = await within("the answer", (await restored.sendMessage("hello")).text());

  assert.equal(text, 'meta: {"user":"u1"}');
  const row = await sessions.retrieve(it.chatId);
  assert.deepEqual([row.metadata, row.tags], [{ plan: "free" }, ["kept"]]);
});

about("a boundary names the record that it covers and brings a fresh token (RC-10)", async (it) => {
  const alice = page(it, "echo");
  await alice.say("hello");

  const boundary = (await records(it.chatId, "out")).at(-1);
  assert.equal(headerOf(boundary, "session-in-event-id"), "0");
  const token = headerOf(boundary, "public-access-token");
  if (token) assert.equal((await call(`${channel(it.chatId, "out")}/records`, { headers: bearer(token) })).status, 200);
});
