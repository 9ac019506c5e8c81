// Tools: the server's own, the page's, and those that a person has to allow.
import { lastAssistantMessageIsCompleteWithApprovalResponses, lastAssistantMessageIsCompleteWithToolCalls } from "ai";
import { about, assert, out, page, textOf, toolOf, until, within } from "../support.mjs";

const whenAnswered = { chat: { sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithToolCalls } };
const whenDecided = { chat: { sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithApprovalResponses } };

/** Waits until the newest message ends so, and nothing is under way. */
const ends = (alice, text) =>
  until(`an answer that ends with ${text}`, () => textOf(alice.chat.lastMessage).endsWith(text) && alice.chat.status === "ready");

about("a server tool runs between two steps (`tool`)", async (it) => {
  const alice = page(it, "tool");

  assert.equal(await alice.say("What is it like in Oslo?"), "It is 21C in Oslo");

  const { parts } = alice.chat.lastMessage;
  assert.deepEqual(parts.map((part) => part.type), ["step-start", "tool-getWeather", "step-start", "text"]);
  assert.deepEqual([parts[1].state, parts[1].input, parts[1].output], ["output-available", { city: "Oslo" }, { city: "Oslo", celsius: 21 }]);
  assert.equal(await alice.say("and at home?"), "It is 21C in Paris");
});

about("a person's answer goes on with the same message (`hitl`)", async (it) => {
  const alice = page(it, "hitl", whenAnswered);
  await within("the question", alice.chat.sendMessage({ text: "ask me" }));
  const call = toolOf(alice.chat.lastMessage);
  assert.deepEqual([call.state, call.input], ["input-available", { question: "what color?" }]);

  await alice.chat.addToolOutput({ tool: "askUser", toolCallId: call.toolCallId, output: { color: "blue" } });
  await ends(alice, "you said: blue");

  assert.equal(alice.chat.messages.length, 2);
  assert.deepEqual(alice.seen.errors, []);
});

about("an answer after a reload goes on with the same message (`hitl`)", async (it) => {
  const before = page(it, "hitl");
  await within("the question", before.chat.sendMessage({ text: "ask me" }));
  const alice = page(it, "hitl", { ...whenAnswered, saved: before.seen.saved, messages: before.chat.messages });
  const call = toolOf(alice.chat.lastMessage);

  await alice.chat.addToolOutput({ tool: "askUser", toolCallId: call.toolCallId, output: { color: "red" } });
  await ends(alice, "you said: red");

  assert.equal(alice.chat.messages.length, 2);
});

for (const [approved, text] of [[true, "deleted widget-1"], [false, "kept widget-1"]]) {
  about(`a person ${approved ? "allows" : "forbids"} a call (\`approval\`, RC-11)`, async (it) => {
    const alice = page(it, "approval", whenDecided);
    await within("the request", alice.chat.sendMessage({ text: "delete it" }));
    const call = toolOf(alice.chat.lastMessage);
    assert.equal(call.state, "approval-requested");

    await alice.chat.addToolApprovalResponse({ id: call.approval.id, approved });
    await ends(alice, text);

    const decided = toolOf(alice.chat.lastMessage);
    assert.equal(decided.state, approved ? "output-available" : "output-denied");
    assert.equal(alice.chat.messages.length, 2);
    const told = await out(it.chatId);
    const second = told.slice(told.indexOf("TURN-COMPLETE") + 1);
    const outcome = second.indexOf(approved ? "tool-output-available" : "tool-output-denied");
    assert.ok(outcome >= 0 && outcome < second.indexOf("start-step"), second.join(" "));
    assert.equal(await alice.say("delete it again").then(() => toolOf(alice.chat.lastMessage).state), "approval-requested");
  });
}
