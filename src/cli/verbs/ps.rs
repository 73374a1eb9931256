//! `ctrfs ps`: the tree's table, for people or as JSON.

use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;
use indicatif::HumanBytes;
use serde_json::{Map, Value};

use super::error::Error;
use super::print;
use super::table::Table;
use super::time;
use super::tree::{At, Tree};

const SHORT_ID: usize = 12;

/// The arguments of `ctrfs ps`.
#[derive(Debug, Args)]
pub(crate) struct Ps {
    /// List pods instead of containers
    #[arg(long)]
    pods: bool,
    #[command(flatten)]
    listing: Listing,
}

/// How a table is shown, and which of its rows.
#[derive(Debug, Args)]
pub(crate) struct Listing {
    /// Print every column as JSON, an array of objects: strings, or null where there is no value
    #[arg(long)]
    json: bool,
    /// Do not shorten IDs
    #[arg(long)]
    no_trunc: bool,
    /// Only rows with this value, such as status=running; may be given several times
    #[arg(long, short, value_name = "COLUMN=VALUE", value_parser = filter)]
    filter: Vec<(String, String)>,
    #[command(flatten)]
    at: At,
}

/// How a cell is shown.
#[derive(Clone, Copy)]
pub(crate) enum Show {
    /// An ID, shortened.
    Id,
    /// As it is.
    Text,
    /// A number of bytes.
    Size,
    /// A time, as how long ago it was.
    Age,
}

/// The columns that people see: title, column of the table, and how.
pub(crate) type Layout = &'static [(&'static str, &'static str, Show)];

const CONTAINERS: Layout = &[
    ("ID", "id", Show::Id),
    ("NAME", "name", Show::Text),
    ("STATUS", "status", Show::Text),
    ("PID", "pid", Show::Text),
    ("MOUNTED", "mounted", Show::Text),
    ("POD", "pod", Show::Text),
    ("CREATED", "created", Show::Age),
];

const PODS: Layout = &[
    ("ID", "id", Show::Id),
    ("NAME", "name", Show::Text),
    ("STATUS", "status", Show::Text),
    ("CONTAINERS", "containers", Show::Text),
    ("CREATED", "created", Show::Age),
];

impl Ps {
    /// Prints the table.
    pub(crate) fn run(self) -> Result<ExitCode, Error> {
        match self.pods {
            true => self.listing.show("table/pod", PODS),
            false => self.listing.show("table/ctr", CONTAINERS),
        }
    }
}

impl Listing {
    /// Prints a table of the tree.
    pub(crate) fn show(self, name: &'static str, layout: Layout) -> Result<ExitCode, Error> {
        let tree = Tree::find(self.at)?;
        let mut table = Table::parse(name, &tree.read(name)?)?;
        for (column, value) in &self.filter {
            table.keep(column, value)?;
        }
        let text = match self.json {
            true => format!("{:#}\n", objects(&table)),
            false => aligned(&people(&table, layout, self.no_trunc, SystemTime::now())?),
        };
        print(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn filter(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((column, value)) => Ok((column.to_owned(), value.to_owned())),
        None => Err("a filter is COLUMN=VALUE"),
    }
}

fn objects(table: &Table) -> Value {
    let object = |row: &Vec<Option<String>>| -> Value {
        let values = row.iter().cloned().map(Value::from);
        let members: Map<String, Value> = table.columns().iter().cloned().zip(values).collect();
        members.into()
    };
    table.rows().iter().map(object).collect()
}

/// The rows as people read them, the title row first.
fn people(table: &Table, layout: Layout, full_ids: bool, now: SystemTime) -> Result<Vec<Vec<String>>, Error> {
    let places =
        layout.iter().map(|(_, column, show)| Ok((table.column(column)?, *show))).collect::<Result<Vec<_>, Error>>()?;
    let shown = |row: &Vec<Option<String>>| -> Vec<String> {
        places
            .iter()
            .map(|(place, show)| match (&row[*place], show) {
                (None, _) => "-".to_owned(),
                (Some(id), Show::Id) if !full_ids => id.chars().take(SHORT_ID).collect(),
                (Some(text), Show::Id | Show::Text) => text.clone(),
                (Some(text), Show::Size) => {
                    text.parse().map_or_else(|_| text.clone(), |bytes| HumanBytes(bytes).to_string())
                }
                (Some(text), Show::Age) => {
                    time::parse(text).and_then(|then| time::age(now, then)).unwrap_or_else(|| text.clone())
                }
            })
            .collect()
    };
    let titles = layout.iter().map(|(title, ..)| (*title).to_owned()).collect();
    Ok(std::iter::once(titles).chain(table.rows().iter().map(shown)).collect())
}

fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max())
        .map(Option::unwrap_or_default)
        .collect();
    rows.iter()
        .map(|row| {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            format!("{}\n", cells.join("  ").trim_end())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "id\tname\tstatus\tcontainers\tcreated\n\
        0123456789abcdef\tweb\t-\t2\t2026-01-01T00:00:00Z\n";

    #[test]
    fn people_get_short_ids_and_ages() {
        let table = Table::parse("table/pod", TEXT).unwrap();
        let now = time::parse("2026-01-01T00:03:20Z").unwrap();
        let rows = people(&table, PODS, false, now).unwrap();
        assert_eq!(
            aligned(&rows),
            "ID            NAME  STATUS  CONTAINERS  CREATED\n\
             0123456789ab  web   -       2           3 minutes ago\n"
        );
        let rows = people(&table, PODS, true, now).unwrap();
        assert_eq!(rows[1][0], "0123456789abcdef");
        assert!(people(&table, CONTAINERS, false, now).is_err());
    }

    #[test]
    fn machines_get_every_column() {
        let table = Table::parse("table/pod", TEXT).unwrap();
        assert_eq!(
            objects(&table).to_string(),
            r#"[{"id":"0123456789abcdef","name":"web","status":null,"containers":"2","created":"2026-01-01T00:00:00Z"}]"#
        );
    }
}
