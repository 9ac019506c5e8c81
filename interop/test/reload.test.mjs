// Pages come and go: reloads, lost connections, other tabs, watchers.
import { about, agentChat, all, append, assert, channel, page, pause, records, said, sessions, start, textOf, tokenFor, until, url, within } from "../support.mjs";
import { SSEStreamSubscription } from "@trigger.dev/core/v3";

/** Begins an answer and waits until some of it is shown. */
async function halfway(it, agent, text, options) {
  const first = page(it, agent, options);
  const asked = first.chat.sendMessage({ text });
  await until("some words", () => first.chat.messages.length === 2 && textOf(first.chat.lastMessage).includes("w5"));
  return { first, asked, saved: structuredClone(first.seen.saved) };
}

about("a reload in mid-stream shows the whole answer once (RC-6, RC-7)", async (it) => {
  const { first, saved } = await halfway(it, "slow", "words=25");
  first.transport.dispose();

  const second = page(it, "slow", { saved, messages: first.chat.messages.slice(0, 1) });
  await within("the rest", second.chat.resumeStream());

  const want = Array.from({ length: 25 }, (_, at) => `w${at}`).join(" ");
  assert.deepEqual(second.texts(), ["words=25", want]);
  assert.equal(saved.isStreaming, true);
  assert.equal(saved.lastEventId, undefined, "turn one's start is no cursor at all");
  const read = second.seen.requests.find((request) => request.url.endsWith("/out"));
  assert.equal(read.headers.get("x-peek-settled"), null);
  assert.equal(await second.say("words=2"), "w0 w1");
});

about("a reload in mid-stream of a later turn starts at that turn (RC-6)", async (it) => {
  const first = page(it, "slow");
  await first.say("words=3");
  const asked = first.chat.sendMessage({ text: "words=20" });
  await until("some words", () => first.chat.messages.length === 4 && textOf(first.chat.lastMessage).includes("w4"));
  const saved = structuredClone(first.seen.saved);
  first.transport.dispose();
  await asked;

  const second = page(it, "slow", { saved, messages: first.chat.messages.slice(0, 3) });
  await within("the rest", second.chat.resumeStream());

  assert.deepEqual(second.texts().slice(0, 3), ["words=3", "w0 w1 w2", "words=20"]);
  assert.equal(textOf(second.chat.lastMessage).split(" ").length, 20);
});

about("a reload after the answer asks for nothing (RC-7)", async (it) => {
  const first = page(it, "history");
  await first.say("one");

  const second = page(it, "history", { saved: first.seen.saved, messages: first.chat.messages });
  await within("nothing", second.chat.resumeStream());

  assert.deepEqual(second.seen.requests, []);
  assert.equal(await second.say("two"), "seen u:one,two assistants:1");
});

about("a reload that does not know whether it is settled is told so at once", async (it) => {
  const first = page(it, "history");
  await first.say("one");
  const { publicAccessToken, lastEventId } = first.seen.saved;

  const second = page(it, "history", { saved: { publicAccessToken, lastEventId } });
  const began = Date.now();
  await within("the end", second.chat.resumeStream());

  assert.ok(Date.now() - began < 10_000);
  const read = second.seen.responses.find((response) => response.url.endsWith("/out"));
  assert.equal(read.headers.get("x-session-settled"), "true");
  assert.deepEqual(second.chat.messages, []);
});

about("a page whose connection breaks in mid-answer misses nothing and repeats nothing (RC-18)", async (it) => {
  let reads = 0;
  const breaking = async (input, init) => {
    const response = await fetch(input, init);
    if (!String(input).endsWith("/out") || reads++ > 0) return response;
    let left = 6;
    const cut = new TransformStream({
      transform: (chunk, to) => (left-- > 0 ? to.enqueue(chunk) : to.error(new TypeError("network"))),
    });
    return new Response(response.body.pipeThrough(cut), { status: response.status, headers: response.headers });
  };
  const alice = page(it, "slow", { fetch: breaking });

  assert.equal(await alice.say("words=20"), Array.from({ length: 20 }, (_, at) => `w${at}`).join(" "));
  assert.ok(reads >= 2);
});

about("a watcher sees the turns of others as they come (RC-15)", async (it) => {
  const alice = page(it, "slow");
  await alice.say("words=2");
  const { publicAccessToken, lastEventId } = alice.seen.saved;
  const bob = page(it, "slow", { watch: true, streamTimeoutSeconds: 1, saved: { publicAccessToken, lastEventId, isStreaming: false } });
  const watching = bob.chat.resumeStream();

  await pause(1500);
  await alice.say("words=4");
  await until("the first turn", () => bob.chat.messages.length === 1 && textOf(bob.chat.messages[0]) === "w0 w1 w2 w3");
  await alice.say("words=3");
  await until("the second turn", () => textOf(bob.chat.lastMessage).endsWith("w0 w1 w2"));

  bob.transport.dispose();
  await within("the watch's end", watching);
});

about("two tabs: one talks, the other reads only, then it is the other's turn", async (it) => {
  const alice = page(it, "slow", { multiTab: true });
  const other = page(it, "slow", { multiTab: true });
  const asked = alice.chat.sendMessage({ text: "words=20" });
  await until("the claim", () => other.transport.isReadOnly(it.chatId));
  await other.chat.sendMessage({ text: "me too" });
  assert.match(String(other.seen.errors[0]), /active in another tab/);

  await within("the answer", asked);
  await until("the release", () => !other.transport.isReadOnly(it.chatId));
  other.seen.errors.length = 0;
  other.chat.messages = [];

  const last = await other.say("words=3");
  assert.ok(last.endsWith("w0 w1 w2"), last);
});

about("racing tabs of one chat make one session, and each is answered (RC-12)", async (it) => {
  // Turns this short are over before some tabs read: what a trim dooms stays readable for a while (S-89).
  const tabs = Array.from({ length: 4 }, () => page(it, "history"));

  await within("all", Promise.all(tabs.map((tab, at) => tab.chat.sendMessage({ text: `m${at}` }))));

  assert.deepEqual(tabs.flatMap((tab) => tab.seen.errors), []);
  for (const [at, tab] of tabs.entries()) assert.match(textOf(tab.chat.lastMessage), new RegExp(`m${at} assistants:`));
  assert.equal((await records(it.chatId, "in")).length, 4);
  assert.equal((await sessions.retrieve(it.chatId)).externalId, it.chatId);
});

about("a subscription outlives stalls of a silent agent (RC-2, RC-18)", async (it) => {
  const token = await tokenFor(it.chatId);
  await start(it.chatId, "think");
  await append(it.chatId, "well");
  const subscription = new SSEStreamSubscription(`${url}${channel(it.chatId, "out")}`, {
    headers: { authorization: `Bearer ${token}` },
    stallTimeoutMs: 900,
    retryDelayMs: 10,
    timeoutInSeconds: 20,
  });

  const reader = (await subscription.subscribe()).getReader();
  const ids = [];
  let text = "";
  for (;;) {
    const { value } = await within("the next part", reader.read());
    ids.push(Number(value.id));
    if (value.chunk?.type === "text-delta") text += value.chunk.delta;
    if (value.headers.some(([name]) => name === "trigger-control")) break;
  }
  await reader.cancel();

  assert.equal(text, "echo: well");
  assert.deepEqual(ids, ids.map((_, at) => ids[0] + at), "each record once, in order");
});

about("a subscription that stalls for good gives up: pings are no records (RC-2)", async (it) => {
  await start(it.chatId, "echo");
  const subscription = new SSEStreamSubscription(`${url}${channel(it.chatId, "out")}`, {
    headers: { authorization: `Bearer ${await tokenFor(it.chatId)}` },
    stallTimeoutMs: 300,
    maxStallRetries: 1,
    retryDelayMs: 10,
  });

  const reader = (await subscription.subscribe()).getReader();

  await assert.rejects(within("the end", reader.read()), /stalled/);
});

about("a reader of what is not there, or not his, is told for good (RC-4, RC-17)", async (it) => {
  await start(it.chatId, "echo");
  const open = async (id, headers) => {
    const subscription = new SSEStreamSubscription(`${url}${channel(id, "out")}`, { headers, retryDelayMs: 10 });
    return within("the refusal", (await subscription.subscribe()).getReader().read(), 3000);
  };
  const bearer = (token) => ({ authorization: `Bearer ${token}` });

  const own = await tokenFor(it.chatId);
  const unknown = `session_${it.chatId.replace(/-/g, "")}`;
  await assert.rejects(open(unknown, bearer(await tokenFor(unknown))), (error) => error.status === 404);
  await assert.rejects(open(it.chatId, bearer("nonsense")), (error) => error.status === 401);
  await assert.rejects(open(it.chatId, bearer(await tokenFor("another"))), (error) => error.status === 403);
  await assert.rejects(open(it.chatId, { ...bearer(own), Accept: "application/json" }), (error) => error.status === 400);
});

about("a page that knows a chat which the server does not know makes it anew (RC-17)", async (it) => {
  const saved = { publicAccessToken: await tokenFor(it.chatId), lastEventId: "41", isStreaming: false };
  const alice = page(it, "history", { saved });

  assert.equal(await alice.say("one"), "seen u:one assistants:0");

  const statuses = alice.seen.responses.filter((response) => response.url.endsWith("/append")).map((response) => response.status);
  assert.deepEqual(statuses, [404, 200]);
});

about("a server-side chat reconnects in mid-turn and when it is settled (RC-16)", async (it) => {
  const first = agentChat(it, "slow");
  const stream = await first.sendMessage("words=20");
  const reader = stream.stream.getReader();
  await within("a chunk", reader.read());

  const second = agentChat(it, "slow", { session: { lastEventId: undefined } });
  const chunks = await within("the whole turn", all(await second.reconnect()));
  assert.equal(said(chunks).split(" ").length, 20);

  const settled = agentChat(it, "slow", { session: second.session });
  assert.deepEqual(await within("nothing", all(await settled.reconnect()), 3000), []);
  await reader.cancel();
});
