//! A caller's own files: which there are, and what their bytes must be.

use redb::ReadableTable;

use super::error::StoreError;
use super::query::{Query, Update};
use super::tables::{FOLDERS, ITEMS};
use crate::model::record::{Folder, Item, Nanos, Row, Serial};

type Result<T> = std::result::Result<T, StoreError>;

/// Questions about items.
pub trait Items: Query + Sized {
    /// The item with this key in a folder of an object.
    fn item(&self, owner: Serial, folder: Folder, key: &str) -> Result<Option<Serial>> {
        Ok(self.table(ITEMS)?.get((owner, folder as u8, key))?.map(|row| row.value()))
    }

    /// The items of a folder, by key.
    fn items(&self, owner: Serial, folder: Folder) -> Result<Vec<(String, Serial)>> {
        let mut found = Vec::new();
        for entry in self.table(ITEMS)?.range((owner, folder as u8, "")..(owner, folder as u8 + 1, ""))? {
            let (key, serial) = entry?;
            found.push((key.value().2.to_owned(), serial.value()));
        }
        Ok(found)
    }

    /// Whether an object has any item.
    fn has_items(&self, owner: Serial) -> Result<bool> {
        Ok(self.table(ITEMS)?.range((owner, 0, "")..(owner + 1, 0, ""))?.next().transpose()?.is_some())
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

    /// When what is in a folder changed last; `None` when it never did.
    fn folder_changed(&self, owner: Serial, folder: Folder) -> Result<Option<Nanos>> {
        Ok(self.table(FOLDERS)?.get((owner, folder as u8))?.map(|row| row.value()))
    }
}

impl<Q: Query> Items for Q {}

impl Update<'_> {
    /// Enters a new item, or writes one that is there anew; its key must be free or its own.
    pub fn put_item(&self, serial: Serial, item: &Item) -> Result<()> {
        self.put_row(serial, &Row::Item(item.clone()))?;
        self.table(ITEMS)?.insert((item.owner, item.folder as u8, item.key.as_str()), serial)?;
        Ok(())
    }

    /// Takes an item's key away; its row stays, for another key.
    pub fn unkey_item(&self, item: &Item) -> Result<()> {
        self.writes();
        self.table(ITEMS)?.remove((item.owner, item.folder as u8, item.key.as_str()))?;
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
        for folder in Folder::ALL {
            for (key, serial) in self.items(owner, folder)? {
                self.writes();
                self.table(ITEMS)?.remove((owner, folder as u8, key.as_str()))?;
                self.delete_row(serial)?;
                taken.push(serial);
            }
            if self.folder_changed(owner, folder)?.is_some() {
                self.writes();
                self.table(FOLDERS)?.remove((owner, folder as u8))?;
            }
        }
        Ok(taken)
    }

    /// Notes that what is in a folder changed.
    pub fn touch_folder(&self, owner: Serial, folder: Folder, now: Nanos) -> Result<()> {
        self.writes();
        self.table(FOLDERS)?.insert((owner, folder as u8), now)?;
        Ok(())
    }
}
