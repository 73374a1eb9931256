//! `ctrfs create`: documents in, IDs out.

use std::io::{self, Read};
use std::process::ExitCode;

use clap::Args;
use serde::de::IgnoredAny;

use super::error::Error;
use super::print;
use super::tree::{At, Kind, Tree};

/// The arguments of `ctrfs create`.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Create pods instead of containers
    #[arg(long)]
    pod: bool,
    /// Create pod sandboxes instead: pods, each with its infra container
    #[arg(long, conflicts_with = "pod")]
    sandbox: bool,
    #[command(flatten)]
    at: At,
}

impl Create {
    /// Creates what standard input says.
    pub(crate) fn run(self) -> Result<ExitCode, Error> {
        let (entry, noun) = match (self.sandbox, self.pod) {
            (true, _) => ("create/sandbox", "sandbox"),
            (false, true) => ("create/pod", Kind::Pod.noun()),
            (false, false) => ("create/ctr", Kind::Container.noun()),
        };
        let tree = Tree::find(self.at)?;
        let mut input = Vec::new();
        io::stdin().read_to_end(&mut input).map_err(Error::Input)?;
        let documents = count(&input)?;
        let what = format!("create {noun}");
        let mut ids = String::new();
        let done = tree.ask(entry, &what, &input, &mut ids);
        print(&ids)?;
        done?;
        let answers = ids.lines().count();
        if answers < documents {
            return Err(Error::FewAnswers { documents, answers });
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Counts the documents. What the tree would only wait for the end of is refused here: it could say so
/// no earlier than at close, which nobody hears. All else is the tree's to judge.
fn count(input: &[u8]) -> Result<usize, Error> {
    let mut documents = 0;
    for document in serde_json::Deserializer::from_slice(input).into_iter::<IgnoredAny>() {
        match document {
            Ok(_) => documents += 1,
            Err(error) if error.is_eof() => return Err(Error::CutDocument),
            Err(_) => return Ok(documents),
        }
    }
    match documents {
        0 => Err(Error::NoDocument),
        documents => Ok(documents),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_and_missing_documents_are_told() {
        assert_eq!(count(b"{}").unwrap(), 1);
        assert_eq!(count(b" {\"a\":1}{}\n{} ").unwrap(), 3);
        assert_eq!(count(b"{} garbage").unwrap(), 1);
        assert_eq!(count(b"garbage").unwrap(), 0);
        assert!(matches!(count(b"{}{\"a\":"), Err(Error::CutDocument)));
        assert!(matches!(count(b" \n"), Err(Error::NoDocument)));
    }
}
