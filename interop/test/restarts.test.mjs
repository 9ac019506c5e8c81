// The server ends, kindly or not, and comes back on what its disk has.
import { after } from "node:test";
import { serve } from "../serving.mjs";

const server = await serve();
process.env.TURNKEEP_URL = server.url;
const { about, agentChat, assert, out, page, records, sessions, settings, textOf, until, within } = await import("../support.mjs");

// Each of these cases takes the server away from all.
settings.atATime = 1;
after(() => server.remove());

async function restart(signal) {
  await server.stop(signal);
  await server.start();
}

for (const [how, signal] of [["is told to end", "SIGTERM"], ["is killed", "SIGKILL"]]) {
  about(`a chat goes on where it was after its server ${how} between two turns`, async (it) => {
    const alice = page(it, "history");
    assert.equal(await alice.say("one"), "seen u:one assistants:0");
    assert.equal(await alice.say("two"), "seen u:one,two assistants:1");
    const before = await records(it.chatId, "in");

    await restart(signal);

    assert.deepEqual(await records(it.chatId, "in"), before);
    assert.equal(await alice.say("three"), "seen u:one,two,three assistants:2");
    assert.deepEqual(alice.texts().filter((_, at) => at % 2 === 0), ["one", "two", "three"]);
  });
}

about("an answer that a killed server cut is closed in the page, and the next question is answered whole", async (it) => {
  const alice = page(it, "slow");
  const asked = alice.chat.sendMessage({ text: "words=40" });
  await until("some words", () => alice.chat.lastMessage && textOf(alice.chat.lastMessage).includes("w5"));

  await restart("SIGKILL");

  await within("the answer", asked);
  const stored = await out(it.chatId);
  assert.deepEqual(stored.slice(-2), ["abort", "TURN-COMPLETE"]);
  const words = stored.filter((kind) => kind === "text-delta").length;
  assert.equal(textOf(alice.chat.lastMessage), Array.from({ length: words }, (_, at) => `w${at}`).join(" "));
  assert.equal(await alice.say("words=3"), "w0 w1 w2");
});

about("a server-side chat and the session's row outlive a killed server", async (it) => {
  const chat = agentChat(it, "history");
  assert.equal(await within("the answer", (await chat.sendMessage("one")).text()), "seen u:one assistants:0");
  const row = await sessions.retrieve(it.chatId);

  await restart("SIGKILL");

  assert.deepEqual((await sessions.retrieve(it.chatId)).id, row.id);
  assert.equal(await within("the answer", (await chat.sendMessage("two")).text()), "seen u:one,two assistants:1");
});
