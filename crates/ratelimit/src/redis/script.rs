//! The script, the command that runs it, and its answer.

#[cfg(test)]
pub(super) mod model;

use std::sync::LazyLock;

use ::redis::{Cmd, Script, Value};

use super::key;
use super::terms::Terms;

/// About what the name and the arguments of one limit take.
const CLAUSE_BYTES: usize = 128;

/// The server's own clock: those of the callers differ. It stands before the rest, where tests put
/// a time of their own, so that there is one script and no argument that a caller could set.
const NOW: &str = "local time = redis.call('TIME')\nlocal now = time[1] * 1000000 + time[2]\n";
const DECIDE: &str = include_str!("limits.lua");

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(&format!("{NOW}{DECIDE}")));

/// What is asked of the script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request<'a> {
    pub(super) operation: Operation,
    /// The names of the states, one for each clause.
    pub(super) names: Vec<String>,
    pub(super) clauses: &'a [Clause],
}

/// One limit, and how it is written: the same in all requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Clause {
    pub(super) terms: Terms,
    /// All keys together have one state.
    pub(super) shared: bool,
    /// What the names of its states end in.
    pub(super) ending: Box<str>,
    /// Its kind and its numbers.
    arguments: [Box<str>; 4],
}

impl Clause {
    pub(super) fn new(terms: Terms, shared: bool) -> Self {
        let [a, b, c] = terms.numbers();
        Self {
            terms,
            shared,
            ending: key::ending(&terms).into(),
            arguments: [
                terms.kind().into(),
                a.to_string().into(),
                b.to_string().into(),
                c.to_string().into(),
            ],
        }
    }
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

impl Request<'_> {
    /// Runs the script that the server has.
    pub(super) fn by_hash(&self) -> Cmd {
        self.command("EVALSHA", SCRIPT.get_hash())
    }

    /// Runs the script and leaves it with the server.
    pub(super) fn by_text(&self) -> Cmd {
        self.command("EVAL", &format!("{NOW}{DECIDE}"))
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let arguments = 6 + 5 * self.clauses.len();
        let bytes = 64 + script.len() + self.clauses.len() * CLAUSE_BYTES;
        let mut command = Cmd::with_capacity(arguments, bytes);
        command.arg(name).arg(script).arg(self.clauses.len());
        for name in &self.names {
            command.arg(name);
        }
        match self.operation {
            Operation::Take { cost, most } => command.arg("take").arg(cost).arg(most),
            Operation::Refund { cost } => command.arg("refund").arg(cost).arg(cost),
        };
        for argument in self.clauses.iter().flat_map(|clause| &clause.arguments) {
            command.arg(&**argument);
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
            .clauses
            .iter()
            .map(|_| Some([next()?, next()?, next()?]))
            .collect::<Option<_>>()?;
        Some(Reply { taken, answers })
    }
}
