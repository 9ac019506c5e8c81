// What a person does in a chat: she says things, and stops, redoes and undoes them.
import { about, all, assert, message, out, page, pause, records, said, sessions, textOf, tokenFor, until, within } from "../support.mjs";

about("a first message is answered word by word (RC-1)", async (it) => {
  const alice = page(it, "echo");

  assert.equal(await alice.say("hello there"), "echo: hello there");

  assert.deepEqual(alice.texts(), ["hello there", "echo: hello there"]);
  assert.equal(alice.chat.status, "ready");
  const stream = alice.seen.responses.find((response) => response.url.endsWith("/out"));
  assert.equal(stream.headers.get("x-stream-version"), "v2");
  assert.deepEqual(await out(it.chatId), [
    "start", "start-step", "text-start", "text-delta", "text-delta", "text-delta", "text-end", "finish-step", "finish", "TURN-COMPLETE",
  ]);
});

about("several turns are one conversation", async (it) => {
  const alice = page(it, "history");

  assert.equal(await alice.say("one"), "seen u:one assistants:0");
  assert.equal(await alice.say("two"), "seen u:one,two assistants:1");
  assert.equal(await alice.say("three"), "seen u:one,two,three assistants:2");

  const ids = alice.chat.messages.map((message) => message.id);
  assert.equal(new Set(ids).size, 6, "every message has an id of its own");
});

about("a preloaded session has its run before the first message", async (it) => {
  const alice = page(it, "slow-boot");

  await alice.transport.preload(it.chatId);
  const { currentRunId } = await sessions.retrieve(it.chatId);
  assert.ok(currentRunId);

  assert.equal(await alice.say("hello"), "echo: hello");
  assert.equal((await sessions.retrieve(it.chatId)).currentRunId, currentRunId);
});

about("an append while the run boots is the normal path (RC-12)", async (it) => {
  const alice = page(it, "slow-boot");

  assert.equal(await alice.say("hello"), "echo: hello");

  const created = alice.seen.saved;
  assert.ok(created.publicAccessToken);
  assert.equal((await records(it.chatId, "in")).length, 1);
});

about("a stop ends the answer and the next question is answered whole (RC-10, RC-11)", async (it) => {
  const alice = page(it, "slow");
  const asked = alice.chat.sendMessage({ text: "go" });
  await until("some words", () => alice.chat.messages.length === 2 && textOf(alice.chat.lastMessage).includes("w5"));

  await alice.transport.stopGeneration(it.chatId);
  await within("the stopped answer", asked);
  assert.ok(textOf(alice.chat.lastMessage).length < 200);

  assert.equal(await alice.say("words=3"), "w0 w1 w2");
  const told = await records(it.chatId, "out");
  const boundaries = told.filter((record) => record.headers?.some(([name]) => name === "trigger-control"));
  const stamps = boundaries.map((record) => Number(record.headers.find(([name]) => name === "session-in-event-id")[1]));
  assert.deepEqual(stamps, [1, 2], "the stop is record 1: its turn's boundary covers it, and no later one");
});

about("chat.stop() stops the agent as well", async (it) => {
  const alice = page(it, "slow");
  const asked = alice.chat.sendMessage({ text: "go" });
  await until("some words", () => alice.chat.messages.length === 2 && textOf(alice.chat.lastMessage).includes("w5"));

  await within("the stop", alice.chat.stop());
  await within("the stopped answer", asked);
  await until("the boundary", async () => (await out(it.chatId)).includes("TURN-COMPLETE"));

  assert.equal(await alice.say("words=2"), "w0 w1");
});

about("a regenerated answer takes the place of the old one", async (it) => {
  const alice = page(it, "history");
  await alice.say("one");
  await alice.say("two");

  await within("the answer", alice.chat.regenerate());

  assert.deepEqual(alice.texts(), ["one", "seen u:one assistants:0", "two", "seen u:one,two assistants:1"]);
  assert.equal(await alice.say("three"), "seen u:one,two,three assistants:2");
});

about("an action edits the history without a turn (`history`)", async (it) => {
  const alice = page(it, "history");
  await alice.say("one");
  await alice.say("two");

  const chunks = await within("the action", all(await alice.transport.sendAction(it.chatId, { type: "undo" })));

  assert.deepEqual(chunks, []);
  assert.equal(await alice.say("three"), "seen u:one,three assistants:1");
});

about("an action against its schema is an error that changes nothing", async (it) => {
  const alice = page(it, "history");
  await alice.say("one");

  const chunks = await within("the action", all(await alice.transport.sendAction(it.chatId, { type: "forget" })));

  assert.deepEqual(chunks.map((chunk) => chunk.type), ["error"]);
  assert.equal(await alice.say("two"), "seen u:one,two assistants:1");
});

about("a settled action says which records it covers", async (it) => {
  const alice = page(it, "history");
  await alice.say("one");
  let settled;

  const stream = await alice.transport.sendAction(it.chatId, { type: "undo" }, { onSettled: (what) => (settled = what) });
  await within("the action", all(stream));

  assert.deepEqual({ ...settled, lastEventId: undefined }, { inputSeq: 1, sessionInEventId: "1", lastEventId: undefined });
});

about("a send during a running turn ends on its own boundary (RC-10)", async (it) => {
  const alice = page(it, "slow");
  const send = (text) =>
    alice.transport.sendMessages({ trigger: "submit-message", chatId: it.chatId, messages: [message(text)] });

  const first = await send("words=30");
  const reader = first.getReader();
  await within("the first chunk", reader.read());
  const second = await within("the second answer", all(await send("words=4")));

  assert.ok(said(second).endsWith("w0 w1 w2 w3"), said(second));
  assert.deepEqual((await out(it.chatId)).filter((kind) => kind === "TURN-COMPLETE").length, 2);
});

about("a thinking agent outlives short windows and stalls (RC-2, RC-18)", async (it) => {
  const alice = page(it, "think", { streamTimeoutSeconds: 1 });

  assert.equal(await alice.say("well"), "echo: well");

  const reads = alice.seen.requests.filter((request) => request.url.endsWith("/out"));
  assert.ok(reads.length >= 2, `${reads.length} windows`);
});

about("every kind of part arrives in order (`parts`)", async (it) => {
  const data = [];
  const alice = page(it, "parts", { chat: { onData: (part) => data.push(part.data.pct) } });

  assert.equal(await alice.say("show me"), "all parts");

  const parts = alice.chat.lastMessage.parts;
  assert.deepEqual(parts.map((part) => part.type), ["step-start", "data-progress", "reasoning", "source-url", "text"]);
  assert.deepEqual(parts[1], { type: "data-progress", id: "p", data: { pct: 100 } });
  assert.equal(parts[2].text, "thinking hard");
  assert.deepEqual(data, [50, 100]);
});

about("client data reaches the turn (`meta`)", async (it) => {
  const alice = page(it, "meta", { clientData: { user: "u1", plan: { b: 1, a: [null] } } });

  assert.equal(await alice.say("hello"), 'meta: {"plan":{"a":[null],"b":1},"user":"u1"}');
  assert.equal(await alice.say("hello", { metadata: { user: "u2" } }), 'meta: {"plan":{"a":[null],"b":1},"user":"u2"}');
});

about("a history of the author's own is what the model reads (`hydrate`)", async (it) => {
  const hydrated = [message("kept"), { id: "a1", role: "assistant", parts: [{ type: "text", text: "yes" }] }];
  const alice = page(it, "hydrate", { clientData: { hydrated } });

  assert.equal(await alice.say("new"), "seen u:kept,new assistants:1");
  assert.equal(await alice.say("newer"), "seen u:kept,newer assistants:1");
});

about("a rejected message is an error and the next one is answered (`validate`, RC-11)", async (it) => {
  const alice = page(it, "validate");

  await within("the refusal", alice.chat.sendMessage({ text: "a blocked-word" }));

  assert.equal(alice.chat.status, "error");
  assert.match(String(alice.seen.errors[0]), /content filter/);
  assert.deepEqual(await out(it.chatId), ["error", "TURN-COMPLETE"]);
  alice.seen.errors.length = 0;
  assert.equal(await alice.say("a plain word"), "echo: a plain word");
});

about("a run that sleeps is woken by the next message (`idle`)", async (it) => {
  const alice = page(it, "idle");
  await alice.say("one");

  await pause(2500);

  assert.equal(await alice.say("two"), "echo: two");
});

about("an expired token is renewed through the accessToken callback", async (it) => {
  let asked = 0;
  const accessToken = ({ chatId }) => (asked++, tokenFor(chatId));
  const first = page(it, "echo", { accessToken });
  await first.say("one");
  const expired = await tokenFor(it.chatId, new Date(Date.now() - 60_000));

  const second = page(it, "echo", { accessToken, saved: { ...first.seen.saved, publicAccessToken: expired } });

  assert.equal(await second.say("two"), "echo: two");
  assert.ok(asked >= 1);
  const statuses = second.seen.responses.map((response) => response.status);
  assert.equal(statuses[0], 401);
});
