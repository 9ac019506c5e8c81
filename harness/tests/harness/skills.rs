//! Skills on a machine that has neither files nor programs of its own (A-251…A-255).

use serde_json::json;
use turnkeep_agent::{Agent, Boot, Skill, ToStreamText, TurnInput, step_count_is};
use turnkeep_harness::model::{MockLanguageModel, call, say};
use turnkeep_harness::{MemoryFiles, MockChat, ScriptedProcesses, offline_host};

const SKILL: &str = "---\nname: pdf\ndescription: Reads PDF files\n---\n\nRun `read.sh`.\n";

fn reader() -> Agent {
    Agent::new("reader", |turn: TurnInput| async move {
        let options = turn.to_stream_text_options(ToStreamText::new())?;
        Ok(turn.stream_text().options(options).stop_when(step_count_is(3)))
    })
    .on_boot(|boot: Boot| async move {
        boot.chat.skills().set([Skill::define("pdf", "skills/pdf").local(boot.chat.host()).await?]);
        Ok(())
    })
}

#[tokio::test(start_paused = true)]
async fn a_skills_command_is_played_by_the_test_and_runs_nothing_a255_a254_aa157() {
    let files = MemoryFiles::new().file("skills/pdf/SKILL.md", SKILL);
    let host = offline_host(1).with_files(files).with_processes(ScriptedProcesses::saying("two pages"));
    let model = MockLanguageModel::new()
        .step([call("loadSkill", json!({ "name": "pdf" }))])
        .step([call("bash", json!({ "skill": "pdf", "command": "bash read.sh a.pdf" }))])
        .step([say("It has two pages.")]);
    let mut chat = MockChat::new(reader()).on(host).start(&model).await;

    let turn = chat.send("How long is a.pdf?").await;

    turn.assert_text("It has two pages.");
    assert_eq!(turn.tools(), ["loadSkill", "bash"]);
    let outputs: Vec<_> = chat.messages()[1].tool_parts().map(|part| part.output.clone().unwrap()).collect();
    assert_eq!(outputs[0]["body"], "Run `read.sh`.\n");
    assert_eq!(outputs[1], json!({ "exitCode": 0, "stdout": "two pages", "stderr": "" }));
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_script_no_program_runs_in_a_test_a255() {
    let host = offline_host(1).with_files(MemoryFiles::new().file("skills/pdf/SKILL.md", SKILL));
    let model = MockLanguageModel::new()
        .step([call("bash", json!({ "skill": "pdf", "command": "true" }))])
        .step([say("I cannot.")]);
    let mut chat = MockChat::new(reader()).on(host).start(&model).await;

    chat.send("How long is a.pdf?").await.assert_text("I cannot.");

    let told = chat.messages()[1].tool_parts().next().unwrap().output.clone().unwrap();
    assert_eq!(told, json!({ "error": "the command did not run: there are no processes here" }));
    chat.finish().await;
}
