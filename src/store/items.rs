//! A caller's own files: which there are, and what their bytes must be.

use redb::ReadableTable;

use super::error::StoreError;
use super::query::{Query, Update};
use super::tables::{DATA, ITEMS};
use crate::model::record::{Item, Nanos, Row, Serial};

type Result<T> = std::result::Result<T, StoreError>;

/// Questions about items.
pub trait Items: Query + Sized {
    /// An object's item with this key.
    fn item(&self, owner: Serial, key: &str) -> Result<Option<Serial>> {
        Ok(self.table(ITEMS)?.get((owner, key))?.map(|row| row.value()))
    }

    /// An object's items, by key.
    fn items(&self, owner: Serial) -> Result<Vec<(String, Serial)>> {
        let mut found = Vec::new();
        for entry in self.table(ITEMS)?.range((owner, "")..(owner + 1, ""))? {
            let (key, serial) = entry?;
            found.push((key.value().1.to_owned(), serial.value()));
        }
        Ok(found)
    }

    /// Whether an object has any item.
    fn has_items(&self, owner: Serial) -> Result<bool> {
        Ok(self.table(ITEMS)?.range((owner, "")..(owner + 1, ""))?.next().transpose()?.is_some())
    }

    /// What an item is; `None` when it is gone.
    ///
    /// # Errors
    /// [`StoreError::Row`] when its row does not decode.
    fn item_row(&self, serial: Serial) -> Result<Option<Item>> {
        match self.row(serial)? {
            Some(Row::Item(item)) => Ok(Some(item)),
            _ => Ok(None),
        }
    }

    /// All items.
    fn all_items(&self) -> Result<Vec<(Serial, Item)>> {
        let rows = self.rows()?;
        let mut found = Vec::new();
        for entry in self.table(ITEMS)?.iter()? {
            let serial = entry?.1.value();
            if let Ok(Some(Row::Item(item))) = rows.get(serial) {
                found.push((serial, item));
            }
        }
        Ok(found)
    }

    /// When one of an object's items came, went or changed last; `None` where it never had one.
    fn data_changed(&self, owner: Serial) -> Result<Option<Nanos>> {
        Ok(self.table(DATA)?.get(owner)?.map(|row| row.value()))
    }
}

impl<Q: Query> Items for Q {}

impl Update<'_> {
    /// Enters a new item, or writes one that is there anew; its key must be free or its own.
    pub fn put_item(&self, serial: Serial, item: &Item) -> Result<()> {
        self.put_row(serial, &Row::Item(item.clone()))?;
        self.table(ITEMS)?.insert((item.owner, item.key.as_str()), serial)?;
        Ok(())
    }

    /// Takes an item's key away; its row stays, for another key.
    pub fn unkey_item(&self, item: &Item) -> Result<()> {
        self.writes();
        self.table(ITEMS)?.remove((item.owner, item.key.as_str()))?;
        Ok(())
    }

    /// Takes an item away.
    pub fn take_item(&self, serial: Serial, item: &Item) -> Result<()> {
        self.unkey_item(item)?;
        self.delete_row(serial)
    }

    /// Takes all items of an object away, however damaged their rows. Returns their serials.
    pub fn take_items(&self, owner: Serial) -> Result<Vec<Serial>> {
        let mut taken = Vec::new();
        for (key, serial) in self.items(owner)? {
            self.writes();
            self.table(ITEMS)?.remove((owner, key.as_str()))?;
            self.delete_row(serial)?;
            taken.push(serial);
        }
        if self.data_changed(owner)?.is_some() {
            self.writes();
            self.table(DATA)?.remove(owner)?;
        }
        Ok(taken)
    }

    /// Notes that one of an object's items came, went or changed.
    pub fn touch_data(&self, owner: Serial, now: Nanos) -> Result<()> {
        self.writes();
        self.table(DATA)?.insert(owner, now)?;
        Ok(())
    }
}
