//! Prompts in, bodies out.

use super::*;

#[track_caller]
fn check_sent(messages: Value, want: Value) {
    check_messages(&Messages, messages, want);
}

#[track_caller]
fn check_options(settings: Value, options: Value, want: Value) {
    let provider_options = object(json!({ "anthropic": options, "openai": { "reasoningEffort": "low" } }));
    let prompt = Prompt { settings: object(settings), provider_options, ..Prompt::default() };
    check_fields(&Messages, "m", prompt, want);
}

#[test]
fn system_texts_have_a_place_of_their_own() {
    let mark = json!({ "anthropic": { "cacheControl": { "type": "ephemeral" } } });
    let messages = json!([
        { "role": "system", "content": "You know Oslo.", "providerOptions": mark },
        { "role": "user", "content": "Hi." },
        { "role": "system", "content": "It is late." },
        { "role": "user", "content": "Rain?" },
    ]);
    let prompt = Prompt { system: Some("Be brief.".to_owned()), ..prompt(messages) };

    let body = Messages.body("m", &prompt).expect("a body");

    let want = json!([
        { "type": "text", "text": "Be brief." },
        { "type": "text", "text": "You know Oslo.", "cache_control": { "type": "ephemeral" } },
        { "type": "text", "text": "It is late." },
    ]);
    assert_eq!(body["system"], want);
    let said = json!([{ "role": "user", "content": [{ "type": "text", "text": "Hi." }, { "type": "text", "text": "Rain?" }] }]);
    assert_eq!(body["messages"], said);
}

#[test]
fn text_and_files_of_a_person_are_sent() {
    let file = |media_type: &str, data: &str| json!({ "type": "file", "mediaType": media_type, "data": data });
    let document = json!({ "type": "file", "mediaType": "application/pdf", "data": "AAEC", "filename": "a.pdf",
        "providerOptions": { "anthropic": { "citations": { "enabled": true }, "context": "Old.", "cacheControl": { "type": "ephemeral" } } } });
    check_sent(
        json!([{ "role": "user", "content": [
            { "type": "text", "text": "" },
            { "type": "text", "text": "Look." },
            file("image/png", "data:image/png;base64,AAEC"),
            file("image/*", "https://a/b.png"),
            file("image/*", "AAEC"),
            document,
            file("application/pdf", "https://a/b.pdf"),
            file("text/plain", "data:text/plain,a%20b"),
            { "type": "data-x", "data": 1 },
        ] }]),
        json!([{ "role": "user", "content": [
            { "type": "text", "text": "Look." },
            { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AAEC" } },
            { "type": "image", "source": { "type": "url", "url": "https://a/b.png" } },
            { "type": "image", "source": { "type": "base64", "media_type": "image/jpeg", "data": "AAEC" } },
            { "type": "document", "source": { "type": "base64", "media_type": "application/pdf", "data": "AAEC" },
                "title": "a.pdf", "context": "Old.", "citations": { "enabled": true }, "cache_control": { "type": "ephemeral" } },
            { "type": "document", "source": { "type": "url", "url": "https://a/b.pdf" } },
            { "type": "document", "source": { "type": "text", "media_type": "text/plain", "data": "a b" } },
        ] }]),
    );
}

#[test]
fn a_file_that_the_api_does_not_take_is_refused_by_name() {
    let refused = |media_type: &str, data: &str| {
        let messages =
            json!([{ "role": "user", "content": [{ "type": "file", "mediaType": media_type, "data": data }] }]);
        Messages.body("m", &prompt(messages)).expect_err("refused").to_string()
    };

    assert_eq!(refused("audio/wav", "AAEC"), "the messages API takes no file of type `audio/wav`");
    assert_eq!(refused("text/plain", "gA=="), "a file of type `text/plain` is not UTF-8");
}

#[test]
fn answers_calls_and_results_are_sent_in_turns_with_errors_and_denials_a133() {
    let result =
        |id: &str, output: Value| json!({ "type": "tool-result", "toolCallId": id, "toolName": "t", "output": output });
    check_sent(
        json!([
            { "role": "user", "content": "Rain?" },
            { "role": "assistant", "content": [
                { "type": "text", "text": "Let me look. " },
                { "type": "tool-call", "toolCallId": "a", "toolName": "t", "input": { "q": 1 } },
                { "type": "tool-approval-request", "approvalId": "p", "toolCallId": "a" },
                { "type": "tool-call", "toolCallId": "b", "toolName": "t", "input": "{bad" },
            ] },
            { "role": "tool", "content": [
                { "type": "tool-approval-response", "approvalId": "p", "approved": false },
                result("a", json!({ "type": "execution-denied" })),
                result("b", json!({ "type": "error-json", "value": { "why": "bad" } })),
            ] },
            { "role": "user", "content": "And?" },
            { "role": "assistant", "content": "It will " },
        ]),
        json!([
            { "role": "user", "content": [{ "type": "text", "text": "Rain?" }] },
            { "role": "assistant", "content": [
                { "type": "text", "text": "Let me look. " },
                { "type": "tool_use", "id": "a", "name": "t", "input": { "q": 1 } },
                { "type": "tool_use", "id": "b", "name": "t", "input": {} },
            ] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "a", "content": "Tool call execution denied.", "is_error": true },
                { "type": "tool_result", "tool_use_id": "b", "content": r#"{"why":"bad"}"#, "is_error": true },
                { "type": "text", "text": "And?" },
            ] },
            // The last word is what the model goes on from; the API wants no white space at its end.
            { "role": "assistant", "content": [{ "type": "text", "text": "It will" }] },
        ]),
    );
}

#[test]
fn results_come_before_texts_and_may_hold_files() {
    let content = json!([
        { "type": "text", "text": "a map" },
        { "type": "image-data", "data": "AAEC", "mediaType": "image/png" },
        { "type": "file-data", "data": "AAEC", "mediaType": "application/pdf", "filename": "a.pdf" },
        { "type": "image-url", "url": "https://a/b.png" },
        { "type": "new" },
    ]);
    check_sent(
        json!([
            { "role": "user", "content": "Now." },
            { "role": "tool", "content": [{ "type": "tool-result", "toolCallId": "a", "toolName": "t",
                "output": { "type": "content", "value": content } }] },
        ]),
        json!([{ "role": "user", "content": [
            { "type": "tool_result", "tool_use_id": "a", "content": [
                { "type": "text", "text": "a map" },
                { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AAEC" } },
                { "type": "document", "source": { "type": "base64", "media_type": "application/pdf", "data": "AAEC" } },
                { "type": "image", "source": { "type": "url", "url": "https://a/b.png" } },
                { "type": "text", "text": r#"{"type":"new"}"# },
            ] },
            { "type": "text", "text": "Now." },
        ] }]),
    );
}

#[test]
fn reasoning_goes_back_with_its_seal_or_not_at_all() {
    let reasoning =
        |options: Value| json!({ "type": "reasoning", "text": "hm", "providerOptions": { "anthropic": options } });
    let messages = || {
        json!([{ "role": "assistant", "content": [
            reasoning(json!({ "signature": "s" })),
            reasoning(json!({ "redactedData": "d" })),
            reasoning(json!({})),
            { "type": "text", "text": "Hi." },
        ], "providerOptions": { "anthropic": { "cacheControl": { "type": "ephemeral" } } } }])
    };
    let text = json!({ "type": "text", "text": "Hi.", "cache_control": { "type": "ephemeral" } });
    check_sent(
        messages(),
        json!([{ "role": "assistant", "content": [
            { "type": "thinking", "thinking": "hm", "signature": "s" },
            { "type": "redacted_thinking", "data": "d" },
            text,
        ] }]),
    );
    let provider_options = object(json!({ "anthropic": { "sendReasoning": false } }));
    let body = Messages.body("m", &Prompt { provider_options, ..prompt(messages()) }).expect("a body");
    assert_eq!(body["messages"], json!([{ "role": "assistant", "content": [text] }]));
}

#[test]
fn what_the_provider_ran_goes_back_as_it_came_a132() {
    let options = |options: Value| json!({ "anthropic": options });
    let call = |id: &str, name: &str, said: Value| json!({ "type": "tool-call", "toolCallId": id, "toolName": name, "input": {}, "providerExecuted": true, "providerOptions": said });
    let result = |id: &str, output: Value, said: Value| json!({ "type": "tool-result", "toolCallId": id, "toolName": "x", "output": output, "providerOptions": said });
    let (search, mcp) = (json!({ "type": "web_search_tool_result" }), json!({ "type": "mcp_tool_result" }));
    check_sent(
        json!([{ "role": "assistant", "content": [
            call("s", "web_search", options(json!({ "type": "server_tool_use" }))),
            result("s", json!({ "type": "json", "value": [1] }), options(search.clone())),
            result("f", json!({ "type": "error-text", "value": "unavailable" }), options(search)),
            call("m", "echo", options(json!({ "type": "mcp_tool_use", "serverName": "e" }))),
            result("m", json!({ "type": "error-text", "value": "no" }), options(mcp)),
            call("foreign", "x", json!({ "other": {} })),
            result("foreign", json!({ "type": "json", "value": 1 }), json!({ "other": {} })),
        ] }]),
        json!([{ "role": "assistant", "content": [
            { "type": "server_tool_use", "id": "s", "name": "web_search", "input": {} },
            { "type": "web_search_tool_result", "tool_use_id": "s", "content": [1] },
            { "type": "web_search_tool_result", "tool_use_id": "f", "content":
                { "type": "web_search_tool_result_error", "error_code": "unavailable" } },
            { "type": "mcp_tool_use", "id": "m", "name": "echo", "input": {}, "server_name": "e" },
            { "type": "mcp_tool_result", "tool_use_id": "m", "is_error": true, "content": [{ "type": "text", "text": "no" }] },
        ] }]),
    );
}

#[test]
fn settings_and_options_go_under_the_apis_names() {
    check_options(json!({}), json!({}), json!({ "max_tokens": 4096 }));
    check_options(
        json!({ "maxOutputTokens": 100, "temperature": 0.5, "topP": 0.9, "topK": 40, "stopSequences": ["END"], "seed": 7 }),
        json!({ "effort": "low", "serviceTier": "auto", "cacheControl": { "type": "ephemeral" } }),
        json!({ "max_tokens": 100, "stop_sequences": ["END"], "temperature": 0.5, "top_p": 0.9, "top_k": 40,
            "output_config": { "effort": "low" }, "service_tier": "auto", "cache_control": { "type": "ephemeral" } }),
    );
}

#[test]
fn a_model_that_thinks_gets_its_budget_on_top_and_no_sampling() {
    let settings = || json!({ "maxOutputTokens": 100, "temperature": 0.5 });
    check_options(
        settings(),
        json!({ "thinking": { "type": "enabled", "budgetTokens": 2048 } }),
        json!({ "max_tokens": 2148, "thinking": { "type": "enabled", "budget_tokens": 2048 } }),
    );
    check_options(
        settings(),
        json!({ "thinking": { "type": "disabled" } }),
        json!({ "max_tokens": 100, "temperature": 0.5, "thinking": { "type": "disabled" } }),
    );
}

#[test]
fn tools_and_the_choice_among_them_are_sent() {
    #[track_caller]
    fn check(choice: Value, options: Value, want: Value) {
        let tool = ToolSpec { name: "t".to_owned(), description: None, input_schema: json!({ "type": "object" }) };
        let prompt = Prompt {
            tools: vec![tool],
            settings: object(json!({ "toolChoice": choice })),
            provider_options: object(json!({ "anthropic": options })),
            ..Prompt::default()
        };
        check_fields(&Messages, "m", prompt, want);
    }
    let sent = json!([{ "name": "t", "input_schema": { "type": "object" } }]);
    let chosen = |choice: Value| json!({ "max_tokens": 4096, "tools": sent, "tool_choice": choice });

    check(json!(null), json!({}), json!({ "max_tokens": 4096, "tools": sent }));
    check(json!("auto"), json!({}), chosen(json!({ "type": "auto" })));
    check(json!("required"), json!({}), chosen(json!({ "type": "any" })));
    check(json!({ "type": "tool", "toolName": "t" }), json!({}), chosen(json!({ "type": "tool", "name": "t" })));
    let alone = json!({ "disableParallelToolUse": true });
    check(json!(null), alone.clone(), chosen(json!({ "type": "auto", "disable_parallel_tool_use": true })));
    check(json!("none"), alone, chosen(json!({ "type": "none" })));
}

#[test]
fn tools_of_the_provider_join_the_authors() {
    let search = json!({ "type": "web_search_20250305", "name": "web_search" });
    check_options(json!({}), json!({ "tools": [search] }), json!({ "max_tokens": 4096, "tools": [search] }));
}

#[test]
fn an_empty_result_has_no_content_and_an_empty_error_says_so() {
    #[track_caller]
    fn check(output: Value, want: Value) {
        let result = json!({ "type": "tool-result", "toolCallId": "a", "toolName": "t", "output": output });
        let mut block = json!({ "type": "tool_result", "tool_use_id": "a" });
        block.as_object_mut().unwrap().extend(object(want));
        let sent = json!([{ "role": "user", "content": [block] }]);
        check_sent(json!([{ "role": "tool", "content": [result] }]), sent);
    }

    check(json!({ "type": "text", "value": "" }), json!({}));
    check(json!({ "type": "text", "value": " \n" }), json!({}));
    check(json!({ "type": "content", "value": [{ "type": "text", "text": "" }] }), json!({}));
    let two = json!([{ "type": "text", "text": "" }, { "type": "text", "text": "4" }]);
    check(json!({ "type": "content", "value": two }), json!({ "content": [{ "type": "text", "text": "4" }] }));
    check(json!({ "type": "json", "value": null }), json!({ "content": "null" }));
    let failed = json!({ "content": "The tool failed without a word.", "is_error": true });
    check(json!({ "type": "error-text", "value": "" }), failed);
}

#[test]
fn nothing_but_white_space_is_no_text_since_the_api_refuses_it() {
    check_sent(
        json!([
            { "role": "user", "content": " " },
            { "role": "user", "content": "Now." },
            { "role": "assistant", "content": [{ "type": "text", "text": "Well." }, { "type": "text", "text": "\n\n" }] },
        ]),
        json!([
            { "role": "user", "content": [{ "type": "text", "text": "Now." }] },
            { "role": "assistant", "content": [{ "type": "text", "text": "Well." }] },
        ]),
    );
}
