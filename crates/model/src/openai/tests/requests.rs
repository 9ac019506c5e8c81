//! Prompts in, bodies out.

use super::*;

#[track_caller]
fn check_sent(messages: Value, want: Value) {
    check_messages(&ChatCompletions, messages, want);
}

#[test]
fn text_and_files_of_a_person_are_sent() {
    check_sent(
        json!([
            { "role": "system", "content": "Be brief." },
            { "role": "user", "content": "Hi." },
            { "role": "user", "content": [
                { "type": "text", "text": "Look." },
                { "type": "file", "mediaType": "image/png", "data": "data:image/png;base64,AAEC",
                    "providerOptions": { "openai": { "imageDetail": "low" } } },
                { "type": "file", "mediaType": "image/*", "data": "https://a/b.png" },
                { "type": "file", "mediaType": "application/pdf", "data": "AAEC", "filename": "a.pdf" },
                { "type": "file", "mediaType": "audio/wav", "data": "data:audio/wav;base64,AAEC" },
            ] },
        ]),
        json!([
            { "role": "system", "content": "Be brief." },
            { "role": "user", "content": "Hi." },
            { "role": "user", "content": [
                { "type": "text", "text": "Look." },
                { "type": "image_url", "image_url": { "url": "data:image/png;base64,AAEC", "detail": "low" } },
                { "type": "image_url", "image_url": { "url": "https://a/b.png" } },
                { "type": "file", "file": { "filename": "a.pdf", "file_data": "data:application/pdf;base64,AAEC" } },
                { "type": "input_audio", "input_audio": { "data": "AAEC", "format": "wav" } },
            ] },
        ]),
    );
}

#[test]
fn a_file_that_the_api_does_not_take_is_refused_by_name() {
    let refused = |media_type: &str, data: &str| {
        let messages =
            json!([{ "role": "user", "content": [{ "type": "file", "mediaType": media_type, "data": data }] }]);
        ChatCompletions.body("m", &prompt(messages)).expect_err("refused").to_string()
    };

    assert_eq!(refused("text/csv", "YQ=="), "the chat completions API takes no file of type `text/csv`");
    assert_eq!(
        refused("application/pdf", "https://a/b.pdf"),
        "the chat completions API takes no file of type `application/pdf` by its address"
    );
}

#[test]
fn answers_calls_and_results_are_sent_with_errors_and_denials_a133() {
    check_sent(
        json!([
            { "role": "assistant", "content": [
                { "type": "text", "text": "Let me " },
                { "type": "text", "text": "look." },
                { "type": "tool-call", "toolCallId": "a", "toolName": "t", "input": { "q": 1 } },
                { "type": "tool-approval-request", "approvalId": "p", "toolCallId": "a" },
                { "type": "tool-call", "toolCallId": "b", "toolName": "t", "input": "{bad" },
                { "type": "tool-call", "toolCallId": "x", "toolName": "web_search", "input": {}, "providerExecuted": true },
                { "type": "tool-result", "toolCallId": "x", "toolName": "web_search", "output": { "type": "json", "value": [] } },
            ] },
            { "role": "tool", "content": [
                { "type": "tool-approval-response", "approvalId": "p", "approved": false },
                { "type": "tool-result", "toolCallId": "a", "toolName": "t", "output": { "type": "execution-denied", "reason": "too dear" } },
                { "type": "tool-result", "toolCallId": "b", "toolName": "t", "output": { "type": "error-text", "value": "bad input" } },
            ] },
            { "role": "assistant", "content": [] },
            { "role": "assistant", "content": "Done." },
        ]),
        json!([
            { "role": "assistant", "content": "Let me look.", "tool_calls": [
                { "id": "a", "type": "function", "function": { "name": "t", "arguments": "{\"q\":1}" } },
                { "id": "b", "type": "function", "function": { "name": "t", "arguments": "{}" } },
            ] },
            { "role": "tool", "tool_call_id": "a", "content": "too dear" },
            { "role": "tool", "tool_call_id": "b", "content": "bad input" },
            { "role": "assistant", "content": "Done." },
        ]),
    );
}

#[test]
fn reasoning_goes_back_only_under_the_field_it_came_in() {
    let reasoning = |text: &str, field: Value| json!({ "type": "reasoning", "text": text, "providerOptions": { "openai": { "reasoningField": field } } });
    let call = json!({ "type": "tool-call", "toolCallId": "a", "toolName": "t", "input": {} });
    check_sent(
        json!([{ "role": "assistant", "content": [
            reasoning("Hm, ", json!("reasoning_content")),
            reasoning("so.", json!("reasoning_content")),
            reasoning("x", json!("role")),
            { "type": "reasoning", "text": "mine", "providerOptions": { "anthropic": { "signature": "s" } } },
            call,
        ] }]),
        json!([{ "role": "assistant", "content": null, "reasoning_content": "Hm, so.", "tool_calls": [
            { "id": "a", "type": "function", "function": { "name": "t", "arguments": "{}" } },
        ] }]),
    );
}

#[test]
fn item_ids_of_the_provider_are_never_sent_back_af14_a102() {
    let with_id = |mut part: Value| {
        part["providerOptions"] = json!({ "openai": { "itemId": "rs_0" } });
        part
    };
    let messages = json!([
        { "role": "user", "content": [with_id(json!({ "type": "text", "text": "q" }))] },
        { "role": "assistant", "content": [
            with_id(json!({ "type": "reasoning", "text": "hm" })),
            with_id(json!({ "type": "text", "text": "a" })),
            with_id(json!({ "type": "tool-call", "toolCallId": "c", "toolName": "t", "input": {} })),
        ] },
        { "role": "tool", "content": [
            with_id(json!({ "type": "tool-result", "toolCallId": "c", "toolName": "t", "output": { "type": "text", "value": "b" } })),
        ] },
    ]);

    let body = ChatCompletions.body("gpt-5", &prompt(messages)).expect("a body").to_string();

    assert!(!body.contains("rs_0") && !body.contains("item"), "{body}");
}

#[test]
fn settings_go_under_the_apis_names() {
    let settings = || {
        object(json!({ "maxOutputTokens": 100, "temperature": 0.5, "topP": 0.9, "topK": 40, "frequencyPenalty": 1,
            "presencePenalty": 2, "stopSequences": ["END"], "seed": 7, "maxRetries": 0, "headers": { "a": "b" } }))
    };
    let with = |settings| Prompt { settings, ..Prompt::default() };

    check_fields(
        &ChatCompletions,
        "gpt-4.1",
        with(settings()),
        json!({ "max_tokens": 100, "stop": ["END"], "seed": 7, "temperature": 0.5, "top_p": 0.9,
            "frequency_penalty": 1, "presence_penalty": 2 }),
    );
    for reasoning_model in ["o3-mini", "gpt-5", "gpt-5-nano"] {
        let want = json!({ "max_completion_tokens": 100, "stop": ["END"], "seed": 7 });
        check_fields(&ChatCompletions, reasoning_model, with(settings()), want);
    }
    for other in ["gpt-5-chat-latest", "ollama", "o"] {
        let limit = object(json!({ "maxOutputTokens": 100 }));
        check_fields(&ChatCompletions, other, with(limit), json!({ "max_tokens": 100 }));
    }
    check_fields(&ChatCompletions, "m", with(object(json!({ "temperature": null }))), json!({}));
}

#[test]
fn reasoning_models_call_the_system_a_developer() {
    let prompt =
        Prompt { system: Some("Be brief.".to_owned()), ..prompt(json!([{ "role": "system", "content": "Now." }])) };

    let roles = |model_id| {
        let body = ChatCompletions.body(model_id, &prompt).expect("a body");
        [body["messages"][0]["role"].clone(), body["messages"][1]["role"].clone()]
    };

    assert_eq!(roles("gpt-5"), ["developer", "developer"]);
    assert_eq!(roles("gpt-4.1"), ["system", "system"]);
}

#[test]
fn tools_and_the_choice_among_them_are_sent() {
    let tool = ToolSpec {
        name: "t".to_owned(),
        description: Some("Does it.".to_owned()),
        input_schema: json!({ "type": "object" }),
    };
    let sent = json!([{ "type": "function", "function":
        { "name": "t", "parameters": { "type": "object" }, "description": "Does it." } }]);
    let with = |choice: Value| Prompt {
        tools: vec![tool.clone()],
        settings: object(json!({ "toolChoice": choice })),
        ..Prompt::default()
    };

    check_fields(&ChatCompletions, "m", with(json!(null)), json!({ "tools": sent }));
    for word in ["auto", "none", "required"] {
        check_fields(&ChatCompletions, "m", with(json!(word)), json!({ "tools": sent, "tool_choice": word }));
    }
    let one = json!({ "type": "function", "function": { "name": "t" } });
    let choice = json!({ "type": "tool", "toolName": "t" });
    check_fields(&ChatCompletions, "m", with(choice.clone()), json!({ "tools": sent, "tool_choice": one }));
    let no_tools = Prompt { tools: Vec::new(), ..with(choice) };
    check_fields(&ChatCompletions, "m", no_tools, json!({}));
}

#[test]
fn options_for_the_provider_are_sent_in_its_spelling_and_win() {
    let prompt = Prompt {
        settings: object(json!({ "seed": 1 })),
        provider_options: object(json!({
            "openai": { "reasoningEffort": "low", "textVerbosity": "high", "parallelToolCalls": false, "seed": 2,
                "metadata": { "orderId": "x" } },
            "anthropic": { "thinking": {} },
        })),
        ..Prompt::default()
    };

    check_fields(
        &ChatCompletions,
        "gpt-5",
        prompt,
        json!({ "seed": 2, "reasoning_effort": "low", "verbosity": "high", "parallel_tool_calls": false,
            "metadata": { "orderId": "x" } }),
    );
}
