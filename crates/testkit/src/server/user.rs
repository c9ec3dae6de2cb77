//! Dropping to another user where a server refuses root.

use std::fs;
use std::io;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::spec::ServerSpec;

/// A user of this machine.
#[derive(Debug)]
pub(super) struct User {
    uid: u32,
    gid: u32,
}

impl User {
    /// The user that the server must become: none when the test does not run as root, or when the
    /// server runs as root like any other user.
    #[track_caller]
    pub(super) fn to_become(spec: &impl ServerSpec) -> Option<Self> {
        let name = spec.user()?;
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let user = users.lines().find_map(|line| Self::parse(name, line));
        assert!(
            user.is_some(),
            "this machine has no user {name:?} to run {} as; the Debian package `{}` makes it",
            spec.program(),
            spec.package()
        );
        user
    }

    /// Reads one line of `/etc/passwd`, if it is about `name`.
    fn parse(name: &str, line: &str) -> Option<Self> {
        let mut fields = line.split(':');
        let found = fields.next()? == name;
        let user = Self {
            uid: fields.nth(1)?.parse().ok()?,
            gid: fields.next()?.parse().ok()?,
        };
        found.then_some(user)
    }

    pub(super) fn own(&self, path: &Path) -> io::Result<()> {
        chown(path, Some(self.uid), Some(self.gid))
    }

    /// Has `command` run as this user, in its main group only.
    pub(super) fn run(&self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name_only() {
        let line = "postgres:x:105:113:PostgreSQL administrator,,,:/var/lib/postgresql:/bin/bash";
        let user = User::parse("postgres", line).unwrap();
        assert_eq!((user.uid, user.gid), (105, 113));
        assert!(User::parse("postgre", line).is_none());
        assert!(User::parse("postgres", "postgres:x").is_none());
    }
}
