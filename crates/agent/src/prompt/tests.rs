use std::sync::Mutex;
use std::time::Duration;

use turnkeep_model::{ModelError, Prompt, StreamParts};

use super::*;
use crate::testing::*;
use crate::{Agent, StreamText};

/// Answers one message as `answer` says and gives the prompt that the model got.
async fn prompted(
    prompt: Option<ResolvedPrompt>,
    answer: impl Fn(&TurnInput) -> Result<StreamText, HookError> + Send + Sync + 'static,
) -> Prompt {
    let session = Arc::new(FakeSession::default());
    session.say("hi");
    let seen = Arc::new(Mutex::new(None));
    let kept = seen.clone();
    let model = FakeModel::new(move |prompt| {
        *kept.lock().unwrap() = Some(prompt.clone());
        says("ok")
    });
    let answer = Arc::new(answer);
    let agent = Agent::new("test", move |turn: TurnInput| {
        if let Some(prompt) = prompt.clone() {
            turn.chat.prompt().set(prompt);
        }
        let stream = answer(&turn);
        async { stream }
    })
    .idle_timeout(Duration::ZERO);
    let lease = lease(&session, 1, json!({ "trigger": "submit-message" }));
    serve(&session, agent, model, lease).await.expect("the run ends well");
    let prompt = seen.lock().unwrap().take();
    prompt.expect("the model is asked")
}

fn with(options: ToStreamText) -> impl Fn(&TurnInput) -> Result<StreamText, HookError> + Send + Sync + 'static {
    move |turn| Ok(turn.stream_text().options(turn.to_stream_text_options(options.clone())?))
}

fn marked() -> ResolvedPrompt {
    ResolvedPrompt::new("You cook.").provider_options("openai", json!({ "store": true }))
}

/// Gives the options on the system message, which must then be the first one.
#[track_caller]
fn system_options(prompt: &Prompt) -> Value {
    assert_eq!(prompt.system, None);
    assert_eq!((prompt.messages[0].role.as_str(), prompt.messages[0].text().as_str()), ("system", "You cook."));
    assert_eq!(prompt.messages.len(), 2);
    prompt.messages[0].provider_options.clone().expect("there are options")
}

#[tokio::test(start_paused = true)]
async fn a_prompt_is_plain_text_by_default_a192_aa148() {
    let prompt = prompted(Some("You cook.".into()), with(ToStreamText::new())).await;

    assert_eq!(prompt.system.as_deref(), Some("You cook."));
    assert_eq!(prompt.messages.len(), 1);
    let none = prompted(None, with(ToStreamText::new())).await;
    assert_eq!(none.system, None);
}

#[tokio::test(start_paused = true)]
async fn cache_control_marks_the_system_message_a192_aa149() {
    for (control, want) in [
        (CacheControl::Ephemeral, json!({ "type": "ephemeral" })),
        (CacheControl::FiveMinutes, json!({ "type": "ephemeral", "ttl": "5m" })),
        (CacheControl::OneHour, json!({ "type": "ephemeral", "ttl": "1h" })),
    ] {
        let prompt = prompted(Some("You cook.".into()), with(ToStreamText::new().cache_control(control))).await;

        assert_eq!(system_options(&prompt), json!({ "anthropic": { "cacheControl": want } }));
    }
}

#[tokio::test(start_paused = true)]
async fn explicit_options_are_sent_as_they_are_a192_aa149() {
    let own = json!({ "cacheControl": { "type": "x" }, "y": [1] });
    let options = ToStreamText::new().system_provider_options("anthropic", own.clone());

    let prompt = prompted(Some("You cook.".into()), with(options)).await;

    assert_eq!(system_options(&prompt), json!({ "anthropic": own }));
}

#[tokio::test(start_paused = true)]
async fn the_nearer_options_win_whole_a192_aa150() {
    let cached = || ToStreamText::new().cache_control(CacheControl::Ephemeral);
    let explicit = || cached().system_provider_options("google", json!({ "a": 1 }));

    let of_prompt = prompted(Some(marked()), with(ToStreamText::new())).await;
    let of_cache = prompted(Some(marked()), with(cached())).await;
    let of_caller = prompted(Some(marked()), with(explicit())).await;

    assert_eq!(system_options(&of_prompt), json!({ "openai": { "store": true } }));
    assert_eq!(system_options(&of_cache), json!({ "anthropic": { "cacheControl": { "type": "ephemeral" } } }));
    assert_eq!(system_options(&of_caller), json!({ "google": { "a": 1 } }));
}

#[tokio::test(start_paused = true)]
async fn settings_of_the_prompt_are_carried_and_the_call_site_wins_a192_aa150() {
    let prompt = marked().setting("temperature", json!(0.9)).setting("topP", json!(0.5));

    let prompt = prompted(Some(prompt), |turn| {
        let options = turn.to_stream_text_options(ToStreamText::new())?;
        Ok(turn.stream_text().options(options).setting("temperature", json!(0.1)))
    })
    .await;

    assert_eq!(Value::Object(prompt.settings), json!({ "temperature": 0.1, "topP": 0.5 }));
}

#[tokio::test(start_paused = true)]
async fn a_turns_tools_win_over_tools_of_the_same_name_and_others_are_kept_a192() {
    let tool = |name: &str, description: &str| Tool::answered_by_client(name, description, json!({}));
    let skill = crate::ResolvedSkill {
        id: "s".to_owned(),
        version: "local".to_owned(),
        labels: Vec::new(),
        skill_md: String::new(),
        frontmatter: crate::SkillFrontmatter {
            name: "s".to_owned(),
            description: "d".to_owned(),
            ..Default::default()
        },
        body: String::new(),
        path: "/".into(),
    };
    let own = [tool("bash", "the author's"), tool("other", "")];

    let prompt = prompted(None, move |turn| {
        turn.chat.skills().set([skill.clone()]);
        let options = turn.to_stream_text_options(ToStreamText::new().tools(own.clone()))?;
        Ok(turn.stream_text().options(options))
    })
    .await;

    let names: Vec<_> = prompt.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["bash", "other", "loadSkill", "readFile"]);
    assert_eq!(prompt.tools[0].description.as_deref(), Some("the author's"));
}

/// Says its name.
struct Named(&'static str);

impl LanguageModel for Named {
    fn model_id(&self) -> &str {
        self.0
    }

    fn stream(&self, _: Prompt) -> futures::future::BoxFuture<'static, Result<StreamParts, ModelError>> {
        Box::pin(async { Err(ModelError::refused("it only has a name")) })
    }
}

#[tokio::test(start_paused = true)]
async fn the_prompts_model_comes_from_the_registry_a192() {
    let registry = ToStreamText::new().registry(|name| match name {
        "big" => Ok(Arc::new(Named("big-1")) as Arc<dyn LanguageModel>),
        other => Err(format!("no model `{other}`").into()),
    });
    let options = |prompt: ResolvedPrompt| {
        let registry = registry.clone();
        prompted(Some(prompt), move |turn| {
            match turn.to_stream_text_options(registry.clone()) {
                Ok(options) => assert_eq!(options.model.map(|model| model.model_id().to_owned()), Some("big-1".into())),
                Err(error) => assert_eq!(error.to_string(), "no model `small`"),
            }
            Ok(turn.stream_text())
        })
    };

    options(marked().model("big")).await;
    options(marked().model("small")).await;
}

#[test]
fn a_prompt_is_an_error_until_it_is_set_and_a_new_one_brings_its_own_options_a191() {
    let prompt = ChatPrompt::default();

    assert_eq!(prompt.get(), Err(PromptUnset));
    prompt.set(marked());
    assert_eq!(prompt.get(), Ok(marked()));
    prompt.set("You bake.");
    assert_eq!(prompt.get(), Ok(ResolvedPrompt::new("You bake.")));
}
