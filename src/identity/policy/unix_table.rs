//! `[[unix]]` of the policy: local processes, by user or group.

use serde::Deserialize;

use super::{
    super::{
        principal::{CredentialKind, Grant},
        role::Role,
        scope::Scope,
    },
    entry::{Entry, Name, check_number, entry, grant},
};

/// User and group ids of the names in a policy.
pub trait Accounts {
    /// The id of a user, by name.
    fn user(&self, name: &str) -> Option<u32>;

    /// The id of a group, by name.
    fn group(&self, name: &str) -> Option<u32>;

    /// The effective user id of the daemon.
    fn own_user(&self) -> u32;

    /// The user id of all users that the user namespace of the daemon does not have.
    fn overflow_user(&self) -> u32 {
        DEFAULT_OVERFLOW_ID
    }

    /// The same of groups.
    fn overflow_group(&self) -> u32 {
        DEFAULT_OVERFLOW_ID
    }
}

/// What a process must have.
#[derive(Clone, Copy, Debug)]
pub(super) enum UnixMatch {
    User(u32),
    Group(u32),
}

/// `[[unix]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UnixTable {
    name: Option<Name>,
    user: Option<Account>,
    group: Option<Account>,
    role: Role,
    scope: Option<Scope>,
    #[serde(default)]
    scope_reads: bool,
}

/// A name or an id.
#[derive(Deserialize)]
#[serde(untagged)]
enum Account {
    Id(u32),
    Name(String),
}

/// The group whose members are administrators by default.
pub const DEFAULT_GROUP: &str = "ipvsd";

/// The id of users and groups that a user namespace does not have, unless the system has another one
/// (`/proc/sys/kernel/overflowuid`, `/proc/sys/kernel/overflowgid`).
pub const DEFAULT_OVERFLOW_ID: u32 = 65534;

/// Root, the user of the daemon, and the group `ipvsd` if there is one. An overflow id is nobody's.
pub(super) fn default_unix(accounts: &dyn Accounts) -> Vec<(UnixMatch, Entry)> {
    let mut entries = vec![administrator(UnixMatch::User(0), "root")];
    let own = accounts.own_user();
    if own != 0 && own != accounts.overflow_user() {
        entries.push(administrator(UnixMatch::User(own), &format!("uid:{own}")));
    }
    let group = accounts.group(DEFAULT_GROUP);
    if let Some(group) = group.filter(|group| *group != accounts.overflow_group()) {
        let name = format!("group:{DEFAULT_GROUP}");
        entries.push(administrator(UnixMatch::Group(group), &name));
    }
    entries
}

pub(super) fn administrator(wanted: UnixMatch, name: &str) -> (UnixMatch, Entry) {
    let grant = Grant::of(Role::Admin);
    let entry = entry(name.to_owned(), CredentialKind::Unix, grant, None);
    (wanted, entry)
}

// === impl UnixMatch ===

impl UnixMatch {
    /// Refuses the id that every user or group has that is not in the daemon's user namespace.
    fn check(self, accounts: &dyn Accounts) -> Result<Self, String> {
        let (key, id, overflow) = match self {
            Self::User(id) => ("user", id, accounts.overflow_user()),
            Self::Group(id) => ("group", id, accounts.overflow_group()),
        };
        match id == overflow {
            false => Ok(self),
            true => Err(format!(
                "{key}: the kernel shows the id {id} for every {key} of another user namespace; use a \
                 {key} with an id of its own"
            )),
        }
    }
}

// === impl UnixTable ===

impl UnixTable {
    pub(super) fn entry(
        self,
        index: usize,
        accounts: &dyn Accounts,
    ) -> Result<(UnixMatch, Entry), String> {
        let Self {
            name,
            user,
            group,
            role,
            scope,
            scope_reads,
        } = self;
        check_number(index)?;
        let (wanted, default) = match (user, group) {
            (Some(Account::Id(id)), None) => (UnixMatch::User(id), format!("uid:{id}")),
            (Some(Account::Name(name)), None) => {
                let id = accounts.user(&name);
                let id = id.ok_or_else(|| format!("user: there is no user {name:?}"))?;
                (UnixMatch::User(id), format!("user:{name}"))
            }
            (None, Some(Account::Id(id))) => (UnixMatch::Group(id), format!("gid:{id}")),
            (None, Some(Account::Name(name))) => {
                let id = accounts.group(&name);
                let id = id.ok_or_else(|| format!("group: there is no group {name:?}"))?;
                (UnixMatch::Group(id), format!("group:{name}"))
            }
            _ => return Err("exactly one of user and group is required".to_owned()),
        };
        let wanted = wanted.check(accounts)?;
        if matches!(wanted, UnixMatch::User(0)) {
            // The entry would have no effect: that of root comes first.
            if role != Role::Admin {
                return Err("role: root always has the role admin".to_owned());
            }
            if scope.is_some() {
                return Err("scope: root always has the role admin, without a scope".to_owned());
            }
        }
        let name = name.map_or(default, |Name(name)| name);
        let grant = grant(role, scope, scope_reads);
        Ok((wanted, entry(name, CredentialKind::Unix, grant, None)))
    }
}
