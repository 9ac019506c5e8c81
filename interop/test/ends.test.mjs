// Runs and sessions end, and chats go on or do not.
import { about, agentChat, assert, chunkOf, headerOf, out, page, pause, records, runs, sessions, start, textOf, until, within } from "../support.mjs";

const runOf = async (chatId) => (await sessions.retrieve(chatId)).currentRunId;

about("a run that ended is continued by the next message (`endrun`)", async (it) => {
  const alice = page(it, "endrun");

  assert.equal(await alice.say("one"), "seen u:one assistants:0");
  const first = await runOf(it.chatId);
  assert.equal(await alice.say("two"), "seen u:one,two assistants:1");
  assert.equal(await alice.say("three"), "seen u:one,two,three assistants:2");

  assert.notEqual(await runOf(it.chatId), first);
});

about("a run that waited in vain is continued by the next message (`timeout`)", async (it) => {
  const alice = page(it, "timeout");
  assert.equal(await alice.say("one"), "seen u:one assistants:0");
  const first = await runOf(it.chatId);

  await pause(1500);

  assert.equal(await alice.say("two"), "seen u:one,two assistants:1");
  assert.notEqual(await runOf(it.chatId), first);
});

about("an upgrade answers the message in a new run, in one stream (`upgrade`)", async (it) => {
  const alice = page(it, "upgrade");

  assert.equal(await alice.say("one"), "seen u:one assistants:0");

  assert.deepEqual(alice.texts(), ["one", "seen u:one assistants:0"]);
  const kinds = await out(it.chatId);
  assert.deepEqual(kinds.filter((kind) => kind === kind.toUpperCase()), ["UPGRADE-REQUIRED", "TURN-COMPLETE"]);
  assert.equal(await alice.say("two"), "seen u:one,two assistants:1");
});

about("a server-side chat reads over an upgrade (`upgrade`)", async (it) => {
  const chat = agentChat(it, "upgrade");

  assert.equal(await within("the answer", (await chat.sendMessage("one")).text()), "seen u:one assistants:0");
});

about("a run that dies before it answers is tried again (`crashonce`)", async (it) => {
  const alice = page(it, "crashonce");
  assert.equal(await alice.say("boom"), "seen u:boom assistants:0");

  assert.equal(await alice.say("two"), "seen u:boom,two assistants:1");
  assert.deepEqual(alice.texts().length, 4);
});

about("an agent closes its session with a reason (`closer`, RC-9, RC-20)", async (it) => {
  const alice = page(it, "closer");
  assert.equal(await alice.say("hello"), "echo: hello");

  assert.equal(await alice.say("well, goodbye"), "echo: well, goodbye");

  assert.equal(alice.transport.sessionStatus(it.chatId), "closed");
  assert.equal(alice.transport.sessionClosedReason(it.chatId), "agent said so");
  const last = (await records(it.chatId, "out")).at(-1);
  assert.deepEqual([headerOf(last, "trigger-control"), headerOf(last, "session-closed"), headerOf(last, "session-closed-reason")], [
    "turn-complete", "true", "agent said so",
  ]);
  await within("the refusal", alice.chat.sendMessage({ text: "still there?" }));
  assert.match(String(alice.seen.errors[0]), /is closed: agent said so/);
});

about("a page that does not know of the close is refused by the append, for good (RC-3, RC-9)", async (it) => {
  const alice = page(it, "echo");
  await alice.say("hello");
  await sessions.close(it.chatId, { reason: "enough" });

  const began = Date.now();
  await within("the refusal", alice.chat.sendMessage({ text: "still there?" }));

  assert.ok(Date.now() - began < 5000);
  const [error] = alice.seen.errors;
  assert.deepEqual([error.status, error.code, error.closedReason], [409, "session_closed", "enough"]);
  assert.equal(alice.transport.sessionStatus(it.chatId), "closed");
});

about("a close from outside reaches who watches (RC-20)", async (it) => {
  const alice = page(it, "echo");
  await alice.say("hello");
  const { publicAccessToken, lastEventId } = alice.seen.saved;
  const bob = page(it, "echo", { watch: true, saved: { publicAccessToken, lastEventId, isStreaming: false } });
  const watching = bob.chat.resumeStream();
  await until("the watch", () => bob.seen.responses.length > 0);

  await sessions.close(it.chatId, { reason: "enough" });
  await within("the watch's end", watching);

  assert.equal(bob.transport.sessionClosedReason(it.chatId), "enough");
  assert.ok(bob.seen.events.some((event) => event.type === "session-closed" && event.reason === "enough"));
});

about("a close in mid-answer lets the answer end (RC-20)", async (it) => {
  const alice = page(it, "slow");
  const asked = alice.chat.sendMessage({ text: "words=20" });
  await until("some words", () => alice.chat.messages.length === 2 && textOf(alice.chat.lastMessage).includes("w3"));

  await sessions.close(it.chatId, { reason: "enough" });
  await within("the answer", asked);

  assert.equal(textOf(alice.chat.lastMessage).split(" ").length, 20);
  assert.equal(alice.transport.sessionClosedReason(it.chatId), "enough");
});

about("the SDK cancels a run in mid-answer: the answer stays as it was cut, and the chat goes on (`slow`)", async (it) => {
  const alice = page(it, "slow");
  const answer = alice.chat.sendMessage({ text: "words=200" });
  await until("some words", () => alice.chat.messages.length === 2 && textOf(alice.chat.lastMessage).includes("w3"));
  const cancelled = await runOf(it.chatId);

  assert.deepEqual(await runs.cancel(cancelled), { id: cancelled });
  assert.deepEqual(await runs.cancel(cancelled), { id: cancelled }, "it is over already");
  await within("the end of the cut answer", answer);
  const cut = textOf(alice.chat.lastMessage);

  assert.notEqual(await runOf(it.chatId), cancelled);
  assert.deepEqual((await out(it.chatId)).slice(-2), ["abort", "TURN-COMPLETE"]);
  assert.ok(cut.split(" ").length < 200, cut);
  await alice.say("words=2");
  assert.equal(alice.texts()[1], cut);
  await assert.rejects(runs.cancel("run_never"), /Run not found/);
});

about("the SDK's own client takes a closed session's refusal as final (RC-3)", async (it) => {
  await start(it.chatId, "echo");
  await sessions.close(it.chatId);

  const began = Date.now();
  await assert.rejects(within("create", start(it.chatId, "echo")), (error) => error.status === 409);
  await assert.rejects(within("append", sessions.open(it.chatId).in.send({ kind: "stop" })), (error) => error.status === 409);

  assert.ok(Date.now() - began < 5000, `${Date.now() - began} ms`);
});

about("a server-side chat ends its run and goes on with another (`history`)", async (it) => {
  const chat = agentChat(it, "history");
  assert.equal(await (await chat.sendMessage("one")).text(), "seen u:one assistants:0");
  const first = await runOf(it.chatId);

  assert.equal(await chat.close(), true);

  assert.equal(await within("the answer", (await chat.sendMessage("two")).text()), "seen u:one,two assistants:1");
  assert.notEqual(await runOf(it.chatId), first);
});

about("no record of any run has another's id (RC-5)", async (it) => {
  const alice = page(it, "endrun");
  const seen = new Map();
  for (const text of ["one", "two", "three"]) {
    await alice.say(text);
    // Old turns are trimmed: what was there once is remembered here.
    for (const record of await records(it.chatId, "out")) if (chunkOf(record)?.type) seen.set(record.seqNum, record.id);
  }

  assert.ok(seen.size > 24, `${seen.size} records`);
  assert.equal(new Set(seen.values()).size, seen.size);
});
