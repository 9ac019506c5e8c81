//! [`Locals`]: typed slots that live as long as one attempt at a run, for what an author's code hands down to its hooks, turns and
//! tools.
//!
//! A [`LocalKey`] holds anything, such as a database; it is how tests put a double in its place (AA-8). A [`ChatLocal`] holds data: it
//! notes changes and goes along, as JSON, into the child runs of tools. Two runs in one process never share a slot.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use turnkeep_protocol::JsonObject;

use crate::agent::Agent;

/// Fills the slots of a run before it boots.
pub(crate) type SetUpLocals = Arc<dyn Fn(&Locals) + Send + Sync>;

/// What the keys of a child run's data begin with.
const CHILD_KEY: &str = "chat.local.";

/// Names a slot for a value of any type; declare it as a `static`.
pub struct LocalKey<T> {
    id: &'static str,
    holds: PhantomData<fn() -> T>,
}

impl<T> LocalKey<T> {
    /// Names a slot; equal names with equal types are one slot.
    pub const fn new(id: &'static str) -> Self {
        Self { id, holds: PhantomData }
    }
}

impl<T> fmt::Debug for LocalKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LocalKey").field(&self.id).finish()
    }
}

/// Names a slot for a run's own data (`chat.local`, A-183); declare it as a `static`.
pub struct ChatLocal<T> {
    id: &'static str,
    holds: PhantomData<fn() -> T>,
}

impl<T> ChatLocal<T> {
    /// Names a slot; equal names are one slot.
    pub const fn new(id: &'static str) -> Self {
        Self { id, holds: PhantomData }
    }
}

impl<T> fmt::Debug for ChatLocal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ChatLocal").field(&self.id).finish()
    }
}

/// Says why a slot cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LocalError {
    /// Nothing is in the slot yet.
    #[error("chat.local `{id}` has no value yet: call `init` in on_boot, which runs in every fresh worker")]
    NotInitialised {
        /// The slot.
        id: &'static str,
    },
    /// What the parent run handed down does not fit the slot's type.
    #[error("chat.local `{id}` cannot take what the parent run handed down: {reason}")]
    Unfit {
        /// The slot.
        id: &'static str,
        /// Why not.
        reason: String,
    },
    /// The code that changes the slot asks for the same slot again.
    #[error("chat.local `{id}` is asked for by the code that is changing it")]
    InUse {
        /// The slot.
        id: &'static str,
    },
}

/// The slots of one attempt at a run; clones share them.
#[derive(Clone, Default)]
pub struct Locals {
    slots: Arc<Mutex<Slots>>,
}

#[derive(Default)]
struct Slots {
    values: BTreeMap<&'static str, Arc<dyn Any + Send + Sync>>,
    data: BTreeMap<&'static str, Arc<Slot>>,
    /// What a parent run handed down and nobody has read yet.
    handed_down: BTreeMap<String, Value>,
}

/// The slot of a [`ChatLocal`]. It has a lock of its own, since an author's code runs under it and may ask for other slots.
struct Slot {
    data: Mutex<Data>,
    /// Who looks at the data now.
    holder: Mutex<Option<ThreadId>>,
}

/// What is in a slot.
struct Data {
    value: Box<dyn Any + Send>,
    to_json: fn(&dyn Any) -> Value,
    is_changed: bool,
}

impl Locals {
    /// Makes slots with nothing in them.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes over what a parent run handed down; each slot reads its part once, when it is first asked for.
    pub fn from_parent(handed_down: JsonObject) -> Self {
        let own =
            handed_down.into_iter().filter_map(|(key, value)| Some((key.strip_prefix(CHILD_KEY)?.to_owned(), value)));
        let slots = Slots { handed_down: own.collect(), ..Slots::default() };
        Self { slots: Arc::new(Mutex::new(slots)) }
    }

    /// Gives what a child run gets: the data of every [`ChatLocal`], under `chat.local.{id}`.
    pub fn to_child(&self) -> JsonObject {
        let (unread, data) = {
            let slots = self.slots();
            (slots.handed_down.clone(), slots.data.clone())
        };
        // A slot that is being changed by the very code that asks is left out, since it has no value now.
        let own = data.into_iter().filter_map(|(id, slot)| Some((id, slot.with(|data| (data.to_json)(&*data.value))?)));
        let own = own.map(|(id, value)| (id.to_owned(), value));
        unread.into_iter().chain(own).map(|(id, value)| (format!("{CHILD_KEY}{id}"), value)).collect()
    }

    /// Puts a value in a slot, in the place of the one before.
    pub fn set<T: Send + Sync + 'static>(&self, key: &LocalKey<T>, value: T) {
        self.slots().values.insert(key.id, Arc::new(value));
    }

    /// Gives what is in a slot; none when nothing is, or something of another type.
    pub fn get<T: Send + Sync + 'static>(&self, key: &LocalKey<T>) -> Option<Arc<T>> {
        let value = self.slots().values.get(key.id).cloned();
        value?.downcast().ok()
    }

    /// Opens a slot of the run's own data.
    pub fn chat<'a, T>(&'a self, key: &'a ChatLocal<T>) -> Local<'a, T> {
        Local { locals: self, id: key.id, holds: PhantomData }
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        lock(&self.slots)
    }
}

impl Slot {
    fn new(data: Data) -> Arc<Self> {
        Arc::new(Self { data: Mutex::new(data), holder: Mutex::default() })
    }

    /// Looks at the data; none when this thread does so already.
    fn with<R>(&self, look: impl FnOnce(&mut Data) -> R) -> Option<R> {
        let own = Some(thread::current().id());
        if *lock(&self.holder) == own {
            return None;
        }
        let mut data = lock(&self.data);
        *lock(&self.holder) = own;
        let _holding = Holding(&self.holder);
        Some(look(&mut data))
    }
}

/// Forgets who looks, also when the looking panics.
struct Holding<'s>(&'s Mutex<Option<ThreadId>>);

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        *lock(self.0) = None;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Agent {
    /// Fills the slots of every run before it boots; several set-ups run in the order in which they were added.
    ///
    /// This is how an agent gets what its code looks up in [`crate::Chat::locals`], and how a test puts a double there.
    pub fn setup_locals(mut self, set_up: impl Fn(&Locals) + Send + Sync + 'static) -> Self {
        self.setup_locals.push(Arc::new(set_up));
        self
    }

    pub(crate) fn fresh_locals(&self) -> Locals {
        let locals = Locals::new();
        self.setup_locals.iter().for_each(|set_up| set_up(&locals));
        locals
    }
}

impl fmt::Debug for Locals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slots = self.slots();
        f.debug_set().entries(slots.values.keys()).entries(slots.data.keys()).finish()
    }
}

/// A slot of a run's own data, opened.
pub struct Local<'a, T> {
    locals: &'a Locals,
    id: &'static str,
    holds: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned + Clone + Send + 'static> Local<'_, T> {
    /// Sets the value and counts it as unchanged; may be repeated.
    pub fn init(&self, value: T) {
        let mut slots = self.locals.slots();
        slots.handed_down.remove(self.id);
        slots.data.insert(self.id, Slot::new(Data::new(value)));
    }

    /// Gives a copy of the value.
    ///
    /// # Errors
    ///
    /// [`LocalError::NotInitialised`] before [`Local::init`]; [`LocalError::Unfit`] when a parent's data is of another shape;
    /// [`LocalError::InUse`] inside this slot's own [`Local::update`].
    pub fn get(&self) -> Result<T, LocalError> {
        self.with(|value, _| value.clone())
    }

    /// Gives a copy of the value; none before [`Local::init`].
    pub fn try_get(&self) -> Option<T> {
        self.get().ok()
    }

    /// Changes the value; other slots may be read and changed meanwhile.
    ///
    /// # Errors
    ///
    /// As [`Local::get`].
    pub fn update(&self, change: impl FnOnce(&mut T)) -> Result<(), LocalError> {
        self.with(|value, is_changed| {
            change(value);
            *is_changed = true;
        })
    }

    /// Tells whether the value was changed since it was set or since this was last asked.
    pub fn has_changed(&self) -> bool {
        self.with(|_, is_changed| std::mem::take(is_changed)).unwrap_or(false)
    }

    fn with<R>(&self, look: impl FnOnce(&mut T, &mut bool) -> R) -> Result<R, LocalError> {
        let slot = self.slot()?.ok_or(LocalError::NotInitialised { id: self.id })?;
        let looked = slot.with(|data| Some(look(data.value.downcast_mut()?, &mut data.is_changed)));
        looked.ok_or(LocalError::InUse { id: self.id })?.ok_or(LocalError::NotInitialised { id: self.id })
    }

    /// Finds the slot, filled with what a parent handed down; data that does not fit stays where it is.
    fn slot(&self) -> Result<Option<Arc<Slot>>, LocalError> {
        let handed_down = self.locals.slots().handed_down.get(self.id).cloned();
        let Some(handed_down) = handed_down else {
            return Ok(self.locals.slots().data.get(self.id).cloned());
        };
        let value: T = serde_json::from_value(handed_down)
            .map_err(|error| LocalError::Unfit { id: self.id, reason: error.to_string() })?;
        let mut slots = self.locals.slots();
        if slots.handed_down.remove(self.id).is_some() {
            slots.data.insert(self.id, Slot::new(Data::new(value)));
        }
        Ok(slots.data.get(self.id).cloned())
    }
}

impl Data {
    fn new<T: Serialize + Send + 'static>(value: T) -> Self {
        Self { value: Box::new(value), to_json: to_json::<T>, is_changed: false }
    }
}

impl<T> fmt::Debug for Local<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Local").field(&self.id).finish()
    }
}

/// Writes a value for a child run; one that does not serialise is handed down as null.
fn to_json<T: Serialize + 'static>(value: &dyn Any) -> Value {
    value.downcast_ref::<T>().and_then(|value| serde_json::to_value(value).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Profile {
        name: String,
        visits: u32,
    }

    static PROFILE: ChatLocal<Profile> = ChatLocal::new("profile");
    static DATABASE: LocalKey<&'static str> = LocalKey::new("database");

    fn profile(name: &str, visits: u32) -> Profile {
        Profile { name: name.to_owned(), visits }
    }

    #[test]
    fn a_slot_holds_any_value_and_two_runs_share_none_a184() {
        let (one, other) = (Locals::new(), Locals::new());

        one.set(&DATABASE, "double");

        assert_eq!(one.clone().get(&DATABASE).as_deref(), Some(&"double"));
        assert_eq!(other.get(&DATABASE), None);
        // Another type under the same name is another key's mistake, not a value.
        assert_eq!(one.get(&LocalKey::<u32>::new("database")), None);
    }

    #[test]
    fn nothing_is_read_or_written_before_init_and_the_error_points_at_on_boot_a183() {
        let locals = Locals::new();
        let slot = locals.chat(&PROFILE);

        assert_eq!(slot.try_get(), None);
        assert_eq!(slot.get(), Err(LocalError::NotInitialised { id: "profile" }));
        let refused = slot.update(|profile| profile.visits = 1).unwrap_err();
        assert!(refused.to_string().contains("on_boot"), "{refused}");
        assert!(!slot.has_changed());
    }

    #[test]
    fn changes_are_noted_once_and_init_forgets_them_a183() {
        let locals = Locals::new();
        let slot = locals.chat(&PROFILE);

        slot.init(profile("Ada", 0));
        assert!(!slot.has_changed());
        slot.update(|profile| profile.visits += 1).unwrap();
        assert!(slot.has_changed());
        assert!(!slot.has_changed());
        slot.update(|profile| profile.visits += 1).unwrap();
        slot.init(profile("Bob", 0));

        assert!(!slot.has_changed());
        let mut copy = slot.get().unwrap();
        copy.visits = 9;
        assert_eq!(slot.get(), Ok(profile("Bob", 0)));
    }

    #[test]
    fn a_child_gets_the_data_once_and_gives_nothing_back_a184() {
        let parent = Locals::new();
        parent.chat(&PROFILE).init(profile("Ada", 1));
        parent.set(&DATABASE, "not data");
        let handed_down = parent.to_child();
        assert_eq!(Value::Object(handed_down.clone()), json!({ "chat.local.profile": { "name": "Ada", "visits": 1 } }));

        let child = Locals::from_parent(handed_down);
        // A grandchild gets what its parent has not looked at.
        assert_eq!(child.to_child(), parent.to_child());
        child.chat(&PROFILE).update(|profile| profile.visits = 7).unwrap();

        assert_eq!(child.chat(&PROFILE).get(), Ok(profile("Ada", 7)));
        assert_eq!(parent.chat(&PROFILE).get(), Ok(profile("Ada", 1)));
    }

    #[test]
    fn data_of_another_shape_is_refused_with_the_reason_a184() {
        let handed_down = [("chat.local.profile".to_owned(), json!({ "name": 4 }))];
        let child = Locals::from_parent(handed_down.into_iter().collect());

        let refused = child.chat(&PROFILE).get().unwrap_err();

        assert!(matches!(refused, LocalError::Unfit { id: "profile", .. }), "{refused}");
        // It is said again, and a child of the child gets what it was.
        assert_eq!(child.chat(&PROFILE).get(), Err(refused));
        assert_eq!(child.to_child()["chat.local.profile"], json!({ "name": 4 }));
    }

    #[test]
    fn what_changes_a_slot_may_use_the_others_and_its_own_is_refused_a183() {
        static VISITS: ChatLocal<u32> = ChatLocal::new("visits");
        let locals = Locals::new();
        locals.chat(&PROFILE).init(profile("Ada", 0));
        locals.chat(&VISITS).init(3);
        locals.set(&DATABASE, "double");

        let nested = locals.clone();
        let changed = locals.chat(&PROFILE).update(|profile| {
            profile.visits = nested.chat(&VISITS).get().unwrap();
            assert!(nested.get(&DATABASE).is_some());
            assert_eq!(nested.chat(&PROFILE).get(), Err(LocalError::InUse { id: "profile" }));
            assert_eq!(nested.to_child().len(), 1);
        });

        assert_eq!(changed, Ok(()));
        assert_eq!(locals.chat(&PROFILE).get(), Ok(profile("Ada", 3)));
    }
}
