//! Closing (S-7, S-23, D-2, D-37, SR-3, SR-10).

use super::*;
use crate::{CancelledBy, RunStatus};

const CLOSED: &str = "session-closed session-closed-reason=done";

#[test]
fn the_first_close_wins_s23_sr3() {
    let mut fixture = Fixture::with_chat();
    fixture.close(Some("a"));
    let first = fixture.core.find("chat").unwrap().row.clone();
    fixture.pass(Duration::from_secs(5));

    fixture.close(Some("b"));

    assert_eq!(fixture.core.find("chat").unwrap().row, first);
    assert_eq!(fixture.out().len(), 1);
}

#[test]
fn a_queued_run_is_cancelled_and_the_news_written_at_once_d2_sr10() {
    let mut fixture = Fixture::with_chat();
    fixture.send();

    fixture.close(Some("done"));

    assert!(fixture.try_lease().is_none());
    assert_eq!(
        fixture.runs().iter().map(|run| &run.status).collect::<Vec<_>>(),
        [&RunStatus::Cancelled { by: CancelledBy::Close }]
    );
    assert_eq!(fixture.out(), [CLOSED]);
    assert!(fixture.is_settled());
}

#[test]
fn an_idle_worker_learns_of_the_close_and_its_end_starts_nothing_d2() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    fixture.send();
    fixture.write(&run, vec![data("start"), turn_complete(0)]).unwrap();

    fixture.close(Some("done"));

    assert_eq!(fixture.out().last().unwrap(), CLOSED, "no turn is open, so the news does not wait");
    assert_eq!(fixture.heartbeat(&run), Ok(true));
    assert_eq!(fixture.end(&run, RunOutcome::Completed), Ok(None));
    assert_eq!(fixture.out().len(), 3);
}

#[test]
fn an_open_turn_goes_on_and_its_boundary_carries_the_news_d37() {
    for already_streaming in [true, false] {
        let mut fixture = Fixture::with_chat();
        let run = fixture.lease();
        fixture.send();
        if already_streaming {
            fixture.write(&run, vec![data("start")]).unwrap();
        }
        fixture.close(Some("done"));
        assert!(!fixture.out().iter().any(|it| it.starts_with("session-closed")));
        assert!(!fixture.core.open("chat", OUT, None, false).unwrap().settled, "a reader waits for the turn's end");

        fixture.write(&run, vec![data("finish"), turn_complete(0), NewRecord::trim(SeqNum::ZERO)]).unwrap();

        let boundary = "turn-complete session-in-event-id=0 session-closed=true session-closed-reason=done";
        assert!(fixture.out().iter().any(|it| it == boundary), "{:?}", fixture.out());
        assert!(fixture.core.open("chat", OUT, None, false).unwrap().settled);
        fixture.end(&run, RunOutcome::Completed).unwrap();
        assert!(!fixture.out().iter().any(|it| it.starts_with("session-closed")), "said once");
    }
}

#[test]
fn a_queued_message_keeps_the_news_for_the_boundary_after_which_nothing_is_owed_d33_d37() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    fixture.send();
    fixture.write(&run, vec![data("start")]).unwrap();
    fixture.send();
    fixture.close(Some("done"));
    let ended = |fixture: &Fixture| fixture.core.open("chat", OUT, None, false).unwrap().settled;

    fixture.write(&run, vec![data("finish"), turn_complete(0)]).unwrap();
    assert_eq!(fixture.out().last().unwrap(), "turn-complete session-in-event-id=0");
    assert!(!ended(&fixture), "the queued message has its turn before it");
    fixture.write(&run, vec![data("start")]).unwrap();
    assert!(!ended(&fixture));
    fixture.write(&run, vec![turn_complete(1)]).unwrap();

    let boundary = "turn-complete session-in-event-id=1 session-closed=true session-closed-reason=done";
    assert_eq!(fixture.out().last().unwrap(), boundary);
    assert!(ended(&fixture));
}

#[test]
fn a_turn_that_answers_the_queued_message_too_carries_the_news_d33_d37() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    fixture.send();
    fixture.send();
    fixture.close(None);

    fixture.write(&run, vec![turn_complete(0), data("start"), turn_complete(1)]).unwrap();

    let want =
        ["turn-complete session-in-event-id=0", "start", "turn-complete session-in-event-id=1 session-closed=true"];
    assert_eq!(fixture.out(), want);
}

#[test]
fn a_queued_message_that_never_gets_its_turn_leaves_the_news_to_the_end_of_the_run_d37() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    fixture.send();
    fixture.send();
    fixture.close(Some("done"));
    fixture.write(&run, vec![turn_complete(0)]).unwrap();

    assert_eq!(fixture.end(&run, RunOutcome::Completed), Ok(None));

    assert_eq!(fixture.out().last().unwrap(), CLOSED);
    assert!(fixture.core.open("chat", OUT, None, false).unwrap().settled, "closed and quiet");
}

#[test]
fn a_reader_stays_while_a_live_run_owes_an_answer_though_the_close_was_announced_d37() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    fixture.send();
    fixture.close(None);
    // A boundary that says so by itself, before its time.
    let news = Header::new("session-closed", "true");
    fixture.write(&run, vec![NewRecord::control(control::TURN_COMPLETE, [news])]).unwrap();

    assert!(!fixture.core.read("chat", OUT, SeqNum::ZERO).unwrap().ended);
    fixture.write(&run, vec![turn_complete(0)]).unwrap();

    assert!(fixture.core.read("chat", OUT, SeqNum::ZERO).unwrap().ended);
}

#[test]
fn a_turn_that_never_ends_leaves_the_news_to_the_end_of_its_run_d37() {
    for lapses in [true, false] {
        let mut fixture = Fixture::with_chat();
        fixture.send();
        let run = fixture.lease();
        fixture.write(&run, vec![data("start")]).unwrap();
        fixture.close(Some("done"));

        if lapses {
            fixture.pass(LEASE);
        } else {
            assert_eq!(fixture.end(&run, crashed()), Ok(None), "no further attempt on a closed session");
        }

        assert_eq!(fixture.out(), ["start", CLOSED]);
        assert!(fixture.live_run().is_none());
        assert!(fixture.core.open("chat", OUT, None, false).unwrap().settled, "closed and quiet");
    }
}

#[test]
fn a_closed_quiet_session_ends_readers_whether_they_peek_or_not_d37() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    fixture.close(None);

    let opened = |fixture: &Fixture, channel| fixture.core.open("chat", channel, None, false).unwrap().settled;
    assert!(opened(&fixture, OUT));
    assert!(!opened(&fixture, IN), "the run still reads `in`");
    assert_eq!(fixture.out(), ["session-closed"]);
    fixture.end(&run, RunOutcome::Completed).unwrap();

    assert!(opened(&fixture, IN));
    assert!(fixture.core.read("chat", OUT, SeqNum::new(1)).unwrap().ended);
}

#[test]
fn expiry_ends_nothing_s24_d37() {
    let mut fixture = Fixture::new();
    let mut new = new_session(Some("chat"), json!({}));
    new.expires_at = Some(fixture.now.plus(Duration::from_secs(1)));
    fixture.create_as(new).unwrap();
    fixture.send();
    let run = fixture.lease();
    fixture.pass(Duration::from_secs(2));

    assert_eq!(fixture.heartbeat(&run), Ok(false));
    assert!(fixture.end(&run, failed()).unwrap().is_some(), "what was accepted is still owed");
    assert!(fixture.out().is_empty());
}

#[test]
fn closing_nothing_is_not_found_s23() {
    let mut fixture = Fixture::new();

    assert_eq!(fixture.core.close(fixture.now, "chat", None).unwrap_err(), Refused::NoSession);
}
