//! The programs that tests and comparisons start, and the Debian packages they come in.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::Result;
use crate::command::{find_program, output, run, succeeds};

/// A program that this project starts, and where it comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program {
    /// Its file name.
    pub(crate) name: &'static str,
    /// The Debian package that holds it.
    pub(crate) package: &'static str,
}

/// The servers, and the browser, that the tests start.
pub(crate) const FOR_TESTS: &[Program] = &[
    Program {
        name: "redis-server",
        package: "redis-server",
    },
    Program {
        name: "nginx",
        package: "nginx",
    },
    Program {
        name: "nsd",
        package: "nsd",
    },
    Program {
        name: "chromium",
        package: "chromium",
    },
    Program {
        name: "chromedriver",
        package: "chromium-driver",
    },
];

/// Installs packages without starting a service; see the script itself.
const INSTALL: &str = include_str!("debian/install.sh");

/// Who may install packages here.
#[derive(Clone, Copy, Debug)]
enum Installer {
    Root,
    Sudo,
}

/// Makes sure that `programs` are on this machine: installs the packages of those that are missing
/// if that is possible without asking for a password, and says so.
///
/// # Errors
///
/// If one is missing and cannot be installed; the message has the packages and what to run.
pub(crate) fn make_sure_of(programs: &[Program]) -> Result {
    let missing = missing(programs);
    if missing.is_empty() {
        return Ok(());
    }
    let Some(installer) = installer() else {
        return Err(how_to_install(&missing, is_debian()).into());
    };
    let packages: Vec<_> = missing.iter().map(|program| program.package).collect();
    eprintln!(
        "installing the Debian packages {} without starting their services",
        packages.join(", ")
    );
    let mut command = match installer {
        Installer::Root => Command::new("sh"),
        Installer::Sudo => {
            let mut sudo = Command::new("sudo");
            sudo.args(["-n", "sh"]);
            sudo
        }
    };
    run(command
        .args(["-c", INSTALL, "install"])
        .args(&packages)
        .stdin(Stdio::null()))
    .map_err(|_| {
        format!(
            "apt-get could not install {}; its own words are above",
            packages.join(", ")
        )
    })?;
    match self::missing(programs).first() {
        None => Ok(()),
        Some(program) => Err(format!(
            "the package {} is installed, but there is no program {}",
            program.package, program.name
        )
        .into()),
    }
}

fn missing(programs: &[Program]) -> Vec<Program> {
    let absent = |program: &&Program| find_program(program.name).is_none();
    programs.iter().filter(absent).copied().collect()
}

fn installer() -> Option<Installer> {
    if !is_debian() {
        return None;
    }
    let user = output(Command::new("id").arg("-u")).unwrap_or_default();
    if user.trim() == "0" {
        return Some(Installer::Root);
    }
    succeeds(Command::new("sudo").args(["-n", "true"])).then_some(Installer::Sudo)
}

fn is_debian() -> bool {
    Path::new("/etc/debian_version").is_file() && find_program("apt-get").is_some()
}

fn how_to_install(missing: &[Program], debian: bool) -> String {
    let names: Vec<_> = missing.iter().map(|program| program.name).collect();
    let packages: Vec<_> = missing.iter().map(|program| program.package).collect();
    let (names, packages) = (names.join(", "), packages.join(" "));
    if debian {
        format!(
            "{names} is missing and installing it takes root: run \
             `sudo apt-get install --no-install-recommends {packages}`"
        )
    } else {
        format!("{names} is missing: install it (on Debian: the packages {packages})")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    const REDIS: Program = FOR_TESTS[0];

    #[test]
    fn programs_that_are_there_need_nothing() {
        let shell = Program {
            name: "sh",
            package: "dash",
        };
        make_sure_of(&[shell]).unwrap();
        assert!(missing(&[shell]).is_empty());
    }

    #[test]
    fn who_may_not_install_is_told_the_package_and_the_command() {
        let said = how_to_install(&[REDIS], true);
        assert!(
            said.ends_with("`sudo apt-get install --no-install-recommends redis-server`"),
            "{said}"
        );
        let said = how_to_install(&[REDIS], false);
        assert!(
            said.ends_with("(on Debian: the packages redis-server)"),
            "{said}"
        );
    }

    /// Writes an executable by another process: while this one has the file open for writing, a
    /// child that another test starts would inherit that, and the file could not be executed.
    fn write_program(file: &Path, text: &str) {
        let write = r#"printf %s "$2" >"$1" && chmod 755 "$1""#;
        run(Command::new("sh")
            .args(["-c", write, "write"])
            .arg(file)
            .arg(text))
        .unwrap();
    }

    /// A machine in a folder, with its own `apt-get`, `apt-cache` and `update-rc.d`.
    struct Machine {
        root: tempfile::TempDir,
    }

    impl Machine {
        /// `apt_get` runs with `$root` and `$log` set and the command (`install`, `update`) in `$1`.
        fn new(apt_get: &str) -> Self {
            let machine = Self {
                root: tempfile::tempdir().unwrap(),
            };
            for folder in ["bin", "usr/sbin", "etc/init.d"] {
                fs::create_dir_all(machine.at(folder)).unwrap();
            }
            let lists = r#"test -e "$root/lists""#;
            for (name, script) in [
                ("apt-get", apt_get),
                ("apt-cache", lists),
                ("update-rc.d", r#"echo "rc $*" >> "$log""#),
            ] {
                let file = machine.at("bin").join(name);
                let root = machine.root.path().display();
                let head = format!("#!/bin/sh\nroot={root}\nlog=$root/log\n");
                // Options come before the command; here they are of no interest.
                let skip = "while [ \"$1\" = -o ]; do shift 2; done\n";
                write_program(&file, &format!("{head}{skip}{script}\n"));
            }
            machine
        }

        fn at(&self, path: &str) -> PathBuf {
            self.root.path().join(path)
        }

        fn policy_exists(&self) -> bool {
            self.at("usr/sbin/policy-rc.d").exists()
        }

        /// Whether installing succeeded, and what happened.
        fn install(&self) -> (bool, String) {
            let path = std::env::var("PATH").unwrap();
            let done = succeeds(
                Command::new("sh")
                    .args(["-c", INSTALL, "install", "redis-server"])
                    .env("INSTALL_ROOT", self.root.path())
                    .env("PATH", format!("{}:{path}", self.at("bin").display())),
            );
            (done, fs::read_to_string(self.at("log")).unwrap_or_default())
        }
    }

    const APT_GET: &str = r#"
        echo "$1, policy $(sh "$root/usr/sbin/policy-rc.d" >/dev/null 2>&1; echo $?)" >> "$log"
        case $1 in
            update) touch "$root/lists" ;;
            install) test -e "$root/lists" && touch "$root/etc/init.d/redis-server" ;;
        esac"#;

    #[test]
    fn services_are_neither_started_nor_enabled_and_lists_are_fetched_once() {
        let machine = Machine::new(APT_GET);
        let (done, log) = machine.install();
        assert!(done);
        assert_eq!(
            log,
            "update, policy 101\ninstall, policy 101\nrc redis-server disable\n"
        );
        assert!(!machine.policy_exists());
    }

    #[test]
    fn a_failed_install_takes_the_policy_away_too() {
        let machine = Machine::new(r#"echo "$1" >> "$log"; [ "$1" = update ]"#);
        let (done, log) = machine.install();
        assert!(!done);
        assert_eq!(log, "update\ninstall\n");
        assert!(!machine.policy_exists());
    }

    #[test]
    fn stale_lists_are_fetched_and_installing_is_tried_again() {
        let machine = Machine::new(
            r#"echo "$1" >> "$log"
            case $1 in
                update) touch "$root/fresh" ;;
                install) test -e "$root/fresh" ;;
            esac"#,
        );
        fs::write(machine.at("lists"), "").unwrap();
        let (done, log) = machine.install();
        assert!(done);
        assert_eq!(log, "install\nupdate\ninstall\n");
    }

    #[test]
    fn a_policy_that_stood_before_stays() {
        let machine = Machine::new(APT_GET);
        fs::write(machine.at("usr/sbin/policy-rc.d"), "exit 7\n").unwrap();
        let (done, log) = machine.install();
        assert!(done);
        assert!(log.starts_with("update, policy 7\n"), "{log}");
        assert!(machine.policy_exists());
    }
}
