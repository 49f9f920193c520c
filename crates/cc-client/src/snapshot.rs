//! What user interfaces show of groups and people, without waiting for the client.
//!
//! What a view needs of a group's stack is kept in a record, written by the commit that changes it, so that
//! no stack is opened to show a group.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock},
};

use cc_core::{MemberId, store::StoreError};
use serde::{Deserialize, Serialize};

use crate::{
    Client, Fault, GroupId, GroupView, Person, PersonId, PersonView, Position,
    records::{self, GroupRecord, Standing},
    seat,
};

/// Groups and people as the last call to the client left them, for any number of threads.
///
/// Looking never waits for what the client does: for sealing, opening or the store. Clones show the same.
#[derive(Debug, Clone)]
pub struct Views(Arc<RwLock<Arc<Snapshot>>>);

/// All groups and people of a client at one moment. It does not change any more.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Whose client it is.
    pub me: Person,
    /// The groups that this person is in, or was.
    pub groups: BTreeMap<GroupId, Arc<GroupView>>,
    /// Everybody of whom a device was seen, oneself included.
    pub people: BTreeMap<PersonId, Arc<PersonView>>,
}

/// What a commit changes in the [`Snapshot`].
#[derive(Default)]
pub(crate) struct Changed {
    groups: Vec<Arc<GroupView>>,
    people: Vec<ShownPerson>,
}

/// `None` for somebody who is gone.
type ShownPerson = (PersonId, Option<Arc<PersonView>>);

impl Views {
    /// All groups and people as they are now. Costs a count, however many there are.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        // Nothing is left half done within this lock.
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// One group as it is now.
    #[must_use]
    pub fn group(&self, id: &GroupId) -> Option<Arc<GroupView>> {
        self.snapshot().groups.get(id).cloned()
    }

    /// One person as it is now.
    #[must_use]
    pub fn person(&self, id: &PersonId) -> Option<Arc<PersonView>> {
        self.snapshot().people.get(id).cloned()
    }

    fn publish(&self, me: Person, changed: Changed) {
        if changed.groups.is_empty() && changed.people.is_empty() {
            return;
        }
        let mut now = self.0.write().unwrap_or_else(PoisonError::into_inner);
        // Copied (pointers only) where somebody still looks at the last one.
        let snapshot = Arc::make_mut(&mut now);
        snapshot.me = me;
        snapshot.groups.extend(changed.groups.into_iter().map(|view| (view.id, view)));
        for (id, view) in changed.people {
            match view {
                Some(view) => drop(snapshot.people.insert(id, view)),
                None => drop(snapshot.people.remove(&id)),
            }
        }
    }
}

/// What a view needs of a group's stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ViewRecord {
    of: Version,
    members: Vec<[u8; 32]>,
    authenticator: Option<[u8; 32]>,
}

/// What the stack was when a [`ViewRecord`] was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Version {
    seat: String,
    joined_at: Position,
    epoch: Option<u64>,
}

/// What the client knows of the views that it wrote and showed.
#[derive(Default)]
pub(crate) struct ViewState {
    versions: BTreeMap<GroupId, Version>,
    /// Made when it is first asked for.
    views: Option<Views>,
    /// The store was changed by another process: all is to be shown anew.
    reload: bool,
}

impl ViewState {
    /// Memory may be ahead of, or behind, the store.
    pub(crate) fn forget(&mut self) {
        self.versions.clear();
        self.reload = self.views.is_some();
    }
}

impl Client {
    /// Groups and people as they are after each commit, for threads that show them. The first call reads what the
    /// views of all of them need; from then on each commit shows what it changed.
    ///
    /// # Errors
    /// [`Fault::Store`].
    pub fn views(&mut self) -> Result<Views, Fault> {
        self.transact(|client| {
            if let Some(views) = &client.view_state.views {
                return Ok(views.clone());
            }
            let (groups, people) = (client.all_views()?, BTreeMap::new());
            let mut snapshot = Snapshot { me: client.me(), groups, people };
            for id in client.people()? {
                snapshot.people.extend(client.shown_person(&id)?.map(|view| (id, view)));
            }
            let views = Views(Arc::new(RwLock::new(Arc::new(snapshot))));
            Ok(client.view_state.views.insert(views).clone())
        })
    }

    /// A group as the last call left it.
    ///
    /// # Errors
    /// [`Fault::NoSuchGroup`], [`Fault::Store`].
    pub fn group(&self, id: &GroupId) -> Result<GroupView, Fault> {
        let record: Option<GroupRecord> = self.state.get(records::groups(), id.as_bytes())?;
        self.view(id, &record.ok_or(Fault::NoSuchGroup(*id))?, None)
    }

    /// Writes what views need of the stacks of these groups, where it changed, and gives the views that are
    /// to be shown once the commit is in force: of the groups, of the people, and of groups with these people.
    pub(crate) fn prepare_views(
        &mut self,
        changed: &BTreeSet<GroupId>,
        changed_people: &BTreeSet<PersonId>,
    ) -> Result<Changed, Fault> {
        for id in changed {
            self.write_view(id)?;
        }
        if changed.is_empty() && changed_people.is_empty() && !self.view_state.reload {
            return Ok(Changed::default());
        }
        let Some(views) = &self.view_state.views else { return Ok(Changed::default()) };
        let last = views.snapshot();
        if core::mem::take(&mut self.view_state.reload) {
            let groups = self.all_views()?.into_values().collect();
            let known = last.people.keys().copied().chain(self.people()?);
            let people = self.shown_people(known)?;
            return Ok(Changed { groups, people });
        }
        let people = self.shown_people(changed_people.iter().copied())?;
        let renamed = self.groups_of(&last, &people);
        let mut groups = Vec::new();
        for id in changed.union(&renamed) {
            if let Some(record) = self.state.groups.get(id) {
                let last = last.groups.get(id).filter(|_| !renamed.contains(id));
                let last = last.map(Arc::as_ref);
                groups.push(Arc::new(self.view(id, record, last)?));
            }
        }
        Ok(Changed { groups, people })
    }

    fn shown_people(&self, ids: impl Iterator<Item = PersonId>) -> Result<Vec<ShownPerson>, Fault> {
        ids.map(|id| Ok((id, self.shown_person(&id)?))).collect()
    }

    /// The groups in which the snapshot shows devices of these people as they were before, or without a name.
    fn groups_of(&self, last: &Snapshot, people: &[ShownPerson]) -> BTreeSet<GroupId> {
        let before = people.iter().filter_map(|(id, _)| last.people.get(id));
        let now = people.iter().filter_map(|(_, view)| view.as_ref());
        let devices: BTreeSet<MemberId> =
            before.chain(now).flat_map(|view| &view.devices).map(|device| device.id).collect();
        if devices.is_empty() {
            return BTreeSet::new();
        }
        let groups = last.groups.values();
        let with =
            groups.filter(|group| group.members.iter().any(|member| devices.contains(&member.id)));
        with.map(|group| group.id).collect()
    }

    /// The commit is in force.
    pub(crate) fn show_views(&self, prepared: Changed) {
        if let Some(views) = &self.view_state.views {
            views.publish(self.me(), prepared);
        }
    }

    /// Who was in a group when its view was written last.
    pub(crate) fn known_members(&self, group: &GroupId) -> Result<Vec<[u8; 32]>, Fault> {
        let view: Option<ViewRecord> = self.state.get(&records::views(), group.as_bytes())?;
        Ok(view.map(|view| view.members).unwrap_or_default())
    }

    fn write_view(&mut self, id: &GroupId) -> Result<(), Fault> {
        let Some(group) = self.state.groups.get(id) else { return Ok(()) };
        if matches!(group.standing, Standing::Removed | Standing::Restored(_)) {
            return Ok(());
        }
        let joined_at = group.joined_at;
        if !self.view_state.versions.contains_key(id)
            && let Some(record) = self.state.get::<ViewRecord>(&records::views(), id.as_bytes())?
        {
            self.view_state.versions.insert(*id, record.of);
        }
        let known = self.view_state.versions.get(id);
        let known = known.filter(|it| it.seat == group.seat && it.joined_at == joined_at);
        if let Some(known) = known {
            // A stack that is not open did not change.
            let stack = self.open_seat(&group.seat);
            if stack.is_none_or(|stack| stack.epoch() == known.epoch) {
                return Ok(());
            }
        }
        let name = group.seat.clone();
        let stack = self.seat(&name)?;
        let of = Version { seat: name, joined_at, epoch: stack.epoch() };
        let members = seat::member_ids(stack);
        let record = ViewRecord {
            of: of.clone(),
            members: members.iter().map(|id| *id.as_bytes()).collect(),
            authenticator: stack.epoch_authenticator(),
        };
        self.view_state.versions.insert(*id, of);
        self.state.put(&records::views(), *id.as_bytes(), &record)
    }

    fn all_views(&self) -> Result<BTreeMap<GroupId, Arc<GroupView>>, Fault> {
        let mut views = BTreeMap::new();
        for (key, record) in self.state.list::<GroupRecord>(records::groups(), usize::MAX)? {
            let id = records::log_id(&key)?;
            views.insert(id, Arc::new(self.view(&id, &record, None)?));
        }
        Ok(views)
    }

    /// The view of a group, with as much as is still true of the `last` one.
    fn view(
        &self,
        id: &GroupId,
        group: &GroupRecord,
        last: Option<&GroupView>,
    ) -> Result<GroupView, Fault> {
        let removed = matches!(group.standing, Standing::Removed | Standing::Restored(_));
        let (epoch, members, authenticator) = match last {
            _ if removed => (None, Arc::default(), None),
            Some(last)
                if self.view_state.versions.get(id).is_some_and(|version| {
                    version.epoch == last.epoch && version.joined_at == last.joined_at
                }) =>
            {
                (last.epoch, Arc::clone(&last.members), last.authenticator)
            }
            _ => {
                let record: Option<ViewRecord> =
                    self.state.get(&records::views(), id.as_bytes())?;
                let missing = || StoreError::corrupt("a group has no view");
                let ViewRecord { of, members, authenticator } = record.ok_or_else(missing)?;
                let members = members.into_iter().map(|member| {
                    let mut member = Person::new(member);
                    self.describe(&mut member)?;
                    Ok(member)
                });
                (of.epoch, members.collect::<Result<_, Fault>>()?, authenticator)
            }
        };
        Ok(GroupView {
            id: *id,
            title: group.title.clone(),
            epoch,
            members,
            cursor: group.cursor,
            joined_at: group.joined_at,
            in_step: group.standing == Standing::Member && !group.suspect,
            authenticator,
        })
    }
}
