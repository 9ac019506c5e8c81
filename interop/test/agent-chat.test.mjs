// The SDK's chat for servers.
import { about, agentChat, all, assert, out, page, said, sessions, until, within } from "../support.mjs";

const ask = async (chat, text) => within(`the answer to ${text}`, (await chat.sendMessage(text)).text());

about("a server-side chat talks for several turns", async (it) => {
  const triggered = [];
  const completed = [];
  const chat = agentChat(it, "history", {
    onTriggered: (run) => triggered.push(run),
    onTurnComplete: (turn) => completed.push(turn.lastEventId),
  });

  assert.equal(await ask(chat, "one"), "seen u:one assistants:0");
  assert.equal(await ask(chat, "two"), "seen u:one,two assistants:1");

  assert.equal(triggered.length, 1);
  assert.ok(triggered[0].runId.startsWith("run_"));
  assert.ok(Number(completed[0]) < Number(completed[1]), completed.join(" "));
});

about("a server-side chat preloads and goes on in another process", async (it) => {
  const first = agentChat(it, "history");
  const saved = await within("the preload", first.preload());
  const second = agentChat(it, "history", { session: saved });

  assert.equal(await ask(second, "one"), "seen u:one assistants:0");
  const third = agentChat(it, "history", { session: second.session });
  assert.equal(await ask(third, "two"), "seen u:one,two assistants:1");
});

about("a server-side chat sees tools and their results (`tool`)", async (it) => {
  const result = await within("the answer", (await agentChat(it, "tool").sendMessage("in Rome")).result());

  assert.equal(result.text, "It is 21C in Rome");
  assert.deepEqual(result.toolCalls.map((call) => [call.toolName, call.input]), [["getWeather", { city: "Rome" }]]);
  assert.deepEqual(result.toolResults.map((result) => result.output), [{ city: "Rome", celsius: 21 }]);
});

about("a server-side chat stops an answer and asks the next question", async (it) => {
  const chat = agentChat(it, "slow");
  const stream = await chat.sendMessage("go");
  const chunks = [];
  const reading = (async () => {
    for await (const chunk of stream) chunks.push(chunk);
  })();
  await until("some words", () => said(chunks).includes("w3"));

  await chat.stop();
  await within("the stopped answer", reading);

  assert.ok(said(chunks).length < 200);
  assert.equal(await ask(chat, "words=2"), "w0 w1");
});

about("a server-side chat sends an action", async (it) => {
  const chat = agentChat(it, "history");
  await ask(chat, "one");
  await ask(chat, "two");

  const chunks = await within("the action", all(await chat.sendAction({ type: "undo" })));

  assert.deepEqual(chunks, []);
  assert.equal(await ask(chat, "three"), "seen u:one,three assistants:1");
});

about("a server-side chat and a page talk in one session", async (it) => {
  const chat = agentChat(it, "history");
  await ask(chat, "one");
  const alice = page(it, "history", { saved: undefined });

  await within("the answer", alice.chat.sendMessage({ text: "two" }));

  const row = await sessions.retrieve(it.chatId);
  assert.equal(row.externalId, it.chatId);
  assert.ok(alice.texts().at(-1).endsWith("seen u:one,two assistants:1"), alice.texts().at(-1));
  assert.ok((await out(it.chatId)).includes("TURN-COMPLETE"));
});

about("a steered message is answered though no one waits for it", async (it) => {
  const chat = agentChat(it, "slow");
  const stream = await chat.sendMessage("words=10");

  assert.equal(await chat.steer("words=3"), true);
  await within("the answer", stream.text());

  await until("both answers", async () => (await out(it.chatId)).filter((kind) => kind === "TURN-COMPLETE").length === 2);
});
