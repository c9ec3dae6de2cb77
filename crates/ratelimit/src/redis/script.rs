//! The script, the command that runs it, and its answer.

#[cfg(test)]
mod model;

use std::sync::LazyLock;

use ::redis::{Cmd, Script, Value, cmd};

use super::terms::Terms;

/// The server's own clock: those of the callers differ. It stands before the rest, where tests put
/// a time of their own, so that there is one script and no argument that a caller could set.
const NOW: &str = "local time = redis.call('TIME')\nlocal now = time[1] * 1000000 + time[2]\n";
const DECIDE: &str = include_str!("limits.lua");

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(&format!("{NOW}{DECIDE}")));

/// What is asked of the script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) operation: Operation,
    /// The names of the states, with the terms of each.
    pub(super) limits: Vec<(String, Terms)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// Takes `most` if it is there, else what is there, but less than `cost` not at all.
    Take { cost: u64, most: u64 },
    /// Gives `cost` back.
    Refund { cost: u64 },
}

/// What the script answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    /// 0 when it was refused, or only looked.
    pub(super) taken: u64,
    /// Where each limit stands, in its own terms.
    pub(super) answers: Vec<[u64; 3]>,
}

impl Request {
    /// Runs the script that the server has.
    pub(super) fn by_hash(&self) -> Cmd {
        self.command("EVALSHA", SCRIPT.get_hash())
    }

    /// Runs the script and leaves it with the server.
    pub(super) fn by_text(&self) -> Cmd {
        self.command("EVAL", &format!("{NOW}{DECIDE}"))
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = cmd(name);
        command.arg(script).arg(self.limits.len());
        for (name, _) in &self.limits {
            command.arg(name);
        }
        match self.operation {
            Operation::Take { cost, most } => command.arg("take").arg(cost).arg(most),
            Operation::Refund { cost } => command.arg("refund").arg(cost).arg(cost),
        };
        for (_, terms) in &self.limits {
            command.arg(terms.kind());
            for number in terms.numbers() {
                command.arg(number);
            }
        }
        command
    }

    /// Reads the answer; `None` when it is none of the script's.
    pub(super) fn read(&self, answer: &Value) -> Option<Reply> {
        let Value::Array(numbers) = answer else {
            return None;
        };
        let mut numbers = numbers.iter().map(|number| match number {
            Value::Int(number) => u64::try_from(*number).ok(),
            _ => None,
        });
        let mut next = || numbers.next()?;
        let taken = next()?;
        let answers = self
            .limits
            .iter()
            .map(|_| Some([next()?, next()?, next()?]))
            .collect::<Option<_>>()?;
        Some(Reply { taken, answers })
    }
}
