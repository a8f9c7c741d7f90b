//! Who may do what over the control socket.
//!
//! [`Access::of`] looks up what `[control]` names, once, before anything starts: a user data base can be
//! slow, and the control thread may not open files of the host later. Whoever connects is asked nothing:
//! [`Peer`] is what the kernel noted of the process that connected.

use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use model::config::SocketMode;
use nix::unistd::{Group, User};

use crate::peer::Peer;

/// Why `[control]` cannot be granted on this host.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// No such user or group here.
    #[error("control.{key} = \"{name}\": there is no such {kind} on this host")]
    Unknown {
        /// The key of the config.
        key: &'static str,
        /// Its value.
        name: String,
        /// `user` or `group`.
        kind: &'static str,
    },
    /// The data base of users or groups could not be asked.
    #[error("control.{key} = \"{name}\": {source}")]
    LookUp {
        /// The key of the config.
        key: &'static str,
        /// Its value.
        name: String,
        /// What the system said.
        source: io::Error,
    },
}

/// What a client may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    /// To look.
    Read,
    /// To change something, too.
    Write,
}

/// The rights of the control socket, in numbers of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    mode: SocketMode,
    owner: Option<u32>,
    group: Option<u32>,
    write_group: Option<u32>,
    /// The user that runs the gateway.
    runs_as: u32,
    /// Who may write, in words.
    writers: String,
}

impl Access {
    /// What `config` says, on this host.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn of(config: &model::config::Access) -> Result<Self, AccessError> {
        let writers = match &config.write_group {
            None => "root and the user that runs the gateway".to_owned(),
            Some(group) => format!("root, the user that runs the gateway and the group {group}"),
        };
        Ok(Self {
            mode: config.mode,
            owner: config.owner.as_deref().map(|name| user("owner", name)).transpose()?,
            group: config.group.as_deref().map(|name| group("group", name)).transpose()?,
            write_group: config
                .write_group
                .as_deref()
                .map(|name| group("write_group", name))
                .transpose()?,
            runs_as: rustix::process::geteuid().as_raw(),
            writers,
        })
    }

    /// Which group of the host may come as far as the socket.
    pub fn group(&self) -> Option<u32> {
        self.group.filter(|_| self.mode != SocketMode::Owner)
    }

    /// Whether every user of the host may.
    pub fn is_open_to_all(&self) -> bool {
        self.mode == SocketMode::All
    }

    /// Who may write, in words.
    pub(crate) fn writers(&self) -> &str {
        &self.writers
    }

    /// What `peer` may do. That it has come this far is the file's affair: its mode, owner and group.
    pub(crate) fn right_of(&self, peer: &Peer) -> Right {
        let is_ours = [0, self.runs_as].contains(&peer.uid);
        if is_ours || self.write_group.is_some_and(|group| peer.is_in(group)) {
            Right::Write
        } else {
            Right::Read
        }
    }

    /// Gives the file at `path` its owner, its group and, last, its mode.
    ///
    /// # Errors
    /// What the system says: only root gives files away, and a user only to groups of its own.
    pub(crate) fn grant(&self, path: &Path) -> io::Result<()> {
        if self.owner.is_some() || self.group.is_some() {
            chown(path, self.owner, self.group)?;
        }
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(self.mode.bits()))
    }
}

fn user(key: &'static str, name: &str) -> Result<u32, AccessError> {
    let found = User::from_name(name).map(|user| user.map(|user| user.uid.as_raw()));
    number(key, name, "user", found)
}

fn group(key: &'static str, name: &str) -> Result<u32, AccessError> {
    let found = Group::from_name(name).map(|group| group.map(|group| group.gid.as_raw()));
    number(key, name, "group", found)
}

/// A name that the host knows goes before a number, as everywhere.
fn number(
    key: &'static str,
    name: &str,
    kind: &'static str,
    found: nix::Result<Option<u32>>,
) -> Result<u32, AccessError> {
    match (found, name.parse()) {
        (Ok(Some(number)), _) | (_, Ok(number)) => Ok(number),
        (Ok(None), Err(_)) => Err(AccessError::Unknown { key, name: name.to_owned(), kind }),
        (Err(error), Err(_)) => {
            Err(AccessError::LookUp { key, name: name.to_owned(), source: error.into() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(write_group: Option<&str>) -> model::config::Access {
        let write_group = write_group.map(str::to_owned);
        model::config::Access { write_group, ..model::config::Access::default() }
    }

    #[test]
    fn names_and_numbers_of_the_host_are_looked_up() {
        let named = model::config::Access {
            owner: Some("root".into()),
            group: Some("root".into()),
            write_group: Some("4711".into()),
            ..model::config::Access::default()
        };
        let access = Access::of(&named).unwrap();
        assert_eq!(
            (access.owner, access.group, access.write_group),
            (Some(0), Some(0), Some(4711))
        );
        let error = Access::of(&config(Some("no-such-group"))).unwrap_err().to_string();
        assert_eq!(
            error,
            "control.write_group = \"no-such-group\": there is no such group on this host"
        );
    }

    #[test]
    fn root_the_gateways_user_and_members_of_the_write_group_write() {
        let peer = |uid, gid, groups: &[u32]| Peer { uid, gid, pid: None, groups: groups.to_vec() };
        let of = |write_group| Access { runs_as: 900, ..Access::of(&config(write_group)).unwrap() };
        let access = of(Some("4711"));
        for may in [peer(0, 0, &[]), peer(900, 1, &[]), peer(7, 4711, &[]), peer(7, 7, &[8, 4711])]
        {
            assert_eq!(access.right_of(&may), Right::Write, "{may:?}");
        }
        for may_not in [peer(7, 7, &[]), peer(4711, 7, &[8]), peer(7, 0, &[0])] {
            assert_eq!(access.right_of(&may_not), Right::Read, "{may_not:?}");
        }
        // Without a write group no group is as good as one.
        assert_eq!(of(None).right_of(&peer(7, 4711, &[0, 4711])), Right::Read);
    }
}
