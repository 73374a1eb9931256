//! The tree's tables: tab-separated, header first, `-` for an empty cell, `\t \n \\` for the three
//! characters that would break a row.

use super::error::Error;

/// A table with its header; every row has the header's width, empty cells are none.
#[derive(Debug)]
pub(crate) struct Table {
    name: &'static str,
    columns: Vec<String>,
    rows: Vec<Vec<Option<String>>>,
}

impl Table {
    /// Takes the text of the table `name` apart.
    pub(crate) fn parse(name: &'static str, text: &str) -> Result<Table, Error> {
        let shape = |line| Error::TableShape { table: name, line };
        let mut lines = text.lines();
        let header = lines.next().ok_or(shape(1))?;
        let columns: Vec<String> = header.split('\t').map(str::to_owned).collect();
        let mut rows = Vec::new();
        for (index, line) in lines.enumerate() {
            let row: Vec<Option<String>> = line.split('\t').map(cell).collect();
            if row.len() != columns.len() {
                return Err(shape(index + 2));
            }
            rows.push(row);
        }
        Ok(Table { name, columns, rows })
    }

    /// The names of the columns.
    pub(crate) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The rows, in the table's order.
    pub(crate) fn rows(&self) -> &[Vec<Option<String>>] {
        &self.rows
    }

    /// The place of a column.
    pub(crate) fn column(&self, column: &str) -> Result<usize, Error> {
        let place = self.columns.iter().position(|name| name == column);
        place.ok_or_else(|| Error::NoColumn {
            table: self.name,
            column: column.to_owned(),
            columns: self.columns.clone(),
        })
    }

    /// Keeps the rows whose cell in `column` is `value`; an empty value means an empty cell.
    pub(crate) fn keep(&mut self, column: &str, value: &str) -> Result<(), Error> {
        let place = self.column(column)?;
        self.rows.retain(|row| row[place].as_deref().unwrap_or_default() == value);
        Ok(())
    }
}

fn cell(text: &str) -> Option<String> {
    (text != "-").then(|| unescape(text))
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(next) = rest.next() {
        if next != '\\' {
            plain.push(next);
            continue;
        }
        match rest.next() {
            Some('t') => plain.push('\t'),
            Some('n') => plain.push('\n'),
            Some('\\') => plain.push('\\'),
            other => plain.extend(['\\'].into_iter().chain(other)),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_come_back() {
        assert_eq!(unescape(r"a\tb\nc\\d"), "a\tb\nc\\d");
        assert_eq!(unescape(r"\\t"), r"\t");
        assert_eq!(unescape(r"\x\"), r"\x\");
    }

    #[test]
    fn a_row_has_its_header_s_columns() {
        let table = Table::parse("table/ctr", "id\tname\n1\ta\\tb\n2\t-\n").unwrap();
        assert_eq!(table.columns(), ["id", "name"]);
        assert_eq!(table.rows()[0][1].as_deref(), Some("a\tb"));
        assert_eq!(table.rows()[1][1], None);
        for (text, line) in [("", 1), ("id\tname\n1\ta\n2\n", 3)] {
            let Err(Error::TableShape { line: found, .. }) = Table::parse("table/ctr", text) else {
                panic!("{text:?} is no table");
            };
            assert_eq!(found, line);
        }
    }

    #[test]
    fn keep_wants_a_known_column() {
        let mut table = Table::parse("table/ctr", "id\tname\n1\ta\n2\t-\n").unwrap();
        assert!(matches!(table.keep("pid", "1"), Err(Error::NoColumn { .. })));
        table.keep("name", "").unwrap();
        assert_eq!(table.rows(), [[Some("2".to_owned()), None]]);
    }
}
