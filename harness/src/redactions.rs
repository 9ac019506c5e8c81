//! [`insta_settings`]: snapshots of chats without what differs from run to run.

/// What is drawn or read off a clock, and what a snapshot shows in its place.
const FILTERS: &[(&str, &str)] = &[
    (r"\b(run|session|waitpoint)_[A-Za-z0-9]{6,}\b", "[$1]"),
    (r"\btr_(dev|prod|stg)_[A-Za-z0-9]+\b", "[secret]"),
    (r"\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\b", "[token]"),
    (r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?\b", "[time]"),
    (r"\b1[67]\d{11}\b", "[ms]"),
];

/// The keys of JSON whose values are drawn or read off a clock.
const REDACTED: &[(&str, &str)] = &[
    (".**.messageId", "[message]"),
    (".**.publicAccessToken", "[token]"),
    (".**.savedAt", "[ms]"),
    (".**.timestamp", "[ms]"),
    (".**.createdAt", "[time]"),
    (".**.updatedAt", "[time]"),
];

/// Gives `insta` settings that redact ids, tokens and times: bind them around any snapshot of a chat, its records or its failures.
///
/// Ids in running text are known by their prefix. A message's own id has none: in JSON it is redacted where it is the value of
/// `messageId`; add a redaction for other places.
///
/// ```
/// turnkeep_harness::insta_settings().bind(|| {
///     insta::assert_snapshot!("run run_a1B2c3D4 saved at 1700000000123", @"run [run] saved at [ms]");
/// });
/// ```
pub fn insta_settings() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    for (filter, shown) in FILTERS {
        settings.add_filter(filter, *shown);
    }
    for (selector, shown) in REDACTED {
        settings.add_redaction(selector, *shown);
    }
    settings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_and_times_are_redacted_in_text_and_json_and_the_rest_stays() {
        insta_settings().bind(|| {
            insta::assert_snapshot!("run_abcDEF123 of session_0123456789 at 2023-11-14T22:13:20Z, 4 turns", @"[run] of [session] at [time], 4 turns");
            let chunk = json!({ "type": "start", "messageId": "AbCdEfGhIjKlMnOp", "deep": { "savedAt": 17, "text": "stays" } });
            insta::assert_json_snapshot!(chunk, @r#"
            {
              "type": "start",
              "messageId": "[message]",
              "deep": {
                "savedAt": "[ms]",
                "text": "stays"
              }
            }
            "#);
        });
    }
}
