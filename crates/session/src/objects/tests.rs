use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use turnkeep_host::Entropy;

use super::*;

const BODY: Bytes = Bytes::from_static(b"{}");

/// The objects in `store` as a life of the store of sessions `owner` has them; `life` sets its names apart.
fn life(store: Arc<dyn ObjectStore>, owner: u64, life: u64) -> Objects {
    Objects::new(store, &Environment::new("env_1", "k"), Entropy::from_seed(life).draws(), StoreId(owner))
}

/// What a start says that goes well with objects that nobody has to name.
fn nothing() -> Swept {
    Swept { n_deleted: 0, n_spared: 0, n_missing: 0 }
}

fn refusal(taken: Result<Swept, Error>) -> String {
    taken.unwrap_err().to_string()
}

const FOREIGN: &str = "the chat snapshots belong to another store of sessions than this one";

#[tokio::test]
async fn a_start_takes_what_no_row_names_and_counts_what_rows_name_in_vain_d26() {
    let mut objects = life(Arc::new(InMemory::new()), 1, 1);
    objects.take(std::iter::empty(), false).await.unwrap();
    let sessions = ["session_1", "session_2", "session_3"].map(SessionId::new);
    let mut rows = Vec::new();
    for session in &sessions {
        rows.push((session.clone(), objects.put(session, BODY).await.unwrap()));
    }
    let orphan = rows.pop().unwrap();
    objects.delete(&rows[0].0, rows[0].1).await;

    let put_back = objects.take(std::iter::empty(), false).await.unwrap();
    let mixed_up = objects.take(rows.iter().cloned(), false).await.unwrap();
    let untouched = objects.get(&orphan.0, orphan.1).await.unwrap().is_some();
    let swept = objects.take(rows[1..].iter().cloned(), false).await.unwrap();

    assert_eq!(put_back, Swept { n_deleted: 0, n_spared: 2, n_missing: 0 });
    assert_eq!((mixed_up, untouched), (Swept { n_deleted: 0, n_spared: 1, n_missing: 1 }, true));
    assert_eq!(swept, Swept { n_deleted: 1, n_spared: 0, n_missing: 0 });
    assert_eq!(objects.get(&orphan.0, orphan.1).await.unwrap(), None);
    assert!(objects.get(&rows[1].0, rows[1].1).await.unwrap().is_some());
}

#[tokio::test]
async fn no_other_store_takes_marked_objects_unless_it_is_told_to_d86() {
    let store = Arc::new(InMemory::new());
    let mut first = life(store.clone(), 1, 1);
    assert_eq!(first.take(std::iter::empty(), false).await.unwrap(), nothing());
    let session = SessionId::new("session_1");
    let row = (session.clone(), first.put(&session, BODY).await.unwrap());

    let mut other = life(store.clone(), 2, 2);
    let own = (session.clone(), other.put(&session, BODY).await.unwrap());
    let refused = refusal(other.take([own.clone()].into_iter(), false).await);
    let adopted = other.take([own].into_iter(), true).await.unwrap();
    let back = refusal(life(store.clone(), 1, 3).take([row.clone()].into_iter(), false).await);
    let kept = other.get(&row.0, row.1).await.unwrap();

    assert_eq!((refused.as_str(), back.as_str()), (FOREIGN, FOREIGN));
    assert_eq!(
        adopted,
        Swept { n_spared: 1, ..nothing() },
        "what it finds is deleted by no start that was told to take it"
    );
    assert_eq!(kept, Some(BODY));
}

#[tokio::test]
async fn of_two_first_starts_at_once_one_is_refused_d86() {
    let slow = ThrottleConfig { wait_list_per_call: Duration::from_millis(20), ..ThrottleConfig::default() };
    let store = Arc::new(ThrottledStore::new(InMemory::new(), slow));
    let (mut one, mut other) = (life(store.clone(), 1, 1), life(store, 2, 2));

    let (one, other) = tokio::join!(one.take(std::iter::empty(), false), other.take(std::iter::empty(), false));

    let (taken, refused) = if one.is_ok() { (one, other) } else { (other, one) };
    assert_eq!((taken.unwrap(), refusal(refused).as_str()), (nothing(), FOREIGN));
}

#[tokio::test]
async fn a_start_that_finds_neither_mark_nor_bodies_is_refused_unless_it_is_told_that_they_are_lost_d86() {
    let session = SessionId::new("session_1");
    let mut whole = life(Arc::new(InMemory::new()), 1, 1);
    whole.take(std::iter::empty(), false).await.unwrap();
    let row = (session.clone(), whole.put(&session, BODY).await.unwrap());

    let mut unmounted = life(Arc::new(InMemory::new()), 1, 2);
    let refused = refusal(unmounted.take([row.clone()].into_iter(), false).await);
    let told = unmounted.take([row.clone()].into_iter(), true).await.unwrap();
    let again = unmounted.take([row.clone()].into_iter(), false).await.unwrap();

    assert!(refused.starts_with("1 chat snapshots are not there"), "{refused}");
    assert_eq!([told, again], [Swept { n_missing: 1, ..nothing() }; 2], "once is enough");
    assert_eq!(unmounted.get_again(&session, row.1).await.unwrap(), None, "now it is lost");
}

#[tokio::test]
async fn objects_from_before_there_were_marks_are_marked_when_none_is_missing_d86() {
    let store = Arc::new(InMemory::new());
    let session = SessionId::new("session_1");
    // It has never taken its objects, so it puts without a mark.
    let before = life(store.clone(), 1, 1);
    let row = (session.clone(), before.put(&session, BODY).await.unwrap());
    before.put(&session, BODY).await.unwrap();

    let taken = life(store.clone(), 1, 2).take([row.clone()].into_iter(), false).await.unwrap();
    let other = refusal(life(store.clone(), 2, 3).take(std::iter::empty(), false).await);
    let again = life(store, 1, 4).take([row].into_iter(), false).await.unwrap();

    assert_eq!((taken, other.as_str()), (Swept { n_spared: 1, ..nothing() }, FOREIGN), "it may be another store's");
    assert_eq!(again, Swept { n_deleted: 1, ..nothing() });
}

#[tokio::test]
async fn a_body_is_lost_only_where_the_mark_is_and_none_is_put_where_it_is_not_d86() {
    let store = Arc::new(InMemory::new());
    let mut objects = life(store.clone(), 1, 1);
    objects.take(std::iter::empty(), false).await.unwrap();
    let session = SessionId::new("session_1");
    let object = objects.put(&session, BODY).await.unwrap();
    objects.delete(&session, object).await;
    let lost = objects.get_again(&session, object).await.unwrap();

    let mark = mark_place(&objects.environment);
    for marked in [None, Some(mark_of(StoreId(2)))] {
        match marked {
            None => store.delete(&mark).await.unwrap(),
            Some(foreign) => drop(store.put(&mark, PutPayload::from_bytes(foreign)).await.unwrap()),
        }
        assert!(objects.get_again(&session, object).await.is_err(), "nobody can say");
        assert!(objects.put(&session, BODY).await.is_err());
        let lying: Vec<Path> = store.list(None).map_ok(|meta| meta.location).try_collect().await.unwrap();
        assert!(lying.iter().all(|place| *place == mark), "{lying:?}");
    }
    store.put(&mark, PutPayload::from_bytes(mark_of(StoreId(1)))).await.unwrap();

    assert_eq!(lost, None);
    assert!(objects.put(&session, BODY).await.is_ok(), "it is mounted again");
}

#[tokio::test]
async fn a_body_that_comes_back_while_the_mark_is_looked_for_is_not_lost_d86() {
    let slow = ThrottleConfig { wait_get_per_call: Duration::from_millis(20), ..ThrottleConfig::default() };
    let inside = Arc::new(InMemory::new());
    let mut objects = life(Arc::new(ThrottledStore::new(inside.clone(), slow)), 1, 1);
    objects.take(std::iter::empty(), false).await.unwrap();
    let session = SessionId::new("session_1");
    let object = objects.put(&session, BODY).await.unwrap();
    let place = object_place(&objects.environment, &session, object);
    inside.delete(&place).await.unwrap();
    assert_eq!(objects.get(&session, object).await.unwrap(), None);

    let (found, put) =
        tokio::join!(objects.get_again(&session, object), inside.put(&place, PutPayload::from_bytes(BODY)));

    assert_eq!((found.unwrap(), put.is_ok()), (Some(BODY), true));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_holds_a_start_up_for_a_minute_and_no_longer_d26() {
    let slow = ThrottleConfig { wait_list_per_call: 100 * TAKE_LIMIT, ..ThrottleConfig::default() };
    let mut objects = life(Arc::new(ThrottledStore::new(InMemory::new(), slow)), 1, 1);
    let began = tokio::time::Instant::now();

    let taken = objects.take(std::iter::empty(), false).await;

    assert!(matches!(taken, Err(Error::Storage(_))), "{taken:?}");
    assert_eq!(began.elapsed(), TAKE_LIMIT);
}
