//! Keeps at the end of the history what the step loop acts on first: a person's approvals, or the calls that a head start has left
//! open (A-97, A-234, AR-31).

use turnkeep_protocol::{ContentPart, ModelMessage, ModelRole};

/// Gives what a hook has made of `input`, with the approval tail of `input` last and as it was.
///
/// The tail is a closing tool message with answers to requests for approval: the step loop runs approved calls from there and nowhere
/// else, so a hook that drops, moves or rewrites it would send a bare call to the provider. Tails that the hook has put in its place
/// go away, and so does a moved copy; answers of older rounds stay where they are.
pub(crate) fn keep_approval_tail(input: Option<ModelMessage>, mut output: Vec<ModelMessage>) -> Vec<ModelMessage> {
    let Some(tail) = input.filter(is_approval_tail) else {
        return output;
    };
    if output.last() == Some(&tail) {
        return output;
    }
    while output.pop_if(|last| is_approval_tail(last)).is_some() {}
    output.retain(|message| !answers_same(message, &tail));
    output.push(tail);
    output
}

/// Gives what a hook has made of `input`, with the message that makes the open calls, and the results behind it, last and as they were
/// . Options for a provider on the message, such as a cache mark, are the hook's.
pub(crate) fn keep_call_tail(
    input: &[ModelMessage],
    mut output: Vec<ModelMessage>,
    open_calls: &[String],
) -> Vec<ModelMessage> {
    let Some(at) =
        input.iter().rposition(|message| calls(message).any(|call| open_calls.iter().any(|open| open == call)))
    else {
        return output;
    };
    let tail = &input[at..];
    let same = |(kept, was): (&ModelMessage, &ModelMessage)| kept.role == was.role && kept.content == was.content;
    if output.len() >= tail.len() && output[output.len() - tail.len()..].iter().zip(tail).all(same) {
        return output;
    }
    let own: Vec<&str> = tail.iter().flat_map(calls).collect();
    // Calls and results of older steps stay where they are.
    output.retain(|message| !calls(message).chain(results(message)).any(|call| own.contains(&call)));
    output.extend_from_slice(tail);
    output
}

/// Lists the calls that a message makes.
fn calls(message: &ModelMessage) -> impl Iterator<Item = &str> {
    message.content.iter().filter_map(|part| match part {
        ContentPart::ToolCall(call) => Some(call.tool_call_id.as_str()),
        _ => None,
    })
}

/// Lists the calls whose results a message holds.
fn results(message: &ModelMessage) -> impl Iterator<Item = &str> {
    message.content.iter().filter_map(|part| match part {
        ContentPart::ToolResult(result) if message.role == ModelRole::Tool => Some(result.tool_call_id.as_str()),
        _ => None,
    })
}

fn is_approval_tail(message: &ModelMessage) -> bool {
    message.role == ModelRole::Tool && approvals(message).next().is_some()
}

/// Tells whether a message answers a request that `tail` answers: it is a copy of it, changed or not.
fn answers_same(message: &ModelMessage, tail: &ModelMessage) -> bool {
    message.role == ModelRole::Tool && approvals(message).any(|id| approvals(tail).any(|known| known == id))
}

/// Lists the requests that a message answers.
fn approvals(message: &ModelMessage) -> impl Iterator<Item = &str> {
    message.content.iter().filter_map(|part| match part {
        ContentPart::ApprovalResponse(response) => Some(response.approval_id.as_str()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use turnkeep_protocol::model_message::ApprovalResponseContent;

    use super::*;

    fn tail(id: &str) -> ModelMessage {
        noted(id, None)
    }

    fn noted(id: &str, reason: Option<&str>) -> ModelMessage {
        ModelMessage::tool(vec![ContentPart::ApprovalResponse(ApprovalResponseContent {
            approval_id: id.to_owned(),
            approved: true,
            reason: reason.map(str::to_owned),
            ..ApprovalResponseContent::default()
        })])
    }

    fn user() -> ModelMessage {
        ModelMessage::user("u")
    }

    fn called() -> ModelMessage {
        ModelMessage::assistant(vec![ContentPart::tool_call("c", "t", serde_json::json!({}))])
    }

    /// Lets a hook make `output` of a history that ends with the answer to request `p`.
    #[track_caller]
    fn check(output: Vec<ModelMessage>, want: &[ModelMessage]) {
        assert_eq!(keep_approval_tail(Some(tail("p")), output), want);
    }

    #[test]
    fn an_approval_tail_stays_last_and_as_it_was_whatever_the_hook_did_a97_ar31_a234() {
        let whole = [user(), called(), tail("p")];
        // Untouched, dropped, rewritten, with something behind it, moved to the front, doubled, replaced by another round's.
        check(whole.to_vec(), &whole);
        check(vec![user(), called()], &whole);
        check(vec![user(), called(), noted("p", Some("cached"))], &whole);
        check(vec![user(), called(), tail("p"), user()], &[user(), called(), user(), tail("p")]);
        check(vec![noted("p", Some("cached")), user(), called()], &whole);
        check(vec![user(), called(), tail("p"), noted("p", Some("cached"))], &whole);
        check(vec![user(), called(), tail("q")], &whole);
        check(vec![], &[tail("p")]);
    }

    #[test]
    fn approvals_of_older_rounds_stay_where_they_are_a97() {
        let old = [user(), called(), tail("o"), called()];

        check([&old[..], &[noted("p", Some("cached"))]].concat(), &[&old[..], &[tail("p")]].concat());
    }

    #[test]
    fn a_history_that_ends_otherwise_is_the_hooks_alone_a97() {
        for last in [None, Some(user()), Some(ModelMessage::tool(vec![ContentPart::text("x")]))] {
            let output = vec![user(), tail("o")];
            assert_eq!(keep_approval_tail(last, output.clone()), output);
        }
    }
}
