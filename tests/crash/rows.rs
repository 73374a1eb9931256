//! The database of an unmounted store, edited row by row. The tables are those drawn in
//! src/store/tables.rs.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;

use redb::{Database, Key, ReadableDatabase, ReadableTable, TableDefinition, TableHandle, Value, WriteTransaction};

pub(crate) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
pub(crate) const NAMES: TableDefinition<'_, &str, u64> = TableDefinition::new("names");
pub(crate) const ROWS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("rows");
pub(crate) const DOCS: TableDefinition<'_, (u64, u8), &[u8]> = TableDefinition::new("docs");
pub(crate) const NEEDS: TableDefinition<'_, (u64, u64), u64> = TableDefinition::new("needs");
pub(crate) const IDS: TableDefinition<'_, &[u8; 32], (u8, u64)> = TableDefinition::new("ids");
pub(crate) const OBJECTS: TableDefinition<'_, (u8, u64), &[u8; 32]> = TableDefinition::new("objects");
pub(crate) const DIGESTS: TableDefinition<'_, (u8, &[u8; 32]), u64> = TableDefinition::new("digests");
pub(crate) const NEEDED: TableDefinition<'_, (u64, u64), u64> = TableDefinition::new("needed");
pub(crate) const MEMBERS: TableDefinition<'_, (u64, u64), u64> = TableDefinition::new("members");
pub(crate) const TAGS: TableDefinition<'_, &str, u64> = TableDefinition::new("tags");
pub(crate) const TAG_DIRS: TableDefinition<'_, &str, u64> = TableDefinition::new("tag-dirs");
pub(crate) const TAGGED: TableDefinition<'_, (u64, u64), ()> = TableDefinition::new("tagged");
pub(crate) const PLACES: TableDefinition<'_, (u64, u64), u64> = TableDefinition::new("places");
pub(crate) const HELD: TableDefinition<'_, (u64, u64), u64> = TableDefinition::new("held");
pub(crate) const CHILDREN: TableDefinition<'_, (u64, u64), ()> = TableDefinition::new("children");
pub(crate) const USERS: TableDefinition<'_, (u64, u64), ()> = TableDefinition::new("users");
pub(crate) const MOUNTED: TableDefinition<'_, u64, ()> = TableDefinition::new("mounted");
pub(crate) const ITEMS: TableDefinition<'_, (u64, &str), u64> = TableDefinition::new("items");
pub(crate) const DATA: TableDefinition<'_, u64, u64> = TableDefinition::new("data");
pub(crate) const MORE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("more");
pub(crate) const FLAGS: TableDefinition<'_, (u64, &str), u64> = TableDefinition::new("flags");
pub(crate) const INFRA: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("infra");
pub(crate) const EXITED: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("exited");
pub(crate) const REQUESTS: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("requests");

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

/// All that the database of an unmounted store says of objects, an entry a line; what is only about when
/// something changed, or about servers, is not among it.
pub(crate) fn dump(store: &Path) -> BTreeMap<String, String> {
    fn table<K: Key + 'static, V: Value + 'static>(
        txn: &redb::ReadTransaction,
        table: TableDefinition<'_, K, V>,
        into: &mut BTreeMap<String, String>,
    ) where
        for<'a> K::SelfType<'a>: Debug,
        for<'a> V::SelfType<'a>: Debug,
    {
        for entry in txn.open_table(table).unwrap().iter().unwrap() {
            let (key, value) = entry.unwrap();
            into.insert(format!("{} {:?}", table.name(), key.value()), format!("{:?}", value.value()));
        }
    }
    let db = Database::open(store.join("ctrfs.redb")).unwrap();
    let txn = db.begin_read().unwrap();
    let mut all = BTreeMap::new();
    table(&txn, IDS, &mut all);
    table(&txn, OBJECTS, &mut all);
    table(&txn, DIGESTS, &mut all);
    table(&txn, NAMES, &mut all);
    table(&txn, ROWS, &mut all);
    table(&txn, DOCS, &mut all);
    for ties in [NEEDS, NEEDED, MEMBERS, PLACES, HELD] {
        table(&txn, ties, &mut all);
    }
    for pairs in [TAGGED, CHILDREN, USERS] {
        table(&txn, pairs, &mut all);
    }
    table(&txn, TAGS, &mut all);
    table(&txn, TAG_DIRS, &mut all);
    table(&txn, MOUNTED, &mut all);
    table(&txn, ITEMS, &mut all);
    table(&txn, MORE, &mut all);
    table(&txn, FLAGS, &mut all);
    table(&txn, INFRA, &mut all);
    table(&txn, EXITED, &mut all);
    all
}

/// The serial of the infra container with this ID.
pub(crate) fn infra(txn: &WriteTransaction, id: &str) -> u64 {
    let found = txn.open_table(INFRA).unwrap();
    found.get(&bytes(id)).unwrap().expect("the ID is there").value()
}
