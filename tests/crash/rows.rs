//! The database of an unmounted store, edited row by row. The tables are those drawn in
//! src/store/tables.rs.

use std::path::Path;

use redb::{Database, ReadableTable, TableDefinition, WriteTransaction};

pub(crate) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
pub(crate) const NAMES: TableDefinition<'_, &str, u64> = TableDefinition::new("names");
pub(crate) const ROWS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("rows");
pub(crate) const DOCS: TableDefinition<'_, (u64, u8), &[u8]> = TableDefinition::new("docs");
pub(crate) const NEEDS: TableDefinition<'_, (u64, u64), u64> = TableDefinition::new("needs");
const IDS: TableDefinition<'_, &[u8; 32], (u8, u64)> = TableDefinition::new("ids");

/// Changes the database in one transaction.
pub(crate) fn edit<T>(store: &Path, change: impl FnOnce(&WriteTransaction) -> T) -> T {
    let db = Database::open(store.join("ctrfs.redb")).unwrap();
    let txn = db.begin_write().unwrap();
    let changed = change(&txn);
    txn.commit().unwrap();
    changed
}

/// The serial of the object with this ID.
pub(crate) fn serial(txn: &WriteTransaction, id: &str) -> u64 {
    let ids = txn.open_table(IDS).unwrap();
    let row = ids.get(&bytes(id)).unwrap().expect("the ID is there");
    row.value().1
}

fn bytes(id: &str) -> [u8; 32] {
    std::array::from_fn(|at| u8::from_str_radix(&id[2 * at..2 * at + 2], 16).unwrap())
}

/// Puts other bytes in the place of a row.
pub(crate) fn replace_row(txn: &WriteTransaction, serial: u64, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    let mut rows = txn.open_table(ROWS).unwrap();
    let old = rows.get(serial).unwrap().expect("the row is there").value().to_vec();
    rows.insert(serial, change(old).as_slice()).unwrap();
}

/// Puts other bytes in the place of a document: 0 is the config, 1 the state.
pub(crate) fn replace_doc(txn: &WriteTransaction, serial: u64, doc: u8, bytes: &[u8]) {
    txn.open_table(DOCS).unwrap().insert((serial, doc), bytes).unwrap();
}

/// The serial of the infra container with this ID.
pub(crate) fn infra(txn: &WriteTransaction, id: &str) -> u64 {
    let table: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("infra");
    let found = txn.open_table(table).unwrap();
    found.get(&bytes(id)).unwrap().expect("the ID is there").value()
}
